"""What holds for any sequence: the tail is the table, properties come back, the tables add up."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.message import Message
from gateway.outbound import Row
from gateway.store.outbox_table import read_rows
from gateway.store.props import decode_props, encode_props
from gateway.store.tail import ROW_BYTES, Tail, size_of, take
from store.bench import Bench, run, settle, store

TEXT = st.text(max_size=20)
PROPS = st.lists(
    st.one_of(
        st.tuples(st.just(0x26), st.tuples(TEXT, TEXT)),
        st.tuples(st.sampled_from([0x03, 0x08]), TEXT),
        st.tuples(st.just(0x09), st.binary(max_size=20)),
        st.tuples(st.sampled_from([0x01, 0x02, 0x0B]), st.integers(0, 2**32 - 1)),
    ),
    max_size=6,
).map(tuple)


@given(PROPS)
def test_properties_come_back_as_they_were(props: Any) -> None:
    text = encode_props(props)
    assert decode_props(text) == props
    assert (text is None) == (not props)
    assert text is None or text.isascii()


def row(seq: int, payload: bytes) -> Row:
    return Row(seq, 1, "t", payload, 0, False, (), 0.0, None, "gateway")


@given(
    st.lists(st.one_of(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(0, 40)), max_size=30),
    st.integers(0, 3000),
    st.integers(0, 45),
    st.integers(1, 10),
    st.integers(0, 1000),
)
def test_the_tail_gives_what_the_list_of_all_rows_gives_or_nothing(
    steps: list[Any], max_bytes: int, after: int, limit: int, read_bytes: int
) -> None:
    tail = Tail(max_bytes)
    rows: list[Row] = []
    forgotten = 0
    for step in steps:
        if isinstance(step, int):
            forgotten = max(forgotten, min(step, len(rows)))
            tail.forget(step)
        else:
            fresh = [row(len(rows) + n, bytes(size)) for n, size in enumerate(step, 1)]
            rows += fresh
            tail.append(fresh)
        kept = tail._rows[tail._start :]
        assert tail._bytes == sum(map(size_of, kept)) <= max_bytes
        assert kept == rows[len(rows) - len(kept) :]
        assert not kept or kept[0].seq > forgotten
    got = tail.read(after, limit, read_bytes)
    if got is not None:
        assert got == take((one for one in rows if one.seq > after), limit, read_bytes)


STEP = st.one_of(
    st.tuples(st.just("store"), st.integers(1, 8)),
    st.tuples(st.just("ack a"), st.integers(0, 60)),
    st.tuples(st.just("ack b"), st.integers(0, 60)),
    st.tuples(st.just("restart"), st.just(0)),
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(STEP, max_size=12), st.integers(1, 30))
def test_every_row_is_there_acknowledged_or_counted_as_lost(steps: list[tuple[str, int]], rows: int) -> None:
    """stored = acknowledged + waiting + dropped for each uplink, and the tail never differs from the table."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "gateway.db")
        bound = rows * (ROW_BYTES + 2)

        async def body() -> None:
            while steps:
                async with bench.outbox("a", "b", max_bytes=bound) as (outbox, database):
                    await settle(database)
                    while steps:
                        what, n = steps.pop(0)
                        if what == "restart":
                            break
                        if what == "store":
                            await store(outbox, *[Message("t", b"x")] * n)
                        else:
                            last = (await outbox.tallies())["stored"]
                            outbox.reader(what[-1]).acknowledge(min(n, last))
                            await settle(database)
                        for name in ("a", "b"):
                            cursor = outbox.reader(name).cursor
                            table = await database.read(partial(read_rows, after=cursor, limit=100, max_bytes=10**6))
                            assert await outbox.reader(name).read(cursor, 100, 10**6) == table
                            assert not table or [r.seq for r in table] == list(range(table[0].seq, table[-1].seq + 1))
                        check_books(bench)

        run(body)


def check_books(bench: Bench) -> None:
    total, stored_bytes = bench.look("SELECT count(*), coalesce(sum(size), 0) FROM outbox")[0]
    first, last = bench.look("SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM outbox")[0]
    assert total == last - first + 1 or total == 0
    assert bench.look("SELECT max(position) - min(position - size) FROM outbox")[0][0] in (None, stored_bytes)
    lost = bench.look("SELECT coalesce(max(n), 0) FROM outbox_drop")[0][0]
    assert bench.metrics.drops.get("outbox_full", 0) >= lost
    assert bench.look("SELECT coalesce(sum(n), 0) FROM tally")[0][0] == bench.metrics.drops.get("outbox_full", 0)
