"""Rows that no broker will take: they reach the dead letters with their reason, and those behind them move on."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import FixedClock
from gateway.errors import Retry
from gateway.mqtt.packets import ConnAck, Disconnect, Publish
from gateway.outbound import Row
from gateway.uplinks.mqtt.poison import SOON, STRIKES, Poison
from uplinks.bench import Bench, Cloud, play, row

MAXIMUM_PACKET = 0x27


class Letters:
    """The contract of ``DeadLetters`` over a list."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, str, str, int]] = []

    def add(self, row: Row, reason: str, error: str, tries: int) -> None:
        self.kept.append((row.seq, reason, error, tries))


def test_a_refusal_that_passes_is_tried_three_times() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: 0x97 if packet.payload == b"2" else 0
            letters = Letters()
            bench = Bench(cloud.port, [row(seq) for seq in (1, 2, 3)], dead=letters)
            await bench.during(bench.settled(3))
            assert letters.kept == [(2, "refused_quota_exceeded", "the broker refused it: 0x97 quota exceeded", 3)]
            assert bench.reader.dropped == [(2, "refused_quota_exceeded")]

    play(main())


def test_a_refusal_for_good_is_not_tried_again() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: 0x87 if packet.payload == b"1" else 0
            letters = Letters()
            bench = Bench(cloud.port, [row(1), row(2)], dead=letters)
            await bench.during(bench.settled(2))
            assert letters.kept == [(1, "refused_not_authorized", "the broker refused it: 0x87 not authorized", 1)]

    play(main())


def test_what_is_too_large_is_kept_and_what_has_expired_is_not() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((MAXIMUM_PACKET, 200),))
            letters = Letters()
            rows = [row(1, payload=bytes(300)), row(2, expires=1.0), row(3)]
            bench = Bench(cloud.port, rows, dead=letters)
            await bench.during(bench.settled(3))
            ((seq, reason, error, tries),) = letters.kept
            assert (seq, reason, tries) == (1, "too_large", 0)
            assert "bytes are more than the 200 that the broker takes" in error
            assert [reason for _, reason in bench.reader.dropped] == ["too_large", "expired"]

    play(main())


@pytest.mark.parametrize("farewell", [None, Disconnect(0x95)])
def test_a_row_that_ends_the_connection_is_found_and_those_behind_it_move_on(farewell: Disconnect | None) -> None:
    async def main() -> None:
        async with Cloud() as cloud:

            def judge(packet: Publish) -> int | None:
                if packet.payload != b"2":
                    return 0
                if farewell is not None:
                    cloud.send(farewell)
                asyncio.get_running_loop().call_soon(cloud.cut)
                return None

            cloud.on_publish = judge
            letters = Letters()
            bench = Bench(cloud.port, [row(1), row(2), row(3), row(4)], dead=letters)
            lives = 0
            while not letters.kept:
                with pytest.raises(Retry):
                    await bench.run()
                lives += 1
            await bench.during(bench.settled(4))
            ((seq, reason, error, tries),) = letters.kept
            assert (seq, reason, tries) == (2, "poison", STRIKES)
            assert error.startswith("3 times the connection ended with it: ")
            assert lives <= STRIKES + 2
            assert bench.reader.dropped == [(2, "poison")]

    play(main())


def test_a_line_that_is_cut_is_no_strike() -> None:
    poison = Poison()
    assert [poison.ended([1], SOON + 1, True, None) for _ in range(5)] == [None] * 5
    assert [poison.ended([1], 0.1, False, None) for _ in range(5)] == [None] * 5
    assert [poison.ended([1], 0.1, True, 0x8B) for _ in range(5)] == [None] * 5
    assert not poison.alone


def test_an_answer_ends_the_suspicion() -> None:
    poison = Poison()
    assert poison.ended([1, 2, 3], 0.1, True, None) is None
    assert poison.alone
    assert poison.ended([1], 0.1, True, None) is None
    assert poison.ended([1], 0.1, True, None) is None
    assert poison.answered()
    assert not poison.alone
    assert poison.ended([1], 0.1, True, None) is None


def test_another_row_begins_anew() -> None:
    poison = Poison()
    for _ in range(STRIKES - 1):
        assert poison.ended([1], 0.1, True, None) is None
    assert poison.ended([2], 0.1, True, None) is None
    assert poison.ended([1], 0.1, True, None) is None


def test_a_connection_that_ends_late_says_nothing_of_its_row() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            clock = FixedClock()

            def late(packet: Publish) -> None:
                clock.advance(SOON + 1)
                asyncio.get_running_loop().call_soon(cloud.cut)

            cloud.on_publish = late
            letters = Letters()
            bench = Bench(cloud.port, [row(1)], dead=letters, clock=clock)
            for _ in range(STRIKES + 2):
                with pytest.raises(Retry):
                    await bench.run()
            assert letters.kept == []

    play(main())
