"""One connection for all units of an endpoint, and what a mute unit costs the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from connectors.fakes import passes, run
from gateway.clock import FixedClock
from gateway.connectors.modbus.bus import Bus, Connection, Member, Skipped, Terms
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.errors import GatewayError, Retry

ENDPOINT = Endpoint("plc", 502)


class Plant:
    """What is at the endpoint: ``answers`` by unit; a time-out costs what it was given on the clock."""

    def __init__(self) -> None:
        self.clock = FixedClock()
        self.answers: dict[int, int | GatewayError] = {1: 11, 2: 22}
        self.asked: list[tuple[int, float]] = []
        self.written: list[tuple[int, int, list[int]]] = []
        self.lines: list[Line] = []
        self.refuse = ""
        self.gate: asyncio.Event | None = None
        self.bus = Bus(ENDPOINT, self.clock, self.connect, random=lambda: 0.0, sleep=self.sleep)
        self.slept: list[float] = []

    async def connect(self, endpoint: Endpoint, timeout: float) -> Connection:
        assert endpoint is ENDPOINT
        if self.gate:
            await self.gate.wait()
        if self.refuse:
            raise Retry(self.refuse)
        self.lines.append(Line(self))
        return self.lines[-1]

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def member(self, unit: int, timeout: float, **terms: float) -> AbstractAsyncContextManager[Member]:
        return self.bus.member(Terms(unit, timeout, **terms))

    @property
    def standing(self) -> int:
        return sum(line.is_connected for line in self.lines)


class Line:
    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.is_connected = True

    def close(self) -> None:
        self.is_connected = False

    async def read(self, table: str, unit: int, address: int, count: int, timeout: float, quiet: float) -> list[int]:
        assert self.is_connected
        self.plant.asked.append((unit, timeout))
        await asyncio.sleep(0)
        answer = self.plant.answers[unit]
        if isinstance(answer, Timeout):
            self.plant.clock.advance(timeout)
        if isinstance(answer, GatewayError):
            raise answer
        return [answer] * count

    async def write(
        self,
        table: str,
        unit: int,
        address: int,
        values: Sequence[int],
        timeout: float,
        quiet: float,
        *,
        as_block: bool = False,
    ) -> None:
        await self.read(table, unit, address, 1, timeout, quiet)
        self.plant.written.append((unit, address, list(values)))

    async def mask(self, unit: int, address: int, keep: int, put: int, timeout: float, quiet: float) -> None:
        await self.read("holding", unit, address, 1, timeout, quiet)

    async def broadcast(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        assert self.is_connected
        self.plant.written.append((0, address, list(values)))


def play(main: Callable[[Plant], Awaitable[None]]) -> None:
    """Run ``main`` with a plant; no connection may stand afterwards."""

    async def whole() -> None:
        plant = Plant()
        await main(plant)
        assert plant.standing == 0

    run(whole())


def test_members_share_one_connection_and_the_last_closes_it() -> None:
    async def main(plant: Plant) -> None:
        async with plant.member(1, 1.0) as one:
            async with plant.member(2, 1.0) as two:
                assert await one.read("holding", 0, 1) == [11]
                assert await two.read("holding", 0, 1) == [22]
                assert len(plant.lines) == 1
            assert plant.standing == 1

    play(main)


def test_opening_is_one_attempt_for_all_who_wait() -> None:
    async def main(plant: Plant) -> None:
        plant.gate = asyncio.Event()

        async def join(unit: int) -> None:
            async with plant.member(unit, 1.0):
                await passes()

        async with asyncio.TaskGroup() as group:
            for unit in (1, 2):
                group.create_task(join(unit))
            await passes()
            plant.gate.set()
        assert len(plant.lines) == 1

    play(main)


def test_a_failed_attempt_is_shared_and_the_next_is_another() -> None:
    async def main(plant: Plant) -> None:
        plant.gate, plant.refuse = asyncio.Event(), "cannot connect"

        async def join(unit: int) -> None:
            with pytest.raises(Retry, match="cannot connect"):
                async with plant.member(unit, 1.0):
                    raise AssertionError

        async with asyncio.TaskGroup() as group:
            for unit in (1, 2, 3):
                group.create_task(join(unit))
            await passes()
            plant.gate.set()
        plant.refuse = ""
        async with plant.member(1, 1.0) as member:
            assert await member.read("holding", 0, 1) == [11]

    play(main)


def test_an_opener_that_is_cancelled_leaves_it_to_the_next() -> None:
    async def main(plant: Plant) -> None:
        plant.gate = asyncio.Event()

        async def join(unit: int) -> None:
            async with plant.member(unit, 1.0) as member:
                await member.read("holding", 0, 1)

        first, second = asyncio.create_task(join(1)), asyncio.create_task(join(2))
        await passes()
        first.cancel()
        plant.gate.set()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first
        assert plant.asked == [(2, 1.0)]

    play(main)


def test_a_broken_connection_is_told_and_the_others_go_on() -> None:
    async def main(plant: Plant) -> None:
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(plant.member(1, 1.0))
            two = await stack.enter_async_context(plant.member(2, 1.0))
            plant.answers[1] = Retry("connection lost")
            with pytest.raises(Retry, match="connection lost"):
                await one.read("holding", 0, 1)
            assert await two.read("holding", 0, 1) == [22]
            assert len(plant.lines) == 2

    play(main)


def test_a_connection_closed_while_idle_is_opened_again() -> None:
    async def main(plant: Plant) -> None:
        async with plant.member(1, 1.0) as one:
            plant.lines[0].close()
            assert await one.read("holding", 0, 1) == [11]
            plant.lines[1].close()
            plant.refuse = "cannot connect"
            with pytest.raises(Retry, match="cannot connect"):
                await one.read("holding", 0, 1)

    play(main)


def test_two_time_outs_without_any_answer_make_the_connection_anew() -> None:
    async def main(plant: Plant) -> None:
        plant.answers[1] = Timeout("mute")
        async with plant.member(1, 1.0) as one:
            for _ in range(2):
                with pytest.raises(Timeout):
                    await one.read("holding", 0, 1)
            assert plant.standing == 0
            plant.clock.advance(1.0)
            plant.answers[1] = 11
            assert await one.read("holding", 0, 1) == [11]
            assert len(plant.lines) == 2

    play(main)


def test_time_outs_between_answers_leave_the_connection() -> None:
    async def main(plant: Plant) -> None:
        plant.answers[2] = Timeout("mute")
        async with plant.member(1, 1.0) as one, plant.member(2, 1.0) as two:
            for _ in range(50):
                with pytest.raises(Timeout):
                    await two.read("holding", 0, 1)
                assert await one.read("holding", 0, 1) == [11]
                plant.clock.advance(1.0)
            assert len(plant.lines) == 1
            lost = sum(timeout for unit, timeout in plant.asked if unit == 2)
            assert len([unit for unit, _ in plant.asked if unit == 1]) == 50
            assert lost <= 0.2 * 50 + 1

    play(main)


def test_an_open_unit_is_not_asked_and_says_when() -> None:
    async def main(plant: Plant) -> None:
        plant.answers[1] = Timeout("mute")
        async with plant.member(1, 1.0) as one:
            for _ in range(2):
                with pytest.raises(Timeout):
                    await one.read("holding", 0, 1)
            with pytest.raises(Skipped, match=r"unit 1 does not answer; asked again in 1\.0 s"):
                await one.read("holding", 0, 1)
            with pytest.raises(Skipped):
                await one.write("holding", 0, [1])
            assert [timeout for _, timeout in plant.asked] == [1.0, 1.0]
            plant.clock.advance(1.0)
            with pytest.raises(Timeout):
                await one.read("holding", 0, 1)
            assert plant.asked[-1] == (1, 0.25)

    play(main)


def test_a_gateway_that_says_the_unit_is_mute_opens_the_breaker_too() -> None:
    async def main(plant: Plant) -> None:
        plant.answers[1] = DeviceError(11)
        async with plant.member(1, 1.0) as one:
            for _ in range(2):
                with pytest.raises(Timeout, match="gateway got no answer from the unit"):
                    await one.read("holding", 0, 1)
            assert plant.bus.breaker(1).is_open
            assert plant.standing == 1

    play(main)


def test_an_exception_is_an_answer() -> None:
    async def main(plant: Plant) -> None:
        plant.answers[1] = DeviceError(2)
        async with plant.member(1, 1.0) as one:
            for _ in range(5):
                with pytest.raises(DeviceError):
                    await one.read("holding", 0, 1)
            assert not plant.bus.breaker(1).is_open

    play(main)


def test_a_member_that_has_left_opens_nothing() -> None:
    async def main(plant: Plant) -> None:
        async with plant.member(1, 1.0) as one:
            pass
        with pytest.raises(Retry, match="not connected"):
            await one.write("holding", 0, [1])

    play(main)


def test_pauses_are_kept() -> None:
    async def main(plant: Plant) -> None:
        async with plant.member(1, 1.0, after_connect=0.5, between=0.02) as one:
            await one.read("holding", 0, 1)
            assert plant.slept == [pytest.approx(0.5)]
            await one.read("holding", 0, 1)
            plant.clock.advance(0.015)
            await one.read("holding", 0, 1)
            assert plant.slept[1:] == [pytest.approx(0.02), pytest.approx(0.005)]
            plant.lines[-1].close()
            await one.read("holding", 0, 1)
            assert plant.slept[-1] == pytest.approx(0.5), "a new connection"

    play(main)


def test_a_broadcast_leaves_the_line_alone_for_its_turnaround() -> None:
    async def main(plant: Plant) -> None:
        async with plant.member(0, 1.0, turnaround=0.1) as every, plant.member(1, 1.0) as one:
            await every.broadcast("holding", 7, [5])
            await one.read("holding", 0, 1)
            assert plant.written == [(0, 7, [5])]
            assert plant.slept == [pytest.approx(0.1)]

    play(main)


def test_an_idle_connection_is_closed_and_one_in_use_is_not() -> None:
    async def main(plant: Plant) -> None:
        async with plant.member(1, 1.0) as one:
            asking = asyncio.create_task(one.read("holding", 0, 1))
            await asyncio.sleep(0)
            plant.bus.close_idle()
            assert await asking == [11]
            plant.bus.close_idle()
            assert plant.standing == 0
            assert await one.read("holding", 0, 1) == [11]

    play(main)


def test_a_change_is_one_turn() -> None:
    async def main(plant: Plant) -> None:
        plant.answers[1] = 0b1010
        async with plant.member(1, 1.0) as one, plant.member(2, 1.0) as two:
            changing = asyncio.create_task(one.change(5, 0xFFFF & ~0b0110, 0b0100))
            await asyncio.sleep(0)
            await two.read("holding", 0, 1)
            await changing
            assert plant.written == [(1, 5, [0b1100])]
            assert [unit for unit, _ in plant.asked] == [1, 1, 2]

    play(main)
