"""The contract that every kind of connector passes. A kind's test subclasses ``ConnectorContract`` and gives a rig."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from connectors.fakes import FakePort, passes, run
from gateway.clock import FixedClock
from gateway.connectors.base import Connector, Quality
from gateway.errors import Rejected, Retry
from gateway.message import Value

Sleep = Callable[[float], Awaitable[None]]


class Rig(ABC):
    """A device of one kind, and connectors for it.

    point     a point that can be read and written
    values    two good values for it, the first one is what it has
    refused   values that its type can never hold
    """

    point: str
    values: tuple[Value, Value]
    refused: tuple[Value, ...]

    @abstractmethod
    def make(self, port: FakePort, sleep: Sleep = asyncio.sleep) -> Connector:
        """A connector with a short poll. Must do no I/O."""

    @abstractmethod
    async def start(self) -> None:
        """Switch the device on, with the same address each time."""

    @abstractmethod
    async def stop(self) -> None:
        """Switch it off."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """Connections that the device sees now."""


class ConnectorContract(ABC):
    """Subclass it as ``TestKind`` with ``rig``.

    growth  bytes by which memory may grow over 8000 polls, with what the rig itself keeps
    """

    growth = 64 * 1024

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
    async def running(self, connector: Connector) -> AsyncIterator[list[str]]:
        """Keep ``run`` going; yields the list of what happened to it: "up", or the text of a Retry."""
        events: list[str] = []

        async def supervise() -> None:
            while True:
                try:
                    await connector.run(lambda: events.append("up"))
                except Retry as retry:
                    events.append(str(retry))
                await asyncio.sleep(0.01)

        task = asyncio.create_task(supervise())
        try:
            yield events
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @staticmethod
    async def _until(true: Callable[[], bool], seconds: float = 10) -> None:
        for _ in range(int(seconds / 0.01)):
            if true():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not happen")

    def test_the_constructor_does_no_io(self) -> None:
        rig = self.rig()
        rig.make(FakePort())
        assert rig.connections == 0

    def test_it_connects_is_up_once_and_brings_values(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector) as events:
                    await port.value(rig.point, rig.values[0])
                    await port.until(lambda: port.emitted > 20)
                    assert events == ["up"]
                    json.dumps(connector.status())

        run(main())

    def test_nobody_there_is_retry_and_never_up(self) -> None:
        async def main() -> None:
            rig = self.rig()
            await rig.start()
            await rig.stop()
            events: list[str] = []
            with pytest.raises(Retry, match="connect"):
                await rig.make(FakePort()).run(lambda: events.append("up"))
            assert events == []

        run(main())

    def test_it_loses_the_device_says_so_and_comes_back(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port), self.running(rig.make(port)) as events:
                await port.value(rig.point, rig.values[0])
                await rig.stop()
                await port.quality(rig.point, Quality.STALE)
                assert port.last[rig.point].value == rig.values[0]
                assert port.last[rig.point].reason
                await rig.start()
                await port.value(rig.point, rig.values[0])
                assert events.count("up") == 2
                assert all(event for event in events)

        run(main())

    def test_it_writes_reads_back_and_reports_the_value(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector):
                    await port.value(rig.point, rig.values[0])
                    for value in (rig.values[1], rig.values[0]):
                        assert await connector.write(rig.point, value) == value
                        await port.value(rig.point, value)

        run(main())

    def test_it_rejects_what_can_never_be_written(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                async with self.running(connector):
                    await port.value(rig.point, rig.values[0])
                    for value in (*rig.refused, float("nan"), None):
                        with pytest.raises(Rejected):
                            await connector.write(rig.point, value)
                    with pytest.raises(Rejected):
                        await connector.write("no such point", rig.values[0])
                    assert await connector.write(rig.point, rig.values[0]) == rig.values[0]

        run(main())

    def test_a_write_without_a_device_is_retry(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                connector = rig.make(port)
                with pytest.raises(Retry):
                    await connector.write(rig.point, rig.values[1])
                async with self.running(connector):
                    await port.value(rig.point, rig.values[0])
                with pytest.raises(Retry):
                    await connector.write(rig.point, rig.values[1])

        run(main())

    def test_a_cancel_in_any_await_leaves_nothing(self) -> None:
        async def main() -> None:
            async with self.started() as (rig, port):
                before = asyncio.all_tasks()
                for rounds in range(60):
                    connector = rig.make(port)
                    task = asyncio.create_task(connector.run(lambda: None))
                    writing = asyncio.create_task(self._try_to_write(connector, rig))
                    await passes(rounds)
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                    writing.cancel()
                    with suppress(asyncio.CancelledError):
                        await writing
                    await passes()  # the rig's server may be accepting still
                    assert asyncio.all_tasks() == before
                await self._until(lambda: rig.connections == 0)

        run(main())

    @staticmethod
    async def _try_to_write(connector: Connector, rig: Rig) -> None:
        while True:
            await asyncio.sleep(0)
            with suppress(Retry):
                await connector.write(rig.point, rig.values[0])

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
                async with self.running(rig.make(port, sleep)):
                    sizes: dict[int, int] = {}
                    tracemalloc.start()
                    try:
                        for mark in (2_000, 10_000):
                            await self._until(lambda mark=mark: polls >= mark, 300)  # type: ignore[misc]
                            gc.collect()
                            sizes[mark] = tracemalloc.get_traced_memory()[0]
                    finally:
                        tracemalloc.stop()
                    assert sizes[10_000] - sizes[2_000] < self.growth, sizes

        run(main())
