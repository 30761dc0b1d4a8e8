"""The contract that every kind of connector passes (ARCHITECTURE section 5).

A kind's test subclasses ``ConnectorContract`` and gives a rig. The suite keeps ``run`` alive with the gateway's own
``Supervised``, so that the log lines it looks at are those that people see.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort, passes
from connectors.fakes import run as run_to_the_end
from contracts.rig import Rig as Rig
from contracts.rig import SimulationRig as SimulationRig
from contracts.rig import Sleep as Sleep
from contracts.rig import free_port as free_port
from contracts.rig import no_io, open_things
from contracts.rig import simulated as simulated
from gateway import kinds
from gateway.check import cross_check
from gateway.clock import FixedClock
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.base import Connector, Quality
from gateway.errors import Rejected, Retry
from gateway.metrics import Metrics
from gateway.supervise import Supervised


class Watched:
    """What has happened to a connector: "up", or why it went down."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @property
    def ups(self) -> int:
        return self.events.count("up")


class ConnectorContract(ABC):
    """Subclass it as ``TestKind`` with ``rig``.

    growth  bytes by which memory may grow over 8000 polls, with what the rig itself keeps
    rounds  how many moments of a connection are tried for a cancel
    """

    growth = 64 * 1024
    rounds = 60

    @abstractmethod
    def rig(self) -> Rig:
        """A fresh device, switched off."""

    @asynccontextmanager
    async def started(self) -> AsyncIterator[tuple[Rig, FakePort]]:
        rig = self.rig()
        await rig.start()
        try:
            yield rig, FakePort()
            await self._until(lambda: rig.connections == 0)
        finally:
            await rig.stop()

    @asynccontextmanager
    async def running(self, connector: Connector, rig: Rig | None = None) -> AsyncIterator[Watched]:
        """Keep ``run`` alive, and ``rig`` stirring."""
        watched = Watched()

        async def run(up: Callable[[], None]) -> None:
            def told() -> None:
                watched.events.append("up")
                up()

            try:
                await connector.run(told)
            except Retry as retry:
                watched.events.append(str(retry))
                raise

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(0.01)

        async def stir() -> None:
            while rig is not None:
                await rig.stir()

        metrics = Metrics()
        supervised = Supervised("device", "dev", run, random=lambda: 0.0, metrics=metrics, now=lambda: 0.0, sleep=sleep)
        tasks = [asyncio.create_task(supervised.supervise()), asyncio.create_task(stir())]
        try:
            yield watched
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            assert not metrics.counts.get("bugs"), supervised.last_error

    @staticmethod
    async def _until(true: Callable[[], bool], seconds: float = 10) -> None:
        for _ in range(int(seconds / 0.01)):
            if true():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not happen")

    @contextmanager
    def nothing_left(self) -> Iterator[None]:
        """No socket, terminal or thread is open that was not open before. Tasks: ``fakes.run``."""
        before = open_things()
        yield
        gc.collect()
        assert open_things() - before == set()

    def play(self, main: Coroutine[Any, Any, None]) -> None:
        """Run ``main``; nothing may be left of it."""
        with self.nothing_left():
            run_to_the_end(main)

    # Before there is a connection.

    def test_the_constructor_does_no_io(self) -> None:
        rig = self.rig()
        with no_io():
            connector = rig.make(FakePort())
            json.dumps(connector.status())
        assert rig.connections == 0

    def test_check_does_no_io(self) -> None:
        """``gateway check`` of the kind's sample."""
        folder = Path(inspect.getfile(type(self.rig().make(FakePort())))).parent
        with no_io():
            loaded = read(folder / "sample.toml", Settings, kinds)
            problems = cross_check(loaded)
        assert problems == []

    def test_nobody_there_is_retry_and_never_up(self) -> None:
        async def main() -> None:
            rig = self.rig()
            await rig.start()
            await rig.stop()
            port = FakePort()
            connector = rig.make(port)
            async with self.running(connector) as watched:
                if rig.has_line:
                    await self._until(lambda: len(watched.events) >= 2)
                    assert watched.ups == 0 and all(watched.events)
                await port.quality(rig.point, Quality.BAD)
                assert port.last[rig.point].value is None and port.last[rig.point].reason
                json.dumps(connector.status())

        self.play(main())

    # Connect, lose, come back.

    def test_it_connects_is_up_once_and_brings_values(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector, rig) as watched:
                    await port.value(rig.point, rig.values[0])
                    await port.until(lambda: port.emitted > 20)
                    assert watched.events == ["up"]
                    json.dumps(connector.status())

        self.play(main())

    def test_it_loses_the_device_says_so_and_comes_back(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port), self.running(rig.make(port), rig) as watched:
                await port.value(rig.point, rig.values[0])
                seen = port.last[rig.point].time
                await rig.stop()
                await port.quality(rig.point, Quality.STALE)
                stale = port.last[rig.point]
                assert stale.value == rig.values[0] and stale.reason
                assert seen <= stale.time <= port.clock.time()
                await rig.start()
                await port.value(rig.point, rig.values[0])
                assert watched.ups == (2 if rig.has_line else watched.ups)
                assert all(watched.events)
                self._no_bad_value(port)

        self.play(main())

    def test_a_silent_device_is_stale_and_comes_back(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port), self.running(rig.make(port), rig):
                await port.value(rig.point, rig.values[0])
                if not await rig.mute(True):
                    pytest.skip("this rig cannot be mute")
                await port.quality(rig.point, Quality.STALE)
                assert port.last[rig.point].value == rig.values[0]
                await rig.mute(False)
                await port.value(rig.point, rig.values[0])
                self._no_bad_value(port)

        self.play(main())

    def test_one_log_line_down_and_one_up(self, caplog: pytest.LogCaptureFixture) -> None:
        """However many attempts there are in between. A second line when the reason becomes another one."""
        caplog.set_level(logging.INFO)

        async def main() -> None:
            async with self.started() as (rig, port), self.running(rig.make(port), rig) as watched:
                await port.value(rig.point, rig.values[0])
                await rig.stop()
                await port.quality(rig.point, Quality.STALE)
                if rig.has_line:
                    await self._until(lambda: len(watched.events) >= 6)
                await rig.start()
                await port.value(rig.point, rig.values[0])

        self.play(main())
        lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
        assert set(lines) <= {"device up", "device down"}, lines
        assert lines.count("device down") <= 2
        assert lines.count("device up") == 1 + min(1, lines.count("device down"))

    @staticmethod
    def _no_bad_value(port: FakePort) -> None:
        """A bad status never appears as a value."""
        for sample in port.samples:
            assert sample.value is None or sample.quality is not Quality.BAD
            assert sample.reason or sample.quality is Quality.GOOD

    # Writes.

    def test_it_writes_reads_back_and_reports_the_value(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector, rig):
                    await port.value(rig.point, rig.values[0])
                    for value in (rig.values[1], rig.values[0]):
                        assert await connector.write(rig.point, value) == value
                        await port.value(rig.point, value)

        self.play(main())

    def test_it_rejects_what_can_never_be_written(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector, rig):
                    await port.value(rig.point, rig.values[0])
                    for value in (*rig.refused, float("nan"), None):
                        with pytest.raises(Rejected):
                            await connector.write(rig.point, value)
                    with pytest.raises(Rejected):
                        await connector.write("no such point", rig.values[0])
                    assert await connector.write(rig.point, rig.values[0]) == rig.values[0]

        self.play(main())

    def test_a_device_that_keeps_its_value_is_found_out(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector, rig):
                    await port.value(rig.point, rig.values[0])
                    if not await rig.freeze(True):
                        pytest.skip("this rig cannot keep its value")
                    with pytest.raises((Retry, Rejected)):
                        await connector.write(rig.point, rig.values[1])
                    await rig.freeze(False)
                    assert await connector.write(rig.point, rig.values[1]) == rig.values[1]

        self.play(main())

    def test_a_write_without_a_device_is_retry(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                with pytest.raises(Retry):
                    await connector.write(rig.point, rig.values[1])
                async with self.running(connector, rig):
                    await port.value(rig.point, rig.values[0])
                with pytest.raises(Retry):
                    await connector.write(rig.point, rig.values[1])

        self.play(main())

    # Cancel.

    def test_a_cancel_in_any_await_leaves_nothing(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                before = asyncio.all_tasks()
                for rounds in range(self.rounds):
                    await self._cancelled(rig, rig.make(port), rounds, None)
                    await passes()  # the rig's server may be accepting still
                    assert asyncio.all_tasks() - before == set()
                for rounds in range(self.rounds // 2):
                    await self._cancelled(rig, rig.make(port), rounds, port)
                    await passes()
                    assert asyncio.all_tasks() - before == set()
                await self._until(lambda: rig.connections == 0)

        self.play(main())

    async def _cancelled(self, rig: Rig, connector: Connector, rounds: int, port: FakePort | None) -> None:
        """Cancel a connector that also writes, ``rounds`` turns of the loop after its begin or its first value."""
        task = asyncio.create_task(connector.run(lambda: None))
        writing = asyncio.create_task(self._try_to_write(connector, rig))
        if port is not None:
            seen = port.emitted
            await port.until(lambda: port.emitted > seen)
        await passes(rounds)
        for each in (task, writing):
            each.cancel()
            with suppress(asyncio.CancelledError, Retry):
                await each

    @staticmethod
    async def _try_to_write(connector: Connector, rig: Rig) -> None:
        while True:
            await asyncio.sleep(0)
            with suppress(Retry):
                await connector.write(rig.point, rig.values[0])

    def test_a_write_that_is_cancelled_leaves_a_device_that_works(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector, rig):
                    await port.value(rig.point, rig.values[0])
                    for rounds in range(self.rounds // 2):
                        task = asyncio.create_task(connector.write(rig.point, rig.values[rounds % 2]))
                        await passes(rounds)
                        task.cancel()
                        with suppress(asyncio.CancelledError, Retry):
                            await task
                    for value in rig.values:
                        assert await self._written(connector, rig, value) == value

        self.play(main())

    async def _written(self, connector: Connector, rig: Rig, value: Any) -> Any:
        """Write, again while the line that the last cancel has cost is made anew."""
        async with asyncio.timeout(10):
            while True:
                try:
                    return await connector.write(rig.point, value)
                except Retry:
                    await asyncio.sleep(0.01)

    # The long run.

    @pytest.mark.slow
    def test_memory_is_flat_over_ten_thousand_polls(self) -> None:
        async def main() -> None:
            clock = FixedClock()
            polls = 0

            async def sleep(seconds: float) -> None:
                nonlocal polls
                polls += 1
                clock.advance(seconds)
                await asyncio.sleep(0)

            async with self.started() as (rig, _):
                port = FakePort(clock=clock)
                port.keep = 0
                async with self.running(rig.make(port, sleep), rig):
                    sizes: dict[int, int] = {}
                    tracemalloc.start()
                    try:
                        for mark in (2_000, 10_000):
                            # A kind that does not poll says by its samples how far it is.
                            await self._until(lambda mark=mark: max(polls, port.emitted) >= mark, 300)  # type: ignore[misc]
                            gc.collect()
                            sizes[mark] = tracemalloc.get_traced_memory()[0]
                    finally:
                        tracemalloc.stop()
                    assert sizes[10_000] - sizes[2_000] < self.growth, sizes

        self.play(main())
