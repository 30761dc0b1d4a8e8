"""An answer that is late never becomes the value of another register: a property of the bus, and 10 000 reads (M9)."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectors.fakes import FakePort, run
from gateway.clock import FixedClock
from gateway.connectors.modbus.bus import Bus, Connection, Terms
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.doubt import PATIENCE
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.sim import Simulator, Unit
from gateway.errors import Retry


class LateLine:
    """A unit that answers in order, each answer as many questions late as the script says, some with an exception.
    Its frames carry no number: an answer of the right function and length is taken for the one that is waited for."""

    def __init__(self, clock: FixedClock, script: list[tuple[int, bool]]) -> None:
        self.is_connected = True
        self._clock = clock
        self._script = script
        self._owed: deque[tuple[str, int, int, bool]] = deque()

    async def read(self, table: str, unit: int, address: int, count: int, timeout: float, quiet: float) -> list[int]:
        answers, is_refused = self._script.pop() if self._script else (99, False)
        self._owed.append((table, address, count, is_refused))
        self._clock.advance(0.01)
        arrived = [self._owed.popleft() for _ in range(min(answers, len(self._owed)))]
        for other, at, size, refused in arrived:
            if other != table:
                continue
            if refused:
                raise DeviceError(2)
            if size == count:
                return list(range(at, at + size))
        raise Timeout("late", is_heard=bool(arrived))

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
        raise NotImplementedError

    async def mask(self, unit: int, address: int, keep: int, put: int, timeout: float, quiet: float) -> None:
        raise NotImplementedError

    async def broadcast(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """A line is the same when it is opened again."""


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 4)), min_size=1, max_size=30),
)
def test_a_value_is_never_that_of_another_register(
    script: list[tuple[int, bool]], questions: list[tuple[int, int]]
) -> None:
    """However late, and with exceptions in between, as long as the unit says something now and then."""
    silent = 0
    for answers, _ in script:
        silent = 0 if answers else silent + 1
        assume(silent <= PATIENCE)

    async def main() -> None:
        clock = FixedClock()
        line = LateLine(clock, script)

        async def connect(endpoint: Endpoint, timeout: float) -> Connection:
            return line

        bus = Bus(Endpoint("line", 1), clock, connect, random=lambda: 0.0)
        terms = Terms(1, 1.0)
        async with bus.member(terms) as one:
            for address, count in questions:
                bus._breakers.clear()  # asked again at once: the worst case
                try:
                    values = await one.read("holding", address, count)
                except (Timeout, DeviceError):
                    continue
                assert values == list(range(address, address + count))

    run(main())


async def read_late(url: str, unit: Unit, late: Callable[[], float], reads: int) -> dict[str, Any]:
    """Poll a device, each of whose registers says which it is, until ``reads`` values have come; every answer is as
    late as ``late`` says. Fails on the first wrong one."""
    unit.holding.update({n: 1000 + n for n in range(600)})
    points = tuple(ModbusPoint(name=f"p{n}", address=f"holding:{n // 3 * 50 + n % 3}") for n in range(30))
    config = ModbusDevice(url=url, poll=0.01, timeout=0.01, point=points)
    port = FakePort()
    port.keep = 0
    values = 0

    def emit(samples: Any) -> None:
        nonlocal values
        unit.delay = late()
        for sample in samples:
            number = int(sample.point[1:])
            assert sample.value in (None, 1000 + number // 3 * 50 + number % 3), sample
            values += sample.value is not None

    port.emit = emit  # type: ignore[method-assign]
    connector = ModbusConnector("dev", config, port)
    # A breaker that opens would ask only now and then: here each answer may be late, and all are asked for.
    connector._bus.breaker = lambda unit: _Never()  # type: ignore[method-assign, assignment, return-value]

    async def keep() -> None:
        while True:
            with suppress(Retry):
                await connector.run(lambda: None)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(keep())
    try:
        async with asyncio.timeout(60):
            while values < reads:
                await asyncio.sleep(0.02)
                if task.done():
                    break
                unit.delay = late()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return connector.status()


class _Never:
    """A breaker that does not open."""

    is_open = False
    not_before = 0.0

    def may_ask(self, now: float) -> bool:
        return True

    def time_limit(self, normal: float) -> float:
        return normal

    def answered(self) -> None:
        pass

    def timed_out(self, now: float, cost: float, is_alone: bool) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "reads"), [("tcp", 10_000), ("rtu", 10_000), ("rtu+tcp", 2_000)])
def test_ten_thousand_reads_with_late_answers_bring_no_wrong_value(kind: str, reads: int, tmp_path: Path) -> None:
    """One question in thirty is answered after its time limit: some within the quiet time, some long after it."""
    chance = random.Random(9)

    def late() -> float:
        return chance.choice((0.012, 0.018, 0.03, 0.06)) if chance.random() < 0.03 else 0.0

    async def main() -> None:
        simulator = Simulator()
        if kind == "rtu":
            simulator.plug(str(tmp_path / "tty"))
            url = f"serial:{tmp_path / 'tty'}?baud=115200&parity=N"
        else:
            framing: Any = "mbap" if kind == "tcp" else "rtu"
            url = f"{kind}://127.0.0.1:{await simulator.start(framing=framing)}"
        try:
            status = await read_late(url, simulator.unit(1), late, reads)
            assert status["timeouts"] > 40, status
        finally:
            await simulator.stop()

    run(main())
