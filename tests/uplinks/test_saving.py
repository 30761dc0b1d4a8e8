"""What goes to the cloud on each level of saving, and that alarms always do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.outbound import CLASSES, Row
from gateway.unpack import unpack
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.thrift import GATHER, WAIT_FACTORS
from uplinks.bench import Bench, Cloud, ListReader, play, row, until

MINUTE = 1_800_000_000.0
HOUR = 3600.0
ALARM = CLASSES.index("alarm")


def reader(rows: Iterable[Row] = ()) -> ListReader:
    return ListReader(rows, room=lambda one: ALARM if one.topic == "plant/alarm" else 0)


def payloads(cloud: Cloud) -> list[int]:
    return [int(packet.payload) for packet in cloud.publishes()]


class Line:
    """An uplink at work that saves, and a clock that is moved by hand."""

    def __init__(self, cloud: Cloud, rows: Iterable[Row] = (), **settings: Any) -> None:
        self.clock = FixedClock(MINUTE)
        self.reader = reader(rows)
        self.bench = Bench(cloud.port, reader=self.reader, clock=self.clock, **settings)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.reader.add()

    async def rest(self) -> None:
        """Let it do what it can."""
        for _ in range(20):
            await asyncio.sleep(0.001)


def test_only_alarms_go_on_the_last_level_and_the_rest_follows() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            line = Line(cloud, [row(1), row(2, "plant/alarm"), row(3)])
            line.bench.uplink.press(3)

            async def work() -> None:
                await cloud.published(1)
                line.reader.add(row(4), row(5, "plant/alarm"))
                await cloud.published(2)
                await line.rest()
                assert payloads(cloud) == [2, 5]
                assert line.bench.uplink.status()["reason"] == "saving"
                line.bench.uplink.press(0)
                await line.bench.settled(5)
                assert sorted(payloads(cloud)) == [1, 2, 3, 4, 5]
                assert line.reader.dropped == []

            await line.bench.during(work())

    play(main())


def test_bursts_of_telemetry_do_not_hold_up_alarms() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            line = Line(cloud)
            line.bench.uplink.press(1)

            async def work() -> None:
                line.reader.add(row(1))
                await cloud.published(1)
                line.pass_time(2)
                line.reader.add(row(2), row(3), row(4, "plant/alarm"))
                await cloud.published(2)
                await line.rest()
                assert payloads(cloud) == [1, 4]
                line.pass_time(GATHER)
                await line.bench.settled(4)
                assert payloads(cloud) == [1, 4, 2, 3]

            await line.bench.during(work())

    play(main())


def test_telemetry_is_thinned_to_the_last_row_of_a_topic_and_minute() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq, f"plant/{seq % 3}", time=MINUTE - 60 + seq) for seq in range(1, 31)]
            line = Line(cloud, rows)
            line.bench.uplink.press(2)

            async def work() -> None:
                await cloud.published(3)
                line.reader.add(*[row(seq, "plant/0", time=MINUTE + seq - 31) for seq in range(31, 41)])
                line.reader.add(row(41, "plant/alarm", time=MINUTE + 11))
                await cloud.published(4)
                await line.rest()
                assert payloads(cloud) == [28, 29, 30, 41]
                line.pass_time(61)
                await line.bench.settled(41)
                assert payloads(cloud) == [28, 29, 30, 41, 40]
                assert [seq for seq, _ in line.reader.dropped] == [*range(1, 28), *range(31, 40)]
                assert {reason for _, reason in line.reader.dropped} == {"budget_thinned"}

            await line.bench.during(work())

    play(main())


def test_what_is_not_sent_up_stands_for_nothing() -> None:
    """A later row of the topic that came from this cloud does not go back there: the earlier one does."""

    async def main() -> None:
        async with Cloud() as cloud:
            line = Line(cloud, [row(1, time=MINUTE - 50), row(2, time=MINUTE - 40, source="uplink:cloud")])
            line.bench.uplink.press(2)
            await line.bench.during(line.bench.settled(2))
            assert payloads(cloud) == [1]

    play(main())


def test_what_expires_is_not_held_for_a_minute() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            line = Line(cloud, [row(1, time=MINUTE + 0.5, expires=MINUTE + 30), row(2, time=MINUTE + 0.6)])
            line.bench.uplink.press(2)

            async def work() -> None:
                await cloud.published(1)
                await line.rest()
                assert payloads(cloud) == [1]

            await line.bench.during(work())

    play(main())


@pytest.mark.parametrize("level", [1, 2])
def test_a_cut_loses_nothing_that_was_to_go(level: int) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq, f"plant/{seq % 5}", time=MINUTE - 240 + seq) for seq in range(1, 181)]
            line = Line(cloud, rows)
            line.bench.uplink.press(level)
            cloud.on_publish = lambda packet: 0 if int(packet.payload) < 60 else None
            try:
                await line.bench.during(until(lambda: len(cloud.publishes()) >= 7))
            finally:
                cloud.on_publish = lambda packet: 0
            line.clock.advance(GATHER)
            await line.bench.during(line.bench.settled(180))
            there = {int(packet.payload) for packet in cloud.publishes()}
            # The last rows of each minute: 5 topics, 60 rows a minute, the first of which has 59.
            assert {*range(55, 60), *range(115, 120), *range(175, 181)} <= there
            lost = {seq for seq, _ in line.reader.dropped}
            assert lost | there == set(range(1, 181))
            assert not lost or level == 2

    play(main())


def parcels(cloud: Cloud) -> list[list[int]]:
    """The rows in each parcel."""
    return [[int(record.id.partition(":")[2]) for record in unpack(packet.payload)] for packet in cloud.publishes()]


def test_batches_wait_longer_and_telemetry_in_them_is_thinned() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            line = Line(cloud, batch=Batch(wait=4.0, rows=100))

            async def work() -> None:
                await until(lambda: line.bench.uplink.status()["reason"] == "caught_up")
                line.bench.uplink.press(1)
                line.reader.add(row(1, time=MINUTE), row(2, time=MINUTE))
                await line.rest()
                line.pass_time(4.0 * WAIT_FACTORS[1] - 1)
                await line.rest()
                assert parcels(cloud) == []
                line.pass_time(1.0)
                await line.bench.settled(2)
                assert parcels(cloud) == [[1, 2]]

                line.bench.uplink.press(2)
                last = line.clock.time()
                line.reader.add(*[row(seq, f"plant/{seq % 2}", time=last + seq / 10) for seq in range(3, 23)])
                await line.rest()
                line.pass_time(61)
                await line.rest()
                line.pass_time(4.0 * WAIT_FACTORS[2])
                await line.bench.settled(22)
                assert parcels(cloud) == [[1, 2], [21, 22]]
                assert [seq for seq, _ in line.reader.dropped] == [*range(3, 21)]

                line.bench.uplink.press(3)
                line.reader.add(row(23, time=line.clock.time()))
                await line.rest()
                line.pass_time(1000)
                await line.rest()
                assert parcels(cloud) == [[1, 2], [21, 22]]
                line.bench.uplink.press(0)
                await line.rest()
                line.pass_time(4)
                await line.bench.settled(23)
                assert parcels(cloud) == [[1, 2], [21, 22], [23]]

            await line.bench.during(work())

    play(main())


def test_a_row_that_is_thinned_behind_one_that_gathers_is_passed_by_and_not_before_it() -> None:
    """The row that gathers has another topic, and a cut comes before it has gone: it is not taken for sent."""

    async def main() -> None:
        async with Cloud() as cloud:
            rows = [
                row(1, "plant/a", time=MINUTE - 61),
                row(2, "plant/b", time=MINUTE - 58),
                row(3, "plant/b", time=MINUTE - 1),
            ]
            line = Line(cloud, batch=Batch(wait=HOUR))
            line.bench.uplink.press(2)

            async def work() -> None:
                await until(lambda: line.bench.uplink.status()["reason"] == "caught_up")
                line.reader.add(*rows)
                await until(lambda: line.reader.dropped)
                await line.rest()
                assert cloud.publishes() == []
                assert line.reader.cursor == 0

            await line.bench.during(work())
            line.bench.uplink.press(0)
            line.clock.advance(HOUR)
            await line.bench.during(until(lambda: cloud.publishes()))
            assert 1 in parcels(cloud)[0]

    play(main())
