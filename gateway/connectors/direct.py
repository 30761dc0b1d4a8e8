"""One device without the gateway: a connector of its own for as long as it takes to read some points, or write one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from gateway.clock import Clock
from gateway.connectors.base import Connector, Quality, Sample
from gateway.errors import GatewayError, Retry
from gateway.message import Value

T = TypeVar("T")

Make = Callable[[Any], Connector]
"""Makes the connector of the device with a port."""


class CapturePort:
    """A ``Port`` that keeps the last sample of each point."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self.shared: dict[str, Any] = {}
        self.keys: set[str] = set()
        self.on_bad: list[Callable[[Sample], None]] = []
        self.last: dict[str, Sample] = {}
        self.came = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock(self) -> Clock:
        return self._clock

    def emit(self, samples: Sequence[Sample]) -> None:
        self.last.update({sample.point: sample for sample in samples})
        for sample in samples:
            if sample.quality is Quality.BAD:
                for tell in self.on_bad:
                    tell(sample)
        self.came.set()

    def kept(self) -> list[Sample]:
        """Nothing has come before."""
        return []

    def share(self, key: str, make: Callable[[], T]) -> T:
        self.keys.add(key)
        if key not in self.shared:
            self.shared[key] = make()
        return cast(T, self.shared[key])


async def read(name: str, make: Make, points: Collection[str], patience: float, clock: Clock) -> dict[str, Sample]:
    """The first sample of each point; those that did not come within ``patience`` seconds are left out.

    Raises GatewayError when the device cannot be reached at all.
    """
    port = CapturePort(name, clock)
    connector = make(port)
    life = asyncio.create_task(connector.run(lambda: None))
    try:
        async with asyncio.timeout(patience):
            while not set(points) <= port.last.keys():
                port.came.clear()
                waiting = asyncio.create_task(port.came.wait())
                await asyncio.wait({life, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if life.done():
                    break
    except TimeoutError:
        pass
    await _end(life, is_needed=not port.last)
    return port.last


async def write(name: str, make: Make, point: str, value: Value, patience: float, clock: Clock) -> Value:
    """Write one point; what was read back. Raises Rejected, Retry, GatewayError."""
    port = CapturePort(name, clock)
    connector = make(port)
    up = asyncio.Event()
    life = asyncio.create_task(connector.run(up.set))
    connected = asyncio.create_task(up.wait())
    try:
        async with asyncio.timeout(patience):
            await asyncio.wait({life, connected}, return_when=asyncio.FIRST_COMPLETED)
            if not up.is_set():
                await life
                raise Retry("the device is away")
            return await connector.write(point, value)
    except TimeoutError:
        raise Retry(f"unknown: no answer within {patience:g} s; it may have been written") from None
    finally:
        connected.cancel()
        await _end(life, is_needed=False)


async def _end(life: asyncio.Task[None], *, is_needed: bool) -> None:
    """End the connector. ``is_needed``: what ended it before is why there is nothing."""
    if not life.done():
        life.cancel()
        with suppress(asyncio.CancelledError, GatewayError):
            await life
    elif is_needed:
        await life
