"""What holds for any sequence: segments and properties come back, memory and table are one, the books add up."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.message import Message
from gateway.outbound import LAST
from gateway.store.block import Block, Head
from gateway.store.db import Database
from gateway.store.errors import StoreError
from gateway.store.outbox import Outbox
from gateway.store.position import load_positions
from gateway.store.props import decode_props, encode_props
from gateway.store.rooms import ROOMS
from gateway.store.routes import Route
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
    assert [row.seq for row in tail.read(0, 0, LAST, 10, 20).rows] == [1]
    assert [row.seq for row in tail.read(0, 1, LAST, 10, 20).rows] == [2]


@given(STEPS, st.integers(0, 3000), st.integers(0, 70), st.integers(0, 90), st.integers(1, 10), st.integers(0, 1000))
def test_memory_holds_what_is_not_written_and_the_newest_of_the_rest(
    steps: list[Any], max_bytes: int, after: int, more: int, limit: int, read_bytes: int
) -> None:
    tail = Tail(max_bytes)
    heads = [Head(room, 1, ("a",), "t", "gateway", 0, False) for room in (0, 1)]
    blocks: list[Block] = []
    last = 0
    for what, n in steps:
        if what == "fill":
            if not blocks or blocks[-1].written:
                blocks.append(Block(0, last + 1, 1, 0))
                tail.append(blocks[-1])
            for size in n:
                blocks[-1].add(heads[size % 2], bytes(size), 0.0, None)
                last += 1
        elif what == "write" and blocks and not blocks[-1].written:
            tail.written(blocks[-1])
        elif what == "settle" and blocks and not blocks[-1].written:
            for head in heads:
                blocks[-1].settle(head.kind, n)
        elif what == "forget":
            tail.forget(lambda block, n=n: all(last <= n for _, last in block.ends()))  # type: ignore[misc]
    upto = after + more
    first = tail.first
    assert all(first is not None and block.first >= first for block in blocks if not block.written)
    assert sum(block.bytes for block in tail._blocks if block.written) == tail._bytes <= max_bytes
    for room in (0, 1):
        there = [row for block in tail._blocks for row in block.rows(room, after, upto, 1000, 10**9, 0)[0]]
        rows, reached = tail.read(room, after, upto, limit, read_bytes)
        assert rows == there[: len(rows)]
        assert bool(rows) == bool(there)
        assert len(rows) <= limit
        assert not any(row.seq <= reached for row in there[len(rows) :])
        if len(rows) < len(there):
            assert reached >= rows[-1].seq
        elif tail.first is not None:
            assert reached >= min(upto, last)
        assert sum(len(row.payload) for row in rows[1:]) <= max(0, read_bytes - len(rows[0].payload) if rows else 0)
        assert tail.has(room, 0) == any(block.rooms >> room & 1 for block in blocks if not block.written)


WHO = st.sampled_from(["a", "b"])
STEP = st.one_of(
    st.tuples(st.sampled_from(["store", "unasked", "alarm"]), st.integers(1, 8)),
    st.tuples(st.just("connect"), WHO),
    st.tuples(st.sampled_from(["live", "backlog"]), WHO, st.integers(0, 1), st.integers(1, 12)),
    st.tuples(st.just("commit"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)
ALARM = ROOMS.index("alarm")


class Cloud:
    """One uplink as it is in the tests: what is live it takes from where it began, the rest in order.

    got   what has arrived, in each class and lane, in order
    held  what has arrived, but for what a kill has made the gateway forget
    sure  what had arrived when everything was committed: it must not come again, whatever happens
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: dict[tuple[int, str], list[int]] = {}
        self.held: set[int] = set()
        self.sure: set[int] = set()
        self.begins = 0

    @property
    def numbers(self) -> list[int]:
        return [number for numbers in self.got.values() for number in numbers]

    def connect(self, outbox: Outbox) -> None:
        self.begins = outbox.reader(self.name).newest

    async def take(self, outbox: Outbox, lane: str, room: int, count: int) -> int:
        """Read so many rows of a lane and have them; how many there were."""
        reader = outbox.reader(self.name)
        after, upto = (self.begins, LAST) if lane == "live" else (0, self.begins)
        found = 0
        for start, end in reader.acked(room).gaps(after, upto):
            batch = await reader.read(room, start, end, count - found, 10**6)
            assert [row.seq for row in batch.rows] == sorted(row.seq for row in batch.rows if start < row.seq <= end)
            numbers = [int(row.payload) for row in batch.rows]
            assert not self.sure & set(numbers), "what was committed as arrived does not come again"
            self.got.setdefault((room, lane), []).extend(numbers)
            self.held.update(numbers)
            found += len(batch.rows)
            reader.acknowledge(room, start, batch.rows[-1].seq if found == count else batch.reached)
            if found == count:
                break
        return found


class Publisher:
    """Numbers everything that it stores. ``safe``: what was answered."""

    def __init__(self) -> None:
        self.published = 0
        self.safe: set[int] = set()

    def publish(self, outbox: Outbox, room: int, asks: bool) -> None:
        self.published += 1
        number = self.published

        def done(error: BaseException | None) -> None:
            assert error is None
            assert number not in self.safe
            self.safe.add(number)

        lane = outbox.merge([(Route("a", 0, room), Route("b", 0, room))], f"t{room}")
        assert lane.deliver(Message(f"t{room}", b"%d" % number), done if asks else None)


