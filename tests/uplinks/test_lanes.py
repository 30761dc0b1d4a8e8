"""Two lanes: what is live does not wait for the backlog, nothing is left out, nothing goes twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FixedClock
from gateway.mqtt.packets import PubAck, Publish
from gateway.outbound import CLASSES, LAST
from gateway.ranges import NOTHING, Ranges
from gateway.uplinks.mqtt.config import Backlog
from gateway.uplinks.mqtt.lanes import IDLE, MOST_STRETCHES, RATE_SPAN, Allowance, Lane, Rate, Share, split
from gateway.uplinks.mqtt.window import MAX_BYTES, Run, Window
from gateway.uplinks.parcel import single
from uplinks.bench import Bench, Cloud, ListReader, play, row, until, user

SPAN = st.tuples(st.integers(0, 40), st.integers(0, 40))
ALARM = CLASSES.index("alarm")


def numbers(packets: list[Publish]) -> list[int]:
    return [int(packet.payload) for packet in packets]


def is_replay(packet: Publish) -> bool:
    return ("replay", "1") in user(packet.props)


def spans_of(lane: Lane) -> list[tuple[int, int]]:
    return [(run.after, run.upto) for run in lane.runs[0]]


@given(st.lists(SPAN, max_size=6), st.lists(st.integers(1, 40), max_size=4, unique=True), st.integers(0, 45))
def test_every_row_is_acknowledged_or_in_the_window_or_in_one_lane(
    spans: list[tuple[int, int]], under_way: list[int], newest: int
) -> None:
    acked = Ranges.of(spans)
    newest = max(newest, acked.last, *under_way, 0)
    window = Window(64)
    in_window = NOTHING
    for seq in under_way:
        if seq not in acked:
            window.take(Run(seq - 1, seq), single(row(seq), "t", ()))
            in_window = in_window.add(seq - 1, seq)
    live, backlog = split(lambda room: acked, window, newest, False, 0.0)
    assert backlog is not None
    parts = [acked, in_window, Ranges.of(spans_of(live)), Ranges.of(spans_of(backlog))]
    for seq in range(1, 60):
        assert sum(seq in part for part in parts) == (2 if seq in acked and seq in in_window else 1)
    assert all(upto <= newest for _, upto in spans_of(backlog))
    assert [after for after, _ in spans_of(live)] == [newest]
    both, none = split(lambda room: acked, window, newest, True, 0.0)
    assert none is None
    assert Ranges.of(spans_of(both)) == Ranges.of([*spans_of(live), *spans_of(backlog)])


def test_too_many_stretches_do_not_become_more() -> None:
    acked = Ranges.of([(10 * n, 10 * n + 5) for n in range(MOST_STRETCHES + 1)])
    live, backlog = split(lambda room: acked, Window(64), 200, False, 0.0)
    assert backlog is not None
    assert spans_of(live) == [(acked.last, LAST)]
    assert len(spans_of(backlog)) == MOST_STRETCHES
    fewer = Ranges.of(list(acked)[1:])
    live, _ = split(lambda room: fewer, Window(64), 200, False, 0.0)
    assert spans_of(live) == [(200, LAST)]


def test_the_backlog_has_its_share_and_all_but_one_when_nothing_is_live() -> None:
    share, window, lane = Share(0.25, None, 0.0), Window(8), Lane([[(0, 100)]], True, 0.0)
    (run,) = lane.runs[0]
    share.live(0.0)
    for seq in (1, 2):
        assert share.has_room(lane, 8, 1, 1.0)
        window.take(run, single(row(seq), "t", ()))
    assert not share.has_room(lane, 8, 1, 1.0)
    for seq in range(3, 8):
        assert share.has_room(lane, 8, 1, IDLE)
        window.take(run, single(row(seq), "t", ()))
    assert not share.has_room(lane, 8, 1, IDLE)
    assert not share.has_room(lane, 8, MAX_BYTES, IDLE)


def test_a_window_of_one_is_shared_too() -> None:
    share, window, lane = Share(0.5, None, 0.0), Window(1), Lane([[(0, 100)]], True, 0.0)
    assert share.has_room(lane, 1, 1, 0.0)
    window.take(lane.runs[0][0], single(row(1), "t", ()))
    assert not share.has_room(lane, 1, 1, 0.0)


def test_an_allowance_is_a_seconds_worth_at_once_and_what_is_owed_is_waited_for() -> None:
    allowance = Allowance(10, 0.0)
    assert allowance.wait(0.0) == 0.0
    allowance.take(12)
    assert allowance.wait(0.0) == pytest.approx(0.3)
    assert allowance.wait(0.2) == pytest.approx(0.1)
    assert allowance.wait(0.3001) == 0.0
    assert allowance.wait(100.0) == 0.0
    allowance.take(10)
    assert allowance.wait(100.0) > 0


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate(0.0)
    assert rate.per_second(0, 0.0) == 0.0
    assert rate.per_second(20, 2.0) == 10.0
    rate.observe(100, 2 * RATE_SPAN)
    rate.observe(100, 3 * RATE_SPAN)
    assert rate.per_second(100, 3 * RATE_SPAN + 1) == 0.0


def test_after_twelve_hours_the_first_live_value_is_behind_no_more_than_a_window() -> None:
    """A window of 64 readings takes less than 5 s on any line that carries 13 of them a second."""
    outage = 12 * 3600

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None  # a line so slow that nothing is answered yet
            clock = FixedClock()
            bench = Bench(cloud.port, [row(seq) for seq in range(1, outage + 1)], clock=clock)

            async def work() -> None:
                await cloud.published(63)
                bench.reader.add(row(outage + 1))
                await cloud.published(64)
                first = numbers(cloud.publishes())
                assert first == [*range(1, 64), outage + 1]
                assert [is_replay(packet) for packet in cloud.publishes()] == [True] * 63 + [False]
                lanes = bench.uplink.status()["lanes"]
                assert (lanes["live"]["depth"], lanes["backlog"]["depth"]) == (1, outage)
                assert (lanes["live"]["reason"], lanes["backlog"]["reason"]) == ("moving", "window_full")
                assert lanes["backlog"]["oldest_age"] == pytest.approx(clock.time())
                assert bench.uplink.status()["reason"] == "moving"
                for seq in range(1, 32):
                    cloud.send(PubAck(seq))
                await until(lambda: bench.uplink.status()["acked"] == 31)
                assert bench.uplink.status()["lanes"]["backlog"]["reason"] == "share_full"
                cloud.send(PubAck(32))
                await cloud.published(65)
                clock.advance(IDLE)
                cloud.send(PubAck(33))
                await cloud.published(64 + 32)  # 63 of the backlog under way again
                assert bench.uplink.status()["in_flight"] == 64

            await bench.during(work())

    play(main())


def test_all_arrives_once_and_each_lane_in_order() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(seq) for seq in range(1, 2001)], window=10)
            live = iter(range(2001, 2101))

            def answer(packet: Publish) -> int:
                number = next(live, None)
                if number is not None:
                    bench.reader.add(row(number))
                return 0

            cloud.on_publish = answer
            await bench.during(bench.settled(2100))
            packets = cloud.publishes()
            assert numbers([p for p in packets if is_replay(p)]) == list(range(1, 2001))
            assert numbers([p for p in packets if not is_replay(p)]) == list(range(2001, 2101))
            assert numbers(packets).index(2100) < 500, "live values do not wait for the backlog"
            assert all(acked.covers(0, 2000) for acked in bench.reader.has_acked)

    play(main())


def test_alarms_commands_and_results_go_first_in_both_lanes() -> None:
    classes = {"t": 0, "alarm": 1, "command": 2, "result": 3}

    def rows(first: int) -> list[Any]:
        topics = ("t", "result", "command", "alarm") * 3
        return [row(first + n, f"plant/{topic}") for n, topic in enumerate(topics)]

    async def main() -> None:
        async with Cloud() as cloud:
            reader = ListReader(rows(1), room=lambda row: classes[row.topic.removeprefix("plant/")])
            bench = Bench(cloud.port, reader=reader, window=1)

            async def work() -> None:
                await bench.settled(12)
                bench.reader.add(*rows(13))
                await bench.settled(24)

            await bench.during(work())
            topics = [packet.topic.removeprefix("site/plant/") for packet in cloud.publishes()]
            assert topics == [name for name in ("alarm", "command", "result", "t") for _ in range(3)] * 2

    play(main())


def test_a_second_outage_leaves_stretches_and_nothing_that_arrived_goes_again() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            answered: set[int] = set()
            cloud.on_publish = lambda packet: 0 if int(packet.payload) > 100 or int(packet.payload) < 4 else None
            reader = ListReader([row(seq) for seq in range(1, 101)])
            bench = Bench(cloud.port, reader=reader, window=8)

            async def first() -> None:
                await cloud.published(7)  # 1, 2, 3 answered, 4 to 7 not
                reader.add(*[row(seq) for seq in range(101, 111)])
                await until(lambda: 110 in reader.acked(0))

            await bench.during(first())
            assert reader.acked(0) == Ranges(((0, 3), (100, 110)))
            answered.update(n for n in range(1, 111) if n in reader.acked(0))
            cloud.packets.clear()
            reader.rows += [row(seq) for seq in range(111, 121)]
            cloud.on_publish = lambda packet: 0

            async def second() -> None:
                await cloud.published(5)
                reader.add(row(121))
                await bench.settled(121)

            await bench.during(second())
            sent = cloud.publishes()
            assert numbers(sent)[:4] == [4, 5, 6, 7], "what had no answer comes first"
            assert not answered & set(numbers(sent))
            assert sorted(numbers(sent)) == [n for n in range(1, 122) if n not in answered]
            replayed = numbers([packet for packet in sent if is_replay(packet)])
            assert replayed == sorted(replayed)
            assert numbers([packet for packet in sent if not is_replay(packet)]) == [121]

    play(main())


def test_in_order_is_one_lane_without_a_mark() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reader = ListReader([row(seq) for seq in range(1, 301)])
            bench = Bench(cloud.port, reader=reader, backlog=Backlog(order="in_order"))

            async def work() -> None:
                await cloud.published(1)
                reader.add(row(301))
                await bench.settled(301)

            await bench.during(work())
            assert numbers(cloud.publishes()) == list(range(1, 302))
            assert not any(is_replay(packet) for packet in cloud.publishes())
            assert list(bench.uplink.status()["lanes"]) == ["live"]

    play(main())


def test_in_order_closes_the_stretches_that_live_first_has_left() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reader = ListReader([row(seq) for seq in range(1, 31)])
            reader.has_acked = [Ranges(((0, 5), (10, 20)))] * len(CLASSES)
            bench = Bench(cloud.port, reader=reader, backlog=Backlog(order="in_order"))
            await bench.during(bench.settled(30))
            assert numbers(cloud.publishes()) == [*range(6, 11), *range(21, 31)]
            assert reader.acked(0) == Ranges(((0, 30),))

    play(main())


def test_the_mark_may_be_left_out_and_the_topic_be_another() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            reader = ListReader([row(1)])
            bench = Bench(cloud.port, reader=reader, backlog=Backlog(mark=False, prefix="late/"))

            async def work() -> None:
                await bench.settled(1)
                reader.add(row(2))
                await bench.settled(2)

            await bench.during(work())
            late, live = cloud.publishes()
            assert (late.topic, live.topic) == ("late/site/plant/t", "site/plant/t")
            assert not is_replay(late)

    play(main())


def test_the_backlog_goes_no_faster_than_its_rate_and_live_rows_do_not_care() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            clock = FixedClock()
            reader = ListReader([row(seq) for seq in range(1, 101)])
            bench = Bench(cloud.port, reader=reader, clock=clock, backlog=Backlog(rate=10))

            async def work() -> None:
                await cloud.published(10)
                await until(lambda: bench.uplink.status()["lanes"]["backlog"]["reason"] == "rate")
                reader.add(*[row(seq) for seq in range(101, 151)])
                await cloud.published(60)
                assert sum(map(is_replay, cloud.publishes())) == 10
                clock.advance(0.5)
                await cloud.published(65)
                await asyncio.sleep(0.02)
                assert sum(map(is_replay, cloud.publishes())) == 15

            await bench.during(work())

    play(main())
