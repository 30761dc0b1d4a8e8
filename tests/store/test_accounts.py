"""Each uplink's account: produced = delivered + thinned + dropped + waiting, in every state that kill -9 may leave."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from gateway.message import Message
from gateway.outbound import TELEMETRY, Row
from gateway.ranges import Ranges
from gateway.store.accounts import BOOKED, Account, account
from gateway.store.drops import load_drops
from gateway.store.outbox import Outbox
from gateway.store.position import load_positions
from gateway.store.rooms import ROOMS
from gateway.store.routes import Route
from gateway.store.segment import unpack
from gateway.store.sql import SQL
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take, without_tail
from store.queue_bench import crash


def accounts(bench: Bench) -> dict[str, Account]:
    """What is committed, and thus what a crash leaves; checked against the rows that are there."""
    with closing(sqlite3.connect(bench.path)) as other:
        other.execute("BEGIN")
        tallies = dict(other.execute(SQL["tally_all"]).fetchall())
        drops = load_drops(other)
        positions = load_positions(other)
        rows = rows_by_class(other)
    found = {}
    for name, position in positions.items():
        found[name] = account(name, tallies, drops)
        waiting = [row for room, row in rows if row.seq not in position.acked[room] and name in row.uplinks]
        assert found[name].waiting == len(waiting), (name, found[name], waiting)
    return found


def rows_by_class(connection: sqlite3.Connection) -> list[tuple[int, Row]]:
    found = connection.execute("SELECT id >> 56, first, boot, data FROM outbox_segment").fetchall()
    return [(room, row) for room, first, boot, data in found for row in unpack(first, data).rows(boot, 0)]


def to(outbox: Outbox, *names: str, room: int = TELEMETRY) -> Any:
    """The way in for a topic that goes to these."""
    return outbox.merge([tuple(Route(name, 0, room) for name in names)], f"{room}/for/{'/'.join(names)}")


def test_what_is_written_delivered_dropped_and_waits_is_counted_once(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            await store(outbox, *messages(10))
            a = outbox.reader("a")
            rows = await take(a, 0, 6, 1000)
            a.drop(rows[1], "too_large")
            await settle(database)
            assert accounts(bench)["a"] == Account(10)  # the position has not moved past it
            acknowledge(a, 4)
            await settle(database)
            assert accounts(bench) == {"a": Account(10, 3, 0, 1), "b": Account(10)}

    async def second() -> None:
        async with bench.outbox("a", "b") as (outbox, _database):
            a = outbox.reader("a")
            rows = await take(a, a.cursor, 10, 1000)
            assert [row.seq for row in rows] == [5, 6, 7, 8, 9, 10]
            acknowledge(a, 10)
        assert accounts(bench) == {"a": Account(10, 9, 0, 1), "b": Account(10)}

    run(first)
    run(second)


def test_what_a_killed_process_gave_up_without_moving_on_is_counted_by_the_next(bench: Bench) -> None:
    async def killed() -> None:
        async with bench.outbox("a") as (outbox, database):
            await store(outbox, *messages(3))
            reader = outbox.reader("a")
            rows = await take(reader, 0, 3, 1000)
            reader.drop(rows[1], "refused")  # the first has no answer yet
            await settle(database)
            copies.append(crash(bench))

    async def after() -> None:
        async with copies[0].outbox("a") as (outbox, _database):
            reader = outbox.reader("a")
            rows = await take(reader, 0, 3, 1000)
            reader.drop(rows[1], "refused")
            acknowledge(reader, 3)
        assert accounts(copies[0]) == {"a": Account(3, 2, 0, 1)}

    copies: list[Bench] = []
    run(killed)
    run(after)


def test_rows_of_another_uplink_are_not_in_the_account(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            for number in range(9):
                names = (("a",), ("b",), ("a", "b"))[number % 3]
                assert to(outbox, *names).deliver(message(number), None)
            assert to(outbox, "a", "b").deliver(message(9, source="uplink:a"), None)
            await settle(database)
            assert accounts(bench) == {"a": Account(6), "b": Account(7)}
            reader = outbox.reader("a")
            assert [row.uplinks for row in await take(reader, 0, 3, 1000)] == [("a",), ("b",), ("a", "b")]
            acknowledge(reader, 3)
            await settle(database)
            assert accounts(bench)["a"] == Account(6, 2)

    run(body)


def test_what_was_never_written_is_in_the_books_with_what_became_of_it(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            for _ in range(5):
                outbox.deliver(message(1), None)
            for name in ("a", "b"):
                reader = outbox.reader(name)
                rows = await take(reader, 0, 10, 1000)
                if name == "b":
                    reader.drop(rows[0], "expired")
                acknowledge(reader, rows[-1].seq)
            await settle(database)
            assert bench.numbers() == []
        assert accounts(bench) == {"a": Account(5, 5), "b": Account(5, 4, 0, 1)}

    run(body)


def test_thinned_rows_are_counted_for_those_that_wait_for_them(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b", max_bytes=40_000, thins=True) as (outbox, database):
            without_tail(outbox)
            for n in range(4000):
                names = ("a", "b") if n % 2 else ("b",)
                to(outbox, *names).deliver(message(n, b"%d.5" % n, time=1e9 + n), None)
                if n % 100 == 99:
                    await settle(database)
                    accounts(bench)
            found = accounts(bench)
            assert found["a"].thinned > 100
            assert found["b"].thinned > found["a"].thinned
            assert (await outbox.tallies())["outbox_thinned"] >= found["b"].thinned

    run(body)


def test_other_uplinks_in_the_settings(bench: Bench) -> None:
    async def stored() -> None:
        async with bench.outbox("a", "b") as (outbox, _database):
            await store(outbox, *messages(4))
            to(outbox, "a").deliver(message(5), None)
            reader = outbox.reader("b")
            await take(reader, 0, 2, 1000)
            acknowledge(reader, 2)

    async def renamed() -> None:
        async with bench.outbox("b", "c") as (_outbox, _database):
            pass
        with closing(sqlite3.connect(bench.path)) as other:
            tallies = dict(other.execute(SQL["tally_all"]).fetchall())
            drops = load_drops(other)
        # What was for "a" is for everybody: nobody knows that "a" has become "c", which begins where the slowest was.
        assert account("b", tallies, drops) == Account(5, 2)
        assert account("c", tallies, drops) == Account(5)
        assert not [name for name in tallies if name.endswith(":a")]

    run(stored)
    run(renamed)


def test_a_database_without_accounts_gets_them(bench: Bench) -> None:
    async def stored() -> None:
        async with bench.outbox("a") as (outbox, _database):
            await store(outbox, *messages(4))
            reader = outbox.reader("a")
            await take(reader, 0, 3, 1000)
            acknowledge(reader, 3)

    async def again() -> None:
        async with bench.outbox("a") as (_outbox, _database):
            pass
        assert accounts(bench) == {"a": Account(1)}

    run(stored)
    with closing(sqlite3.connect(bench.path)) as other:
        other.execute("DELETE FROM tally WHERE name LIKE 'uplink:%'")
        other.commit()
    run(again)


def test_what_is_damaged_is_counted_by_what_is_missing(bench: Bench) -> None:
    async def stored() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            for n in range(3):
                to(outbox, "a").deliver(message(n), None)
                to(outbox, "a", "b").deliver(message(n), None)
                await settle(database)

    async def damaged() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            for name in ("a", "b"):
                reader = outbox.reader(name)
                await take(reader, 0, 10, 1000)
            await store(outbox, message(9))
            await settle(database)
            found = accounts(bench)
            assert found == {"a": Account(7, 0, 0, 2), "b": Account(4, 0, 0, 1)}
            assert outbox.status()["uplinks"]["b"]["drops"]["outbox_damaged"]["n"] == 1

    run(stored)
    with closing(sqlite3.connect(bench.path)) as other:
        other.execute("UPDATE outbox_segment SET data = x'02ff' WHERE id = 4")
        other.commit()
    run(damaged)


def test_what_a_salvage_could_not_save_is_counted_at_the_next_start(bench: Bench) -> None:
    async def stored() -> None:
        async with bench.outbox("a") as (outbox, database):
            for n in range(3):
                outbox.deliver(message(n), None)
                await settle(database)

    async def again() -> None:
        async with bench.outbox("a") as (outbox, _database):
            assert outbox.status()["uplinks"]["a"]["drops"]["outbox_damaged"]["n"] == 1
        assert accounts(bench) == {"a": Account(3, 0, 0, 1)}

    run(stored)
    with closing(sqlite3.connect(bench.path)) as other:
        other.execute("DELETE FROM outbox_segment WHERE id = 2")
        other.execute(SQL["tally_delete"], {"name": BOOKED})
        other.commit()
    run(again)


def test_the_disk_takes_nothing_for_a_while(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            await store(outbox, *messages(2))
            a, b = outbox.reader("a"), outbox.reader("b")
            await take(a, 0, 10, 10**6)
            (pages,) = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone())
            await limit_pages(database, pages)
            big = random.Random(1).randbytes(30_000)
            asked: list[BaseException | None] = []
            outbox.deliver(message(3, big), None)  # a and b have it
            outbox.deliver(message(4, big), asked.append)  # a has it
            assert [row.seq for row in await take(a, 2, 10, 10**6)] == [3, 4]
            assert [row.seq for row in await take(b, 0, 3, 10**6)] == [1, 2, 3]
            outbox.deliver(message(5, big), None)  # nobody has it
            acknowledge(a, 3)
            await settle_anyway(database)
            assert len(asked) == 1
            assert asked[0] is not None
            accounts(bench)
            await limit_pages(database, 1_000_000)
            acknowledge(a, 4)  # it arrived, although the store could not keep it
            await store(outbox, message(6))
            await settle(database)
            assert accounts(bench)["a"] == Account(6, 4, 0, 1)
            acknowledge(b, 3)
            await settle(database)
            assert accounts(bench)["b"] == Account(5, 3, 0, 1)

    run(body)


def test_a_message_that_could_not_become_a_row_is_produced_and_dropped(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b", max_bytes=500) as (outbox, database):
            assert to(outbox, "a").deliver(message(1, b"x" * 1000), None)
            await settle(database)
            assert accounts(bench) == {"a": Account(1, 0, 0, 1), "b": Account()}

    run(body)


async def limit_pages(database: Any, pages: int) -> None:
    await database.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def settle_anyway(database: Any) -> None:
    try:
        await settle(database)
    except sqlite3.OperationalError:
        pass


class Player:
    """An uplink that does anything that one may do: what is newest before what is older, in pieces, in any order."""

    def __init__(self, outbox: Outbox, name: str, chance: random.Random) -> None:
        self.reader: Any = outbox.reader(name)
        self.name = name
        self.chance = chance
        self.batches: list[tuple[int, int, list[Row], int]] = []
        self.given: list[Ranges] = [self.reader.acked(room) for room in range(len(ROOMS))]
        self.gone: set[int] = set()

    async def turn(self) -> None:
        what = self.chance.randrange(4)
        if what == 0:
            room = self.chance.choice((0, 0, 1))
            gaps = self.given[room].gaps(0, self.reader.newest)
            if not gaps:
                return
            after, upto = self.chance.choice(gaps)
            after = self.chance.choice((after, after, (after + upto) // 2))
            batch = await self.reader.read(room, after, upto, self.chance.randint(1, 8), 10**6)
            self.given[room] = self.given[room].add(after, batch.reached)
            self.batches.append((room, after, batch.rows, batch.reached))
        elif what == 1 and self.batches:
            _, _, rows, _ = self.chance.choice(self.batches)
            mine = [row for row in rows if self.name in row.uplinks and row.seq not in self.gone]
            if mine:
                row = self.chance.choice(mine)
                self.gone.add(row.seq)
                self.reader.drop(row, self.chance.choice(["expired", "too_large"]))
        elif self.batches:
            at = self.chance.randrange(len(self.batches))
            room, after, rows, reached = self.batches[at]
            count = self.chance.randint(0, len(rows))
            if count < len(rows):
                upto = rows[count].seq - 1
                self.batches[at] = (room, upto, rows[count:], reached)
            else:
                upto = reached
                del self.batches[at]
            self.reader.acknowledge(room, after, upto)


async def play(bench: Bench, chance: random.Random, turns: int, **bounds: Any) -> Bench:
    """One start: anything in any order; what a crash at the end leaves."""
    async with bench.outbox("a", "b", **bounds) as (outbox, database):
        if chance.random() < 0.5:
            without_tail(outbox)
        accounts(bench)
        players = [Player(outbox, name, chance) for name in ("a", "b")]
        for _ in range(turns):
            what = chance.randrange(10)
            if what < 4:
                names = chance.choice([("a",), ("b",), ("a", "b"), ("a", "b")])
                for _ in range(chance.randint(1, 6)):
                    payload = b"%d" % chance.randrange(100) if chance.random() < 0.9 else chance.randbytes(50)
                    one = Message("t", payload, chance.randrange(3), time=bench.clock.time())
                    to(outbox, *names, room=chance.choice((0, 0, 1))).deliver(
                        one, (lambda error: None) if chance.random() < 0.5 else None
                    )
            elif what < 8:
                await chance.choice(players).turn()
            elif what == 8:
                bench.clock.advance(chance.choice([0.01, 1.0, 61.0]))
                await asyncio.sleep(0)
            elif chance.random() < 0.15:
                await limit_pages(database, 1)
                await settle_anyway(database)
                await limit_pages(database, 1_000_000)
            else:
                await settle(database)
            accounts(bench)
        left = crash(bench)
    accounts(bench)
    return left


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bounds", [{}, {"max_rows": 25}, {"max_bytes": 12_000, "thins": True}], ids=str)
def test_the_accounts_add_up_in_every_state_on_the_disk(bench: Bench, seed: int, bounds: dict[str, Any]) -> None:
    chance = random.Random(seed)

    async def body() -> None:
        current = bench
        for _ in range(4):
            current = await play(current, chance, 60, **bounds)
            accounts(current)
        assert accounts(current)["a"].produced > 0

    run(body)
