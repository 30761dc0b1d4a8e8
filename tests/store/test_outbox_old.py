"""A database from before there were segments comes up with all of its rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

import pytest

from gateway.message import USER_PROPERTY
from gateway.outbound import Row
from gateway.store import old_rows, opening
from gateway.store.db import Database
from gateway.store.old_rows import convert
from gateway.store.props import encode_props
from gateway.store.sql import migrations
from store.bench import Bench, acknowledge, message, run, settle, store, take

PROPS = ((USER_PROPERTY, ("a", "ä")), (9, b"\0\xff"))
FIRST, LAST, ACKED = 101, 160, 110


def make_old(bench: Bench) -> None:
    """What the first format left: 60 rows of two starts, one uplink in the middle of them, books."""
    with closing(sqlite3.connect(bench.path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.executescript(migrations()[0][1])
        connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.executemany("INSERT INTO boot (id, started) VALUES (?, ?)", [(1, 1.8e9), (2, 1.8e9 + 1000)])
        insert = "INSERT INTO outbox VALUES (?, ?, ?, 300, ?, 1, 0, ?, ?, 'client:a', ?, ?, ?)"
        for seq in range(FIRST, LAST + 1):
            is_odd = seq % 2
            props, expires = (encode_props(PROPS), 2e9) if is_odd else (None, None)
            boot = 1 if seq <= 130 else 2
            row = (seq, boot, seq, seq * 300, 1.8e9 + seq, expires, f"plant/{seq % 3}", props, b"%d" % seq)
            connection.execute(insert, row)
        connection.execute("INSERT INTO outbox_cursor VALUES ('cloud', ?, ?)", (ACKED, ACKED + 5))
        connection.execute("INSERT INTO tally VALUES ('produced', 160)")


def test_all_rows_come_up_as_they_were(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_rows, "STEP", 7)
    make_old(bench)

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            assert (reader.cursor, reader.possibly_sent(0).last) == (ACKED, ACKED + 5)
            assert await outbox.tallies() == {"stored": LAST, "produced": 160}
            assert outbox.status()["depth"] == LAST - ACKED
            await store(outbox, message(0))
            rows: list[Row] = []
            while more := await take(reader, rows[-1].seq if rows else reader.cursor, 9, 10_000):
                rows += more
            assert [row.seq for row in rows] == list(range(ACKED + 1, LAST + 2))
            for row in rows[:-1]:
                assert row.message_id == f"{1 if row.seq <= 130 else 2}:{row.seq}"
                assert (row.topic, row.payload, row.qos) == (f"plant/{row.seq % 3}", b"%d" % row.seq, 1)
                assert (row.props, row.expires) == ((PROPS, 2e9) if row.seq % 2 else ((), None))
                assert (row.time, row.source) == (1.8e9 + row.seq, "client:a")
            assert rows[-1].message_id == f"3:{LAST + 1}"
            acknowledge(reader, LAST + 1)
            await settle(database)
            assert bench.numbers() == []
            assert bench.look("SELECT name FROM sqlite_schema WHERE name = 'outbox'") == []

    run(body)


def test_a_stop_in_the_middle_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_rows, "STEP", 7)
    make_old(bench)

    async def begun() -> None:
        database = Database(bench.path)
        await database.open()
        for _ in range(3):
            assert await database.commit(convert)
        await database.close()

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            read = partial(outbox._table.read, uplink="cloud", room=0, after=0, upto=10**6, limit=1000, max_bytes=10**6)
            first = await database.read(read)
            assert [row.seq for row in first.rows] == list(range(FIRST, LAST + 1))

    run(begun)
    run(body)


def test_an_empty_old_outbox_goes_on_with_its_numbers(bench: Bench) -> None:
    make_old(bench)
    with closing(sqlite3.connect(bench.path)) as connection:
        connection.execute("DELETE FROM outbox")
        connection.execute("UPDATE outbox_cursor SET acked = ?, sent = ?", (LAST, LAST))
        connection.commit()

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            await store(outbox, message(0))
            assert bench.numbers() == [LAST + 1]
            assert (await outbox.tallies())["stored"] == LAST + 1

    run(body)
