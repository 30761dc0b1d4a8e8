"""What goes to the cloud on each level of saving, and that alarms always do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from gateway.clock import FixedClock
from gateway.outbound import CLASSES, Row
from gateway.uplinks.thrift import GATHER
from uplinks.bench import Bench, Cloud, ListReader, play, row, until

MINUTE = 1_800_000_000.0
ALARM = CLASSES.index("alarm")


def reader(rows: Iterable[Row] = ()) -> ListReader:
    return ListReader(rows, room=lambda one: ALARM if one.topic == "plant/alarm" else 0)


def payloads(cloud: Cloud) -> list[int]:
    return [int(packet.payload) for packet in cloud.publishes()]


class Line:
    """An uplink at work that saves, and a clock that is moved by hand."""

    def __init__(self, cloud: Cloud, rows: Iterable[Row] = ()) -> None:
        self.clock = FixedClock(MINUTE)
        self.reader = reader(rows)
        self.bench = Bench(cloud.port, reader=self.reader, clock=self.clock)

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