async def play(
    steps: list[Any], outbox: Outbox, database: Database, clouds: dict[str, Cloud], publisher: Publisher
) -> str:
    """Steps until one ends the process: that one."""
    for cloud in clouds.values():
        cloud.connect(outbox)
    while steps:
        what, *more = steps.pop(0)
        if what in ("restart", "kill"):
            return str(what)
        if what in ("store", "unasked", "alarm"):
            for _ in range(more[0]):
                publisher.publish(outbox, ALARM if what == "alarm" else 0, what != "unasked")
        elif what == "commit":
            await settle(database)
            for cloud in clouds.values():
                cloud.sure = set(cloud.held)
        elif what == "connect":
            clouds[more[0]].connect(outbox)
        else:
            await clouds[more[0]].take(outbox, what, more[1], more[2])
    return ""


async def drain(outbox: Outbox, clouds: dict[str, Cloud]) -> None:
    """Each uplink takes everything."""
    for cloud in clouds.values():
        cloud.connect(outbox)
        for room in range(len(ROOMS)):
            while await cloud.take(outbox, "backlog", room, 3):
                pass


def lost_by(bench: Bench, name: str) -> int:
    return sum(n for uplink, n in bench.look("SELECT uplink, n FROM outbox_drop") if uplink == name)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(STEP, max_size=30), st.integers(1, 30))
@example([("store", 1), ("store", 1), ("commit", 0), ("backlog", "a", 0, 1)], 1)
@example([("store", 5), ("commit", 0), ("connect", "a"), ("store", 5), ("live", "a", 0, 3), ("commit", 0)], 4)
def test_every_row_reaches_each_uplink_or_is_counted_as_lost(steps: list[Any], most: int) -> None:
    """The model: each uplink reads, and acknowledges what it has read, in pieces, what is live before its backlog.
    Whatever was acknowledged to a publisher has been acknowledged by both uplinks, waits for them, or was dropped and
    counted."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "gateway.db")
        clouds = {name: Cloud(name) for name in ("a", "b")}
        publisher = Publisher()

        async def body() -> None:
            while steps:
                async with bench.outbox("a", "b", max_rows=most) as (outbox, database):
                    await play(steps, outbox, database, clouds, publisher)
                    await settle(database)
                    check_books(bench, clouds, await outbox.tallies(), publisher.published)
            async with bench.outbox("a", "b", max_rows=most) as (outbox, database):
                await drain(outbox, clouds)
                await settle(database)
                check_books(bench, clouds, await outbox.tallies(), publisher.published)
                assert bench.numbers() == []

        run(body)
        for name, cloud in clouds.items():
            numbers = cloud.numbers
            assert len(numbers) == len(set(numbers))
            assert len(set(range(1, publisher.published + 1)) - set(numbers)) == lost_by(bench, name)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(STEP | st.tuples(st.just("kill"), st.just(0)), max_size=30))
def test_after_kill_9_nothing_is_lost_and_only_what_was_under_way_comes_again(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "gateway.db")
        clouds = {name: Cloud(name) for name in ("a", "b")}
        publisher = Publisher()
        left = Path(folder) / "left"

        async def body() -> None:
            while steps:
                async with bench.outbox("a", "b") as (outbox, database):
                    end = await play(steps, outbox, database, clouds, publisher)
                    safe = set(publisher.safe)
                    if end == "kill":
                        await database.read(lambda connection: copy(bench.path, left))
                if end == "kill":
                    copy(left, bench.path)
                    publisher.safe = safe
                for cloud in clouds.values():
                    if end == "kill":
                        cloud.held = set(cloud.sure)
                    else:
                        cloud.sure = set(cloud.held)
            async with bench.outbox("a", "b") as (outbox, database):
                await drain(outbox, clouds)

        run(body)
        for name, cloud in clouds.items():
            counts = Counter(cloud.numbers)
            assert publisher.safe <= counts.keys(), "what was answered is there"
            assert not bench.metrics.drops
            assert lost_by(bench, name) == 0


def copy(source: Path, target: Path) -> None:
    """The files of a database, as a kill would leave them."""
    for ending in ("", "-wal"):
        there = source.with_name(source.name + ending)
        wanted = target.with_name(target.name + ending)
        wanted.unlink(missing_ok=True)
        if there.exists():
            shutil.copyfile(there, wanted)
    target.with_name(target.name + "-shm").unlink(missing_ok=True)


def check_books(bench: Bench, clouds: dict[str, Cloud], books: dict[str, int], published: int) -> None:
    """stored = delivered + waiting + dropped, for each uplink."""
    assert books.get("stored", 0) == published
    with closing(sqlite3.connect(bench.path)) as connection:
        positions = load_positions(connection)
        found = connection.execute("SELECT id >> 56, first, boot, data FROM outbox_segment").fetchall()
    rows = [(room, row) for room, first, boot, data in found for row in unpack(first, data).rows(boot, 0)]
    for name, cloud in clouds.items():
        waiting = {int(row.payload) for room, row in rows if row.seq not in positions[name].acked[room]}
        assert not waiting & set(cloud.numbers)
        assert len(cloud.numbers) + len(waiting) + lost_by(bench, name) == published
