"""Ledgers: what each says is committed, nothing is left out between two of them, and kill -9 takes nothing back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.outbound import LAST, LEDGER_TOPIC, Row
from gateway.store.accounts import Account
from gateway.store.db import Database
from gateway.store.ledgers import Ledgers, LedgerTerms
from gateway.store.marks import MAX_STRETCHES, Mark, mark_of
from gateway.store.outbox import Outbox
from gateway.store.rooms import ROOMS
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take
from store.queue_bench import crash
from store.test_accounts import limit_pages, settle_anyway, to


class World:
    """An outbox with ledgers, and uplinks that take what is there."""

    def __init__(self, bench: Bench, outbox: Outbox, database: Database, names: tuple[str, ...]) -> None:
        self.bench, self.outbox, self.database = bench, outbox, database
        terms = dict.fromkeys(names, LedgerTerms(LEDGER_TOPIC, 60.0))
        self.ledgers = Ledgers(outbox, database, bench.clock, "gw", terms)

    async def minute(self) -> None:
        """A minute goes by."""
        self.bench.clock.advance(60)
        self.ledgers.tick()
        for _ in range(4):  # books, what they are, the ledger
            await settle(self.database)

    async def drain(self, name: str) -> list[Row]:
        """The uplink delivers everything."""
        reader = self.outbox.reader(name)
        found: list[Row] = []
        for room in range(len(ROOMS)):
            while (batch := await reader.read(room, reader.acked(room).prefix, LAST, 100, 10**6)).rows:
                found += [row for row in batch.rows if name in row.uplinks]
                reader.acknowledge(room, 0, batch.rows[-1].seq)
        return sorted(found)


@asynccontextmanager
async def world(bench: Bench, *names: str, **more: Any) -> AsyncIterator[World]:
    async with bench.outbox(*names, **more) as (outbox, database):
        yield World(bench, outbox, database, names)


def ledgers_in(rows: list[Row]) -> list[dict[str, Any]]:
    return [json.loads(row.payload) for row in rows if row.topic == LEDGER_TOPIC]


def test_a_ledger_says_what_there_was_since_the_last(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, "cloud") as one:
            await store(one.outbox, *messages(10))
            reader = one.outbox.reader("cloud")
            rows = await take(reader, 0, 4, 1000)
            reader.drop(rows[0], "too_large")
            acknowledge(reader, 4)
            await one.minute()
            (first,) = ledgers_in(await one.drain("cloud"))
            assert first["ids"] == [{"boot": 1, "first": 1, "last": 10, "n": 10}]
            assert first["total"] == {"produced": 10, "delivered": 3, "thinned": 0, "dropped": 1, "waiting": 6}
            assert first["interval"] == {"produced": 10, "delivered": 3, "thinned": 0, "dropped": 1}
            assert first["dropped"]["too_large"]["n"] == 1
            assert first["dropped"]["too_large"]["interval"] == 1
            assert (first["ledger"], first["gateway"], first["uplink"], first["number"]) == (1, "gw", "cloud", 1)
            assert first["since"] is None
            await one.minute()
            (second,) = ledgers_in(await one.drain("cloud"))
            assert second["ids"] == [{"boot": 1, "first": 11, "last": 11, "n": 1}]  # the ledger before
            assert second["total"] == {"produced": 11, "delivered": 10, "thinned": 0, "dropped": 1, "waiting": 0}
            assert second["interval"] == {"produced": 1, "delivered": 7, "thinned": 0, "dropped": 0}
            assert second["dropped"]["too_large"]["interval"] == 0
            assert second["since"] == first["time"]

    run(body)


def test_while_the_last_ledger_waits_there_is_no_other(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, "cloud") as one:
            for n in range(5):
                await store(one.outbox, message(n))
                await one.minute()
            rows = await one.drain("cloud")
            assert len(ledgers_in(rows)) == 1
            await one.minute()
            (ledger,) = ledgers_in(await one.drain("cloud"))
            assert ledger["ids"] == [{"boot": 1, "first": 2, "last": 6, "n": 5}]
            assert ledger["interval"]["produced"] == 5

    run(body)


def test_rows_that_were_never_written_are_told(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, "cloud") as one:
            for n in range(7):
                one.outbox.deliver(message(n), None)
            await one.drain("cloud")
            await settle(one.database)
            assert bench.numbers() == []
            await one.minute()
            (ledger,) = ledgers_in(await one.drain("cloud"))
            assert ledger["ids"] == [{"boot": 1, "first": 1, "last": 7, "n": 7}]
            assert ledger["total"]["delivered"] == 7

    run(body)


def test_each_uplink_has_its_own(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, "a", "b") as one:
            for n in range(6):
                to(one.outbox, *(("a",), ("b",), ("a", "b"))[n % 3]).deliver(message(n), None)
            await one.minute()
            (for_a,), (for_b,) = ledgers_in(await one.drain("a")), ledgers_in(await one.drain("b"))
            assert for_a["ids"] == for_b["ids"] == [{"boot": 1, "first": 1, "last": 6, "n": 4}]
            assert (for_a["uplink"], for_b["uplink"]) == ("a", "b")

    run(body)


def test_starts_without_a_ledger_are_told_by_the_next(bench: Bench) -> None:
    async def start(n: int) -> None:
        async with world(current[-1], "cloud") as one:
            await store(one.outbox, *messages(n))
            if n == 4:
                await one.minute()
                (ledger,) = ledgers_in(await one.drain("cloud"))
                ids = [tuple(stretch.values()) for stretch in ledger["ids"]]
                assert ids == [(1, 1, 2, 2), (2, 3, 5, 3), (3, 6, 9, 4)]
                assert ledger["interval"]["produced"] == 9
            current.append(crash(current[-1]))

    current = [bench]
    for n in (2, 3, 4):
        run(lambda n=n: start(n))  # type: ignore[misc]


def test_what_kill_9_forgets_was_told_by_no_ledger(bench: Bench) -> None:
    async def first() -> None:
        async with world(bench, "cloud") as one:
            for n in range(5):
                one.outbox.deliver(message(n), None)
            await one.drain("cloud")
            await one.minute()
            (ledger,) = ledgers_in(await one.drain("cloud"))
            assert ledger["ids"][-1]["last"] == 5
            await settle(one.database)
            for n in range(5):  # these arrive, and are never written, nor their books
                one.outbox.deliver(message(n), None)
            arrived.extend(await one.drain("cloud"))
            await settle(one.database)
            copies.append(crash(bench))

    async def second() -> None:
        async with world(copies[0], "cloud") as one:
            await store(one.outbox, message(1))
            await one.minute()
            (ledger,) = ledgers_in(await one.drain("cloud"))
            assert ledger["number"] == 2
            told = [tuple(stretch.values()) for stretch in ledger["ids"]]
            # What arrived last was in no books: its numbers are behind all that is told of that start.
            assert max(last for boot, _, last, _ in told if boot == 1) < arrived[0].seq
            assert sum(n for *_, n in told) == ledger["interval"]["produced"]
            assert ledger["total"]["waiting"] == ledger["total"]["produced"] - ledger["total"]["delivered"] == 1

    copies: list[Bench] = []
    arrived: list[Row] = []
    run(first)
    run(second)


def test_a_ledger_that_could_not_be_kept_is_told_again(bench: Bench) -> None:
    async def body() -> None:
        async with world(bench, "cloud") as one:
            await store(one.outbox, *messages(3))
            await settle(one.database)
            bench.clock.advance(60)
            one.ledgers.tick()
            await settle(one.database)
            await limit_pages(one.database, 1)
            await settle_anyway(one.database)
            await settle_anyway(one.database)
            await limit_pages(one.database, 1_000_000)
            await settle_anyway(one.database)
            await one.minute()
            *_, last = ledgers_in(await one.drain("cloud"))
            assert last["ids"][0]["first"] == 1

    run(body)


def test_many_starts_without_a_ledger_are_counted_beyond_the_newest() -> None:
    mark = Mark(1)
    for boot in range(2, MAX_STRETCHES + 12):
        mark = mark.next_boot(boot, 10 * (boot - 1), 10 * (boot - 1))
    assert (len(mark.stretches), mark.more) == (MAX_STRETCHES, 100)
    assert mark.stretches[0].boot == 11
    assert mark_of(mark.text()) == mark
    after = mark.told(2000, 5.0, Account(2000), {})
    assert (after.stretches, after.more, after.base) == ((), 0, 2000)


def test_another_start_without_rows_adds_no_stretch() -> None:
    assert Mark(1, 10, 10).next_boot(2, 10, 10).stretches == ()
    assert Mark(1, 10, 10).next_boot(1, 20, 20) == Mark(1, 10, 10)
