"""Classes and their rooms: the ladder of telemetry, alarms untouched by it, every loss counted once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.config.store import Room as RoomSettings
from gateway.config.store import Store
from gateway.message import USER_PROPERTY, Message
from gateway.store.outbox import Outbox
from gateway.store.rooms import ROOMS, Room, share_out
from gateway.store.routes import Route
from store.bench import Bench, acknowledge, run, settle, take

KIB = 1024


def rooms(telemetry: int, other: int, thins: bool = True) -> tuple[Room, ...]:
    return (Room(telemetry, 1e9, thins=thins), *[Room(other, 1e9)] * 3)


def shares(store: Store) -> tuple[Room, ...]:
    asked = {name: getattr(store, name) for name in ROOMS}
    return share_out(store.max_bytes, store.max_age, store.full == "thin", asked)


def test_the_settings_give_each_class_its_room() -> None:
    plain = shares(Store(max_bytes=36 << 20, max_age=50))
    assert [room.max_bytes for room in plain] == [26 << 20, 4 << 20, 1 << 20, 1 << 20]
    assert {room.max_age for room in plain} == {50}
    assert [room.thins for room in plain] == [True, False, False, False]
    alarm = RoomSettings(max_bytes=8 << 20, max_age=7, max_rows=3, durability="interval", interval=0.5)
    set_up = shares(Store(max_bytes=36 << 20, full="drop", alarm=alarm))
    assert set_up[1] == Room(8 << 20, 7, 3, 0.5, False)
    assert set_up[0].max_bytes == 22 << 20
    assert not any(room.thins for room in set_up)


def test_rooms_that_do_not_fit_are_an_error() -> None:
    store = Store(max_bytes=1 << 20, alarm=RoomSettings(max_bytes=2 << 20))
    assert [key for key, _ in store.problems()] == ["max_bytes"]
    assert list(replace(store, max_bytes=4 << 20).problems()) == []


class Site:
    """An outbox, fed with a reading of each topic every second, committed every second."""

    def __init__(self, bench: Bench, outbox: Outbox, database: Any) -> None:
        self.bench = bench
        self.outbox = outbox
        self.database = database
        self.start = bench.clock.time()
        self.readings = [outbox.merge([(Route("cloud", 0, 0),)], f"plant/{n}") for n in range(10)]
        self.alarms = outbox.merge([(Route("cloud", 0, ROOMS.index("alarm")),)], "alarm")
        self.sent = 0

    async def run(self, seconds: int) -> None:
        for second in range(seconds):
            self.bench.clock.advance(1)
            time = self.bench.clock.time()
            for number, lane in enumerate(self.readings):
                value = {"v": number + second % 7 + 0.125, "q": "good", "u": "Cel"}
                lane.deliver(Message(f"plant/{number}", None, 1, time=time, value=value), None)
            self.sent += len(self.readings)
            if second % 60 == 0:
                self.alarms.deliver(Message("alarm", b"door %d" % time, 1, time=time), None)
            await settle(self.database)

    async def arrived(self) -> list[Any]:
        reader = self.outbox.reader("cloud")
        rows: list[Any] = []
        for room in range(len(ROOMS)):
            while more := await take(reader, reader.acked(room).prefix, 500, 10**6, room):
                rows += more
                acknowledge(reader, more[-1].seq, room)
        return sorted(rows)


def count_of(row: Any) -> int:
    marks = {value[0]: value[1] for identifier, value in row.props if identifier == USER_PROPERTY}
    return int(marks.get("count", 1))


@pytest.mark.slow
def test_a_long_outage_is_covered_coarser_the_older_and_alarms_are_all_there(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.bound(rooms(64 * KIB, 64 * KIB))
            site = Site(bench, outbox, database)
            seconds = 2 * 3600
            await site.run(seconds)
            sizes = dict(bench.look("SELECT id >> 56, sum(size) FROM outbox_segment GROUP BY 1"))
            assert sizes[0] <= 64 * KIB
            books = await outbox.tallies()
            rows = await site.arrived()
            numbers = [row.seq for row in rows]
            assert numbers == sorted(set(numbers))
            alarms = [row for row in rows if row.topic == "alarm"]
            assert len(alarms) == seconds // 60
            telemetry = [row for row in rows if row.topic != "alarm"]
            # Nothing was dropped: each reading is a row, or part of one.
            assert "dropped:outbox_full" not in books
            assert sum(map(count_of, telemetry)) == site.sent
            assert books["outbox_thinned"] == site.sent - len(telemetry)
            assert books["stored"] == site.sent + len(alarms)
            counts = [count_of(row) for row in telemetry if row.topic == "plant/0"]
            assert counts[-1] == 1
            assert max(counts) > 60
            times = [row.time for row in telemetry if row.topic == "plant/0"]
            assert times[0] - site.start <= 901
            gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
            assert max(gaps) <= 1800
            for row in telemetry:
                value = json.loads(row.payload)
                number = int(row.topic[6:])
                assert (
                    number <= value.get("min", value["v"]) <= value["v"] <= value.get("max", value["v"]) <= number + 7
                )

    run(body)
    assert bench.metrics.drops == {}


def test_what_cannot_be_thinned_is_dropped_oldest_first_and_counted(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.bound(rooms(16 * KIB, 64 * KIB))
            lane = outbox.merge([(Route("cloud", 0, 0),)], "log")
            start = bench.clock.time()
            for n in range(600):
                bench.clock.advance(1)
                lane.deliver(Message("log", b"line %d" % n, 1, time=bench.clock.time()), None)
                await settle(database)
            left = [int(row.payload[5:]) for row in bench.rows()]
            assert left == list(range(600 - len(left), 600))
            ((n, first, last),) = bench.look("SELECT n, first, last FROM outbox_drop")
            assert n == 600 - len(left) > 0
            assert (first, last) == (start + 1, start + n)
            assert bench.metrics.drops == {"outbox_full": n}

    run(body)


def test_rows_on_their_way_are_not_thinned(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.bound(rooms(64 * KIB, 64 * KIB))
            site = Site(bench, outbox, database)
            await site.run(60)
            reader = outbox.reader("cloud")
            handed = await take(reader, 0, 300, 10**6)
            await site.run(1200)
            assert (await outbox.tallies())["outbox_thinned"] > 0
            kept = {row.seq: row for row in bench.rows()}
            assert all(kept[row.seq].payload == row.payload for row in handed)

    run(body)


def test_a_full_room_of_one_class_leaves_the_others_alone(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.bound(rooms(64 * KIB, 4 * KIB, thins=False))
            site = Site(bench, outbox, database)
            for n in range(30):
                site.alarms.deliver(Message("alarm", b"%d" % n, 1), None)
                await settle(database)
            await site.run(60)
            sizes = dict(bench.look("SELECT id >> 56, sum(size) FROM outbox_segment GROUP BY 1"))
            assert 3 * KIB < sizes[1] <= 4 * KIB
            topics = {row.topic for row in bench.rows()}
            assert len(topics) == 11
            assert [n for (n,) in bench.look("SELECT n FROM outbox_drop")] == [bench.metrics.drops["outbox_full"]]

    run(body)


@pytest.mark.parametrize("handed", [0, 50])
def test_counts_of_segments_are_those_of_the_table(bench: Bench, handed: int) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.bound(rooms(32 * KIB, 64 * KIB))
            site = Site(bench, outbox, database)
            for _ in range(4):
                await site.run(150)
                rows = await take(outbox.reader("cloud"), outbox.reader("cloud").acked(0).prefix, handed + 1, 10**6)
                if handed:
                    acknowledge(outbox.reader("cloud"), rows[-1].seq)
                await settle(database)
                maker = outbox._table.maker
                assert [(maker.bytes, maker.rows)] == bench.look("SELECT sum(size), sum(n) FROM outbox_segment")

    run(body)
