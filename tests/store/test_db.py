"""Group commit: who is committed together, who is answered when, and whose error it is."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.errors import Refused
from gateway.store import db
from gateway.store.db import Database
from gateway.store.errors import StoreError
from store.bench import Bench, run, settle


def insert(name: str, n: int = 1) -> Callable[[sqlite3.Connection], str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO tally (name, n) VALUES (?, ?)", (name, n))
        return name

    return work


def names(bench: Bench) -> list[str]:
    return [name for (name,) in bench.look("SELECT name FROM tally ORDER BY name")]


def test_many_writes_share_one_commit_and_are_answered_in_order(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            answers: list[Any] = []
            for i in range(50):
                database.write(insert(f"{i:02}"), lambda result, error: answers.append((result, error)))
            assert database.backlog.items == 50
            await settle(database)
            assert answers == [(f"{i:02}", None) for i in range(50)]
            assert database.counts.commits == 1
            assert database.backlog == (0, 0)

    run(body)
    assert len(names(bench)) == 50


def test_done_comes_after_the_commit(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            seen: list[list[str]] = []
            database.write(insert("a"), lambda result, error: seen.append(names(bench)))
            assert names(bench) == []
            await settle(database)
            assert seen == [["a"]]

    run(body)


def test_an_error_stays_with_its_own_work(bench: Bench) -> None:
    def half(connection: sqlite3.Connection) -> None:
        insert("half")(connection)
        raise ValueError("no")

    async def body() -> None:
        async with bench.database() as database:
            first = asyncio.ensure_future(database.commit(insert("a")))
            failing = [
                asyncio.ensure_future(database.commit(half)),
                asyncio.ensure_future(database.commit(insert("a"))),
            ]
            last = asyncio.ensure_future(database.commit(insert("b")))
            assert (await first, await last) == ("a", "b")
            errors = await asyncio.gather(*failing, return_exceptions=True)
            assert [type(error) for error in errors] == [ValueError, sqlite3.IntegrityError]
            assert (database.counts.commits, database.counts.failed) == (1, 2)

    run(body)
    assert names(bench) == ["a", "b"]
    assert not bench.lost


def test_a_failed_commit_is_everybodys_error_and_keeps_nothing(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            pages = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
            await database.read(
                lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()
            )
            works = [insert("small"), insert("x" * 100_000)]
            errors = await asyncio.gather(*map(database.commit, works), return_exceptions=True)
            assert [getattr(error, "sqlite_errorname", None) for error in errors] == ["SQLITE_FULL"] * 2
            # There is room again: the same database goes on.
            await database.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())
            assert await database.commit(insert("later")) == "later"

    run(body)
    assert names(bench) == ["later"]
    assert not bench.lost


def test_a_work_that_ends_the_transaction_fails_it(bench: Bench) -> None:
    def bad(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise ValueError("bug")

    async def body() -> None:
        async with bench.database() as database:
            errors = await asyncio.gather(database.commit(insert("a")), database.commit(bad), return_exceptions=True)
            assert [type(error) for error in errors] == [StoreError, StoreError]
            assert await database.commit(insert("b")) == "b"

    run(body)
    assert names(bench) == ["b"]


def test_what_waits_rides_along_with_what_goes_sooner(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            order: list[str] = []
            database.write(insert("lazy"), lambda result, error: order.append("lazy"), within=3600)
            await database.commit(insert("soon"))
            order.append("soon")
            assert order == ["lazy", "soon"]
            assert database.counts.commits == 1

    run(body)


def test_a_full_transaction_goes_at_once(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            database.write(insert("a"), lambda result, error: done.set_result(None), within=3600)
            for _ in range(db.FULL_ITEMS):
                database.grow(1, within=3600)
            await done

    run(body)


def test_a_lone_write_does_not_wait_and_a_crowd_gathers_for_a_window(bench: Bench) -> None:
    async def body() -> None:
        database = Database(bench.path, window=3600)
        await database.open()
        assert await database.commit(insert("a")) == "a"
        waiting = asyncio.ensure_future(database.commit(insert("b")))
        await database.read(lambda connection: None)
        assert not waiting.done()
        await database.close()
        assert await waiting == "b"

    run(body)


def test_the_queue_is_bounded_and_bookkeeping_is_not_refused(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            answers: list[Any] = []

            def done(result: Any, error: BaseException | None) -> None:
                answers.append(error)

            database.write(insert("large"), done, size=2 * db.MAX_BYTES)  # alone it may pass
            with pytest.raises(Refused) as refused:
                database.write(insert("more"), done, size=1)
            assert refused.value.reason == 0x97
            database.write(insert("cursor"), done, size=0)
            await settle(database)
            for _ in range(db.MAX_ITEMS):
                database.write(lambda connection: None, size=1)
            with pytest.raises(Refused):
                database.grow(1)
            await settle(database)
            assert answers == [None, None]
            assert database.backlog == (0, 0)

    run(body)
    assert names(bench) == ["cursor", "large"]


def test_close_commits_and_answers_what_is_queued(bench: Bench) -> None:
    async def body() -> None:
        answers: list[Any] = []
        async with bench.database() as database:
            database.write(insert("a"), lambda result, error: answers.append(error), within=3600)
        assert answers == [None]
        with pytest.raises(StoreError, match="closed"):
            database.write(insert("b"))
        with pytest.raises(StoreError, match="closed"):
            await database.read(lambda connection: None)
        assert not bench.path.with_name("gateway.db-wal").exists()

    run(body)
    assert names(bench) == ["a"]


def test_a_waiter_that_fails_costs_the_others_nothing(bench: Bench) -> None:
    async def body() -> None:
        shown: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: shown.append(context["exception"]))
        async with bench.database() as database:
            answers: list[Any] = []

            def bug(result: Any, error: BaseException | None) -> None:
                raise ZeroDivisionError

            database.write(insert("a"), bug)
            database.write(insert("b"), lambda result, error: answers.append(result))
            await settle(database)
        assert answers == ["b"]
        assert [type(error) for error in shown] == [ZeroDivisionError]

    run(body)


def test_a_waiter_that_has_gone_is_no_harm(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            task = asyncio.ensure_future(database.commit(insert("a"), within=3600))
            await asyncio.sleep(0)
            task.cancel()
            await settle(database)

    run(body)
    assert names(bench) == ["a"]


def test_progress_grows_and_busy_ends(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            before = database.progress
            reading = asyncio.ensure_future(database.read(lambda connection: 1))
            await asyncio.sleep(0)
            assert database.busy
            assert await reading == 1
            assert not database.busy
            await database.commit(insert("a"))
            assert database.progress == before + 2

    run(body)


def test_damage_found_while_running_is_reported_once(bench: Bench) -> None:
    def damaged(connection: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    async def body() -> None:
        async with bench.database() as database:
            for call in (database.read, database.commit):
                with pytest.raises(sqlite3.DatabaseError):
                    await call(damaged)
            assert [type(error) for error in bench.lost] == [StoreError]

    run(body)


def test_the_log_keeps_its_length_and_is_checkpointed(bench: Bench) -> None:
    async def body() -> None:
        log = bench.path.with_name("gateway.db-wal")
        async with bench.database() as database:
            length = log.stat().st_size
            for i in range(30):
                await database.commit(insert(f"{i}" + "x" * 300_000), size=300_000)
            assert database.checkpoints.log_bytes > 2 * length
            assert log.stat().st_size == length

    run(body)


class LateClock:
    """An event loop whose clock is behind its timers, as uvloop's may be: it stands still within a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.behind = 0.0

    def time(self) -> float:
        return self._loop.time() - self.behind

    def call_at(self, when: float, callback: Callable[..., object]) -> asyncio.TimerHandle:
        return self._loop.call_at(when, callback)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def test_what_gathers_during_a_commit_is_committed_also_when_the_clock_is_behind(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            clock = LateClock(asyncio.get_running_loop())
            database._loop = clock  # type: ignore[assignment]
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            database.write(lambda connection: time.sleep(0.1))
            await asyncio.sleep(0.02)
            assert database.busy
            database.write(lambda connection: None, lambda result, error: done.set_result(None))
            clock.behind = 1.0
            await asyncio.wait_for(done, 2)

    run(body)
