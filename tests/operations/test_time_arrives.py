"""Ten minutes in 1970, then the time arrives: what reaches the cloud, with the real store, the real uplink and a clock
that is told what to say."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import iso_time
from gateway.config.time import Time
from gateway.message import Message
from gateway.mqtt.packets import Publish
from gateway.outbound import RightTime
from store.bench import settle, store
from store.board import HOUR, NOON, Board
from uplinks.bench import Bench, Cloud, play, row, until, user

SAMPLES = 600


def uploaded(packet: Publish) -> tuple[int, float, dict[str, str]]:
    """Value, the time in the payload, and the user properties."""
    point = json.loads(packet.payload)
    return point["v"], datetime.fromisoformat(point["t"]).timestamp(), dict(user(packet.props))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path / "gateway.db")


def uplink(board: Board, cloud: Cloud, **settings: Any) -> Bench:
    reader = board.outbox.reader("cloud")
    return Bench(cloud.port, reader=reader, clock=board.keeper.clock, timing=board.keeper, **settings)


def test_ten_minutes_in_1970_arrive_with_the_right_times(board: Board) -> None:
    async def main() -> None:
        async with Cloud() as cloud, board.start(time=0.0):
            begin = board.machine.now()
            taken: list[float] = []  # on the clock that never steps
            for value in range(SAMPLES):
                board.go(1)
                taken.append(board.machine.now() - begin)
                assert board.outbox.deliver(board.reading(value, expires=board.machine.now() + 20 * 60), None)
                if value % 50 == 0:
                    await settle(board.database)
            board.go(0.4, step=NOON, synchronised=True)
            board.machine.advance(0.3)
            await board.sample(SAMPLES)
            board.go(0.3, step=-HOUR)  # the time server was wrong by an hour
            await board.sample(SAMPLES + 1)

            bench = uplink(board, cloud)
            await bench.during(bench.settled(SAMPLES + 2))
            found = [uploaded(packet) for packet in cloud.publishes()]

            assert [value for value, _, _ in found] == list(range(SAMPLES + 2)), "nothing lost, expired or out of order"
            for value, time, said in found[:SAMPLES]:
                assert abs(time - (NOON + taken[value])) < 0.1
                assert (said["clock"], said["time"]) == ("corrected", iso_time(NOON + taken[value]))
            (_, before, first), (_, after, second) = found[SAMPLES:]
            assert "clock" not in first and "clock" not in second
            assert before == pytest.approx(NOON + SAMPLES + 0.7, abs=0.1)
            assert after == pytest.approx(NOON + SAMPLES + 1 - HOUR, abs=0.1)

    play(main())


def test_without_the_time_rows_go_up_as_estimated_at_once(board: Board) -> None:
    async def main() -> None:
        async with Cloud() as cloud, board.start(time=10.0):
            await board.sample(1)
            bench = uplink(board, cloud)
            await bench.during(bench.settled(1))
            _, time, said = uploaded(cloud.publishes()[0])
            assert (time, said["clock"], said["time"]) == (10.0, "estimated", "1970-01-01T00:00:10.000Z")

    play(main())


def test_a_message_that_was_on_its_way_when_the_line_was_cut_goes_again_as_it_was(board: Board) -> None:
    async def main() -> None:
        async with Cloud() as cloud, board.start(time=10.0):
            for value in (1, 2):
                await board.sample(value, expires=board.machine.now() + 60)
            cloud.on_publish = lambda packet: None
            bench = uplink(board, cloud, window=1)
            await bench.during(cloud.published(1))
            board.go(5, step=NOON, synchronised=True)
            cloud.on_publish = lambda packet: 0
            await bench.during(bench.settled(2))
            first, again, second = cloud.publishes()
            assert uploaded(first)[2]["clock"] == uploaded(again)[2]["clock"] == "estimated"
            assert uploaded(first) == uploaded(again)
            assert uploaded(second)[1] == NOON + 10
            assert uploaded(second)[2]["clock"] == "corrected"
            assert [dict(packet.props)[2] for packet in (first, again, second)] == [60, 55, 55], "none has expired"

    play(main())


def test_rows_may_be_held_back_until_the_time_is_known_but_not_for_ever(board: Board) -> None:
    async def main() -> None:
        async with Cloud() as cloud, board.start(time=10.0, hold=300.0):
            await board.sample(1)
            bench = uplink(board, cloud)
            await bench.during(until(lambda: bench.uplink.status()["reason"] == "waiting for the time"))
            assert cloud.publishes() == []
            assert board.keeper.status()["held"] == 300.0
            board.go(301)
            await bench.during(bench.settled(1))
            assert uploaded(cloud.publishes()[0])[2]["clock"] == "estimated"
        async with Cloud() as cloud, board.start(time=10.0, hold=300.0):
            await board.sample(2)
            board.go(5, step=NOON, synchronised=True)
            bench = uplink(board, cloud)
            await bench.during(bench.settled(2))
            assert uploaded(cloud.publishes()[0])[2]["clock"] == "corrected"

    play(main())


@pytest.mark.parametrize("step", [-HOUR, 50 * 365 * 86_400.0])
def test_no_step_ends_or_prolongs_the_life_of_a_row(board: Board, step: float) -> None:
    async def main() -> None:
        async with Cloud() as cloud, board.start(time=NOON, synchronised=True):
            for life in (60, 120):
                message = Message("plant/t", b"%d" % life, qos=1, source="client:a", expires=board.machine.now() + life)
                await store(board.outbox, message)
            board.go(30, step=step)
            board.go(40)
            bench = uplink(board, cloud)
            await bench.during(bench.settled(2))
            (packet,) = cloud.publishes()
            assert packet.payload == b"120"
            assert (2, 50) in packet.props  # Message Expiry Interval: what is left of it
            assert bench.metrics.drops == {} and board.outbox.status()["uplinks"]["cloud"]["drops"]["expired"]["n"] == 1

    play(main())


def test_nor_over_a_restart(board: Board) -> None:
    async def main() -> None:
        async with board.start(time=NOON, synchronised=True):
            message = Message("plant/t", b"x", qos=1, source="client:a", expires=board.machine.now() + 2 * HOUR)
            await store(board.outbox, message)
        async with Cloud() as cloud, board.start(time=NOON + HOUR, synchronised=True):
            board.go(1, step=50 * 365 * 86_400)
            bench = uplink(board, cloud)
            await bench.during(bench.settled(1))
            (packet,) = cloud.publishes()
            assert dict(packet.props)[2] == pytest.approx(HOUR, abs=3)

    play(main())


def test_rows_of_a_machine_whose_clock_is_trusted_carry_no_mark(board: Board) -> None:
    async def main() -> None:
        assert Time().source == "system"
        async with Cloud() as cloud, board.start(time=NOON, source="trust"):
            await board.sample(1)
            bench = uplink(board, cloud)
            await bench.during(bench.settled(1))
            assert not {"clock", "time"} & uploaded(cloud.publishes()[0])[2].keys()

    play(main())


def test_an_uplink_alone_takes_times_as_they_are() -> None:
    one = row(1, time=5.0)
    assert RightTime().date(one) is one
