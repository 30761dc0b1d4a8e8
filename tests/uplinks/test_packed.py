"""An uplink that packs: what shares a parcel, what does not wait, and that nothing is lost or sent twice."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import get_args

import pytest

from gateway.clock import FixedClock
from gateway.mqtt.packets import ConnAck, Publish
from gateway.mqtt.properties import CONTENT_TYPE, MAXIMUM_PACKET_SIZE, MESSAGE_EXPIRY, get
from gateway.outbound import CLASSES, Row
from gateway.outbound import Batch as Outcome
from gateway.unpack import Record, unpack
from gateway.uplinks.mqtt.config import Backlog, Forward, Receive
from gateway.uplinks.mqtt.refusals import MOST_REFUSED
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.pack import Format
from uplinks.bench import Bench, Cloud, ListReader, play, row, until, user

ALARM = CLASSES.index("alarm")
HOUR = 3600.0
SOON = Batch(wait=0.0)


class ListDead:
    """Dead letters in a list, each with its tries."""

    def __init__(self) -> None:
        self.rows: list[tuple[Row, int]] = []

    def add(self, row: Row, reason: str, error: str, tries: int) -> None:
        self.rows.append((row, tries))


def records(cloud: Cloud) -> list[Record]:
    """All that has arrived in parcels, in order."""
    return [record for packet in cloud.publishes() for record in unpack(packet.payload)]


def numbers(packets: Iterable[Publish]) -> list[list[int]]:
    """The rows in each parcel."""
    return [[int(record.id.partition(":")[2]) for record in unpack(packet.payload)] for packet in packets]


def test_rows_share_a_parcel() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            props = ((2, 60), (3, "x/y"), (0x26, ("a", "b")))
            rows = [row(seq, f"plant/{seq % 3}", time=seq / 10, props=props, qos=seq % 3) for seq in range(1, 301)]
            bench = Bench(cloud.port, rows, batch=Batch(rows=100, wait=HOUR, format="columns"))
            await bench.during(bench.settled(300))
            assert numbers(cloud.publishes()) == [[*range(1, 101)], [*range(101, 201)], [*range(201, 301)]]
            (first, *_) = cloud.publishes()
            assert (first.topic, first.qos, first.retain, first.packet_id) == ("gw1/batch", 1, False, 1)
            assert get(first.props, CONTENT_TYPE) == "application/vnd.edge-gateway.columns"
            assert user(first.props) == [("encoding", "zlib"), ("replay", "1"), ("via", "gw1")]
            assert records(cloud)[6] == Record(
                "site/plant/1", b"7", 0.7, "7:7", 1, properties=(("content-type", "x/y"), ("user", ("a", "b")))
            )

    play(main())


def test_the_clock_closes_a_parcel() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            clock = FixedClock()
            bench = Bench(cloud.port, clock=clock, batch=Batch(wait=HOUR, topic="site/batch"))

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                bench.reader.add(row(1), row(2))
                await until(lambda: bench.uplink.status()["reason"] == "gathering")
                assert cloud.publishes() == []
                clock.advance(HOUR)
                bench.reader.add(row(3))
                await bench.settled(2)

            await bench.during(work())
            assert numbers(cloud.publishes()) == [[1, 2]]
            assert cloud.publishes()[0].topic == "site/batch"

    play(main())


def test_a_parcel_is_sent_when_its_time_has_come_and_nothing_else_happens() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, batch=Batch(wait=0.05))

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                bench.reader.add(row(1), row(2))
                await bench.settled(2)

            await bench.during(work())
            assert numbers(cloud.publishes()) == [[1, 2]]

    play(main())


def test_bytes_close_a_parcel() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq, payload=b"x" * 300) for seq in range(1, 8)] + [row(8, payload=b"x" * 5000), row(9)]
            bench = Bench(cloud.port, rows, batch=Batch(bytes=1024, wait=HOUR))
            await bench.during(bench.settled(9))
            assert numbers(cloud.publishes()) == [[1, 2, 3], [4, 5, 6], [7], [8], [9]]

    play(main())


def test_alarms_do_not_wait() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reader = ListReader(room=lambda row: ALARM if row.topic == "plant/alarm" else 0)
            bench = Bench(cloud.port, reader=reader, clock=FixedClock(), batch=Batch(wait=HOUR))

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                reader.add(row(1), row(2, "plant/alarm"), row(3))
                await cloud.published(1)
                await until(lambda: bench.uplink.status()["reason"] == "gathering")

            await bench.during(work())
            assert [(packet.topic, packet.payload) for packet in cloud.publishes()] == [("site/plant/alarm", b"2")]
            assert 2 in reader.acked(ALARM)
            assert 1 not in reader.acked(0)

    play(main())


def test_alarms_are_packed_when_they_are_to_be() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reader = ListReader([row(1), row(2, "plant/alarm")], room=lambda row: ALARM * (row.topic == "plant/alarm"))
            bench = Bench(cloud.port, reader=reader, batch=Batch(wait=0.0, classes=("alarm",)))
            await bench.during(bench.settled(2))
            assert [packet.topic for packet in cloud.publishes()] == ["gw1/batch", "site/plant/t"]

    play(main())


def test_rows_for_nobody_are_passed_by_with_those_around_them() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(1, "other"), row(2), row(3, source="uplink:cloud"), row(4), row(5, "x"), row(6, expires=1.0)]
            bench = Bench(cloud.port, rows, clock=FixedClock(), batch=Batch(wait=HOUR))

            async def work() -> None:
                await bench.settled(6)
                bench.reader.add(row(7), row(8, "x"))
                await until(lambda: bench.uplink.status()["reason"] == "gathering")

            await bench.during(work())
            assert numbers(cloud.publishes()) == [[2, 4]]
            assert bench.reader.dropped == [(6, "expired")]
            assert bench.reader.cursor == 6

    play(main())


def test_a_parcel_expires_with_its_last_row() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            clock = FixedClock(time=1000.0)
            rows = [row(1, expires=1010.0), row(2, expires=1030.5)]
            bench = Bench(cloud.port, rows, clock=clock, batch=SOON)
            await bench.during(bench.settled(2))
            assert get(cloud.publishes()[0].props, MESSAGE_EXPIRY) == 31
            assert [record.expires for record in records(cloud)] == [1010.0, 1030.5]

    play(main())


@pytest.mark.parametrize("form", get_args(Format))
def test_the_packet_limit_of_the_broker_splits_parcels(form: Format) -> None:
    async def main() -> None:
        chance = random.Random(3)
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((MAXIMUM_PACKET_SIZE, 700),))
            rows = [row(seq, payload=chance.randbytes(900 if seq == 30 else 50)) for seq in range(1, 61)]
            bench = Bench(cloud.port, rows, batch=Batch(wait=0.0, format=form))
            await bench.during(bench.settled(60))
            assert [record.payload for record in records(cloud)] == [row.payload for row in rows if row.seq != 30]
            assert bench.reader.dropped == [(30, "too_large")]
            assert len(cloud.publishes()) < 30
            # The cloud decodes strictly, and each packet came whole: their sizes are what was received.
            assert all(len(packet.payload) <= 640 for packet in cloud.publishes())

    play(main())


def test_a_parcel_that_is_refused_is_dropped_row_by_row() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: 0x99 if packet.packet_id <= 2 else 0
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 5)], batch=Batch(rows=2, wait=0.0))
            await bench.during(bench.settled(4))
            assert bench.reader.dropped == [
                (1, "refused_payload_format_invalid"),
                (2, "refused_payload_format_invalid"),
            ]
            assert bench.uplink.status()["acked"] == 2

    play(main())


def test_the_backlog_has_its_own_parcels() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            backlog = Backlog(prefix="replay/")
            bench = Bench(cloud.port, [row(1), row(2)], batch=Batch(wait=0.02), backlog=backlog)

            async def work() -> None:
                await bench.settled(2)
                bench.reader.add(row(3))
                await bench.settled(3)

            await bench.during(work())
            old, new = cloud.publishes()
            assert (old.topic, new.topic) == ("replay/gw1/batch", "gw1/batch")
            assert ("replay", "1") in user(old.props)
            assert ("replay", "1") not in user(new.props)
            assert [record.topic for record in records(cloud)] == ["site/plant/t"] * 3

    play(main())


class Crowded(ListReader):
    """A live row comes during each of the first reads: a few after the rows that are there."""

    coming = 0

    async def read(self, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Outcome:
        if self.coming:
            self.coming -= 1
            self.add(row(self.newest + 1))
        return await super().read(room, after, upto, limit, max_bytes)


@pytest.mark.parametrize("coming", [1, 2])
def test_a_backlog_that_gathers_while_live_rows_come_is_sent(coming: int) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reader = Crowded([row(1), row(2)])
            reader.coming = coming
            bench = Bench(cloud.port, reader=reader, batch=Batch(wait=HOUR))

            async def work() -> None:
                await bench.settled(2)
                assert numbers(cloud.publishes()) == [[1, 2]]
                await until(lambda: not reader.coming and bench.uplink.status()["reason"] == "gathering")
                assert reader.cursor == 2

            await bench.during(work())
            await bench.during(bench.settled(2 + coming))
            assert numbers(cloud.publishes()) == [[1, 2], list(range(3, 3 + coming))]

    play(main())


def test_what_gathers_when_the_line_is_cut_comes_once() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(1)], batch=Batch(wait=HOUR))

            async def first() -> None:
                await bench.settled(1)
                bench.reader.add(row(2), row(3))
                await until(lambda: bench.uplink.status()["reason"] == "gathering")

            await bench.during(first())
            await bench.during(bench.settled(3))
            assert numbers(cloud.publishes()) == [[1], [2, 3]]

    play(main())


def test_a_parcel_without_an_answer_is_sent_again_as_it_was() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None
            bench = Bench(cloud.port, [row(1), row(2)], batch=SOON)
            await bench.during(cloud.published(1))
            cloud.on_publish = lambda packet: 0
            cloud.connack = ConnAck(True, 0)
            bench.reader.add(row(3))
            await bench.during(bench.settled(3))
            assert numbers(cloud.publishes()) == [[1, 2], [1, 2], [3]]
            assert [packet.dup for packet in cloud.publishes()] == [False, True, False]

    play(main())


def test_version_3_says_what_it_is_in_its_first_bytes() -> None:
    async def main() -> None:
        async with Cloud(4) as cloud:
            bench = Bench(cloud.port, [row(1)], version="3.1.1", batch=Batch(wait=0.0, format="columns"))
            await bench.during(bench.settled(1))
            assert cloud.publishes()[0].payload.startswith(b"EGC\x01\x01")
            assert cloud.publishes()[0].props == ()

    play(main())


def test_many_rows_through_a_narrow_window() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            rows = [row(seq, f"plant/{seq % 9}") for seq in range(1, 3001)]
            bench = Bench(cloud.port, rows, window=2, batch=Batch(rows=40, wait=0.0, compress="none"))
            await bench.during(bench.settled(3000))
            assert [record.id for record in records(cloud)] == [f"7:{seq}" for seq in range(1, 3001)]

    play(main())


def test_with_version_3_parcels_must_not_come_back() -> None:
    bench = Bench(1, version="3.1.1", batch=Batch(topic="site/batch"))
    settings = {name: getattr(bench.config, name) for name in ("url", "version", "forward", "batch")}
    config = type(bench.config)(**settings, receive=(Receive(filter="site/#", to="in/#"),))
    texts = [text for _, text in config.problems()]
    assert any("where batch publishes" in text for text in texts)


def test_the_entry_of_forward_decides_on_retain_and_qos_of_what_is_packed() -> None:
    async def main() -> None:
        forward = (
            Forward(filter="plant/cheap/#", qos=0),
            Forward(filter="plant/once/#", retain=False),
            Forward(filter="plant/#"),
        )
        async with Cloud() as cloud:
            rows = [row(1, "plant/cheap/a", retain=True), row(2, "plant/once/b", retain=True), row(3, retain=True)]
            rows += [row(4, "plant/cheap/a"), row(5, "plant/cheap/b")]
            bench = Bench(cloud.port, rows, forward=forward, batch=Batch(rows=3, wait=0.0))
            await bench.during(bench.settled(5))
            await until(lambda: len(cloud.publishes()) == 2)
            assert [record.retain for record in records(cloud)] == [True, False, True, False, False]
            # One row of QoS 1 is enough for the parcel to be kept until the cloud has it.
            assert [packet.qos for packet in cloud.publishes()] == [1, 0]
            assert bench.reader.dropped == []

    play(main())


@pytest.mark.parametrize(("reason", "publishes"), [(0x99, 15), (0x80, 17)])
def test_a_refused_parcel_is_halved_until_only_the_bad_row_is_given_up(reason: int, publishes: int) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            arrived: list[Record] = []

            def take(packet: Publish) -> int:
                found = list(unpack(packet.payload))
                if any(record.payload == b'"bad"' for record in found):
                    return reason
                arrived.extend(found)
                return 0

            cloud.on_publish = take
            rows = [row(seq, payload=b'"bad"' if seq == 77 else b"1") for seq in range(1, 129)]
            dead = ListDead()
            bench = Bench(cloud.port, rows, dead=dead, batch=Batch(rows=128, wait=0.0))
            await bench.during(bench.settled(128))
            assert [record.id for record in arrived] == [f"7:{seq}" for seq in range(1, 129) if seq != 77]
            assert [(found.seq, tries) for found, tries in dead.rows] == [(77, 3)]
            # 7 times in two, a half is refused each time; what may pass was tried three times before.
            assert len(cloud.publishes()) == publishes
            assert bench.uplink.status()["in_flight"] == 0

    play(main())


def test_a_cloud_that_takes_nothing_is_not_asked_for_each_row() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: 0x99
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 1001)], batch=Batch(rows=1000, wait=0.0))
            await bench.during(bench.settled(1000))
            assert sorted(bench.reader.dropped) == [(seq, "refused_payload_format_invalid") for seq in range(1, 1001)]
            assert len(cloud.publishes()) == 2 * MOST_REFUSED + 1

    play(main())


@pytest.mark.parametrize("reason", [0x87, 0x97])
def test_what_is_refused_for_its_topic_or_a_quota_is_not_halved(reason: int) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: reason
            bench = Bench(cloud.port, [row(1), row(2)], batch=Batch(rows=2, wait=0.0))
            await bench.during(bench.settled(2))
            assert len(cloud.publishes()) == (1 if reason == 0x87 else 3)
            assert [seq for seq, _ in bench.reader.dropped] == [1, 2]

    play(main())
