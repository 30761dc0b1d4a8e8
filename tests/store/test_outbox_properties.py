"""What holds for any sequence: segments and properties come back, memory and table are one, the books add up."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.message import Message
from gateway.store.block import Block, Head
from gateway.store.errors import StoreError
from gateway.store.props import decode_props, encode_props
from gateway.store.segment import Columns, pack, unpack
from gateway.store.tail import Tail
from store.bench import Bench, run, settle

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


VALID = st.text(st.characters(codec="utf-8"), max_size=12)
ROW = st.tuples(
    st.integers(1, 1000),  # distance to the number before
    st.floats(0, 1e10),
    st.tuples(VALID, VALID, st.integers(0, 2), st.booleans(), st.lists(VALID, max_size=3).map(tuple)),
    st.binary(max_size=400),
    st.none() | st.tuples(st.none() | st.floats(0, 1e10), PROPS),
)


def columns_of(rows: list[Any]) -> Columns:
    seqs: list[int] = []
    for distance, *_ in rows:
        seqs.append((seqs[-1] if seqs else 0) + distance)
    extras = {index: row[4] for index, row in enumerate(rows) if row[4] is not None}
    return Columns(seqs, [row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows], extras)


@given(st.lists(ROW, min_size=1, max_size=20), st.booleans())
def test_a_segment_comes_back_as_it_was(rows: list[Any], always: bool) -> None:
    columns = columns_of(rows)
    back = unpack(columns.seqs[0], pack(columns, always).data)
    assert list(back.times) == columns.times
    assert back._replace(times=[]) == columns._replace(times=[])


@given(st.lists(ROW, min_size=1, max_size=5), st.data())
def test_a_damaged_segment_is_an_error_or_reads_to_the_end(rows: list[Any], data: Any) -> None:
    columns = columns_of(rows)
    packed = bytearray(pack(columns).data)
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    del packed[data.draw(st.integers(0, len(packed))) :]
    try:
        back = unpack(columns.seqs[0], bytes(packed))
    except StoreError:
        return
    assert len(back.payloads) == len(back.seqs) == len(back.heads) == len(back.times)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.lists(st.integers(0, 300), min_size=1, max_size=5)),
        st.tuples(st.just("write"), st.just(0)),
        st.tuples(st.just("settle"), st.integers(0, 60)),
        st.tuples(st.just("forget"), st.integers(0, 60)),
    ),
    max_size=40,
)


def test_a_row_that_does_not_fit_is_not_passed_over() -> None:
    tail = Tail(3000)
    head = Head(0, 1, ("a",), "t", "gateway", 0, False)
    first = 1
    for size in (10, 100, 1):
        block = Block(0, first, 1, 0)
        tail.append(block)
        block.add(head, bytes(size), 0.0, None)
        first += 1
    assert [row.seq for row in tail.read(0, 10, 20)] == [1]
    assert [row.seq for row in tail.read(1, 10, 20)] == [2]


@given(STEPS, st.integers(0, 3000), st.integers(0, 70), st.integers(1, 10), st.integers(0, 1000))
def test_memory_holds_what_is_not_written_and_the_newest_of_the_rest(
    steps: list[Any], max_bytes: int, after: int, limit: int, read_bytes: int
) -> None:
    tail = Tail(max_bytes)
    head = Head(0, 1, ("a",), "t", "gateway", 0, False)
    blocks: list[Block] = []
    last = 0
    for what, n in steps:
        if what == "fill":
            if not blocks or blocks[-1].written:
                blocks.append(Block(0, last + 1, 1, 0))
                tail.append(blocks[-1])
            for size in n:
                blocks[-1].add(head, bytes(size), 0.0, None)
                last += 1
        elif what == "write" and blocks and not blocks[-1].written:
            tail.written(blocks[-1])
        elif what == "settle" and blocks and not blocks[-1].written:
            blocks[-1].settle(1, n)
        elif what == "forget":
            tail.forget(n)
    first = tail.first
    assert all(first is not None and block.first >= first for block in blocks if not block.written)
    assert sum(block.bytes for block in tail._blocks if block.written) == tail._bytes <= max_bytes
    there = [row for block in tail._blocks for row in block.rows(after, 1000, 10**9, 0)]
    rows = tail.read(after, limit, read_bytes)
    assert rows == there[: len(rows)]
    assert bool(rows) == bool(there)
    assert len(rows) <= limit
    assert sum(len(row.payload) for row in rows[1:]) <= max(0, read_bytes - len(rows[0].payload) if rows else 0)


STEP = st.one_of(
    st.tuples(st.just("store"), st.integers(1, 8)),
    st.tuples(st.just("unasked"), st.integers(1, 8)),
    st.tuples(st.just("ack a"), st.integers(0, 12)),
    st.tuples(st.just("ack b"), st.integers(0, 12)),
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=25), st.integers(1, 30))
@example([("store", 1), ("store", 1), ("commit", 0), ("ack a", 1)], 1)
def test_every_row_reaches_each_uplink_in_order_or_is_counted_as_lost(steps: list[Any], most: int) -> None:
    """The model: each uplink reads, and acknowledges what it has read, in pieces. Whatever was acknowledged to a
    publisher has been acknowledged by both uplinks, waits for them, or was dropped and counted."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "gateway.db")
        safe: set[int] = set()
        published = 0
        got: dict[str, list[int]] = {"a": [], "b": []}

        async def body() -> None:
            nonlocal published
            while steps:
                async with bench.outbox("a", "b", max_rows=most) as (outbox, database):
                    while steps:
                        what, n = steps.pop(0)
                        if what == "restart":
                            break
                        if what in ("store", "unasked"):
                            for _ in range(n):
                                published += 1
                                number = published

                                def done(error: BaseException | None, number: int = number) -> None:
                                    assert error is None
                                    assert number not in safe
                                    safe.add(number)

                                outbox.deliver(Message("t", b"%d" % number), done if what == "store" else None)
                        elif what == "commit":
                            await settle(database)
                        else:
                            reader = outbox.reader(what[-1])
                            rows = await reader.read(reader.cursor, n, 10**6)
                            got[what[-1]] += [int(row.payload) for row in rows]
                            if rows:
                                reader.acknowledge(rows[-1].seq)
                    await settle(database)
                    check_books(bench, got, await outbox.tallies(), published)
            async with bench.outbox("a", "b", max_rows=most) as (outbox, database):
                for name in ("a", "b"):
                    reader = outbox.reader(name)
                    while rows := await reader.read(reader.cursor, 3, 10**6):
                        got[name] += [int(row.payload) for row in rows]
                        reader.acknowledge(rows[-1].seq)
                await settle(database)
                check_books(bench, got, await outbox.tallies(), published)
                assert bench.numbers() == []

        run(body)
        for name, numbers in got.items():
            assert numbers == sorted(set(numbers))
            lost = sum(n for (uplink, n) in bench.look("SELECT uplink, n FROM outbox_drop") if uplink == name)
            assert len(set(range(1, published + 1)) - set(numbers)) == lost


def check_books(bench: Bench, got: dict[str, list[int]], books: dict[str, int], published: int) -> None:
    """stored = delivered + waiting + dropped, for each uplink."""
    assert books.get("stored", 0) == published
    drops = dict(bench.look("SELECT uplink, n FROM outbox_drop"))
    acked = dict(bench.look("SELECT uplink, acked FROM outbox_cursor"))
    rows = bench.rows()
    for name, numbers in got.items():
        waiting = [int(row.payload) for row in rows if row.seq > acked[name]]
        assert not set(waiting) & set(numbers)
        assert len(numbers) + len(waiting) + drops.get(name, 0) == published
