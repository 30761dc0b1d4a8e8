"""What a device's test needs around it: a port that keeps samples, a loop that finds leaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, cast

from gateway.clock import Clock
from gateway.connectors.base import Quality, Sample
from gateway.message import Value

T = TypeVar("T")


class FakePort:
    """A ``Port`` that keeps the last samples of each point; ``changed`` is set by each emit."""

    def __init__(self, name: str = "dev", clock: Clock | None = None, shared: dict[str, Any] | None = None) -> None:
        self._name = name
        self._clock = clock or Clock()
        self.shared = {} if shared is None else shared
        self.last: dict[str, Sample] = {}
        self.samples: list[Sample] = []
        self.emitted = 0
        self.keep = 10_000
        self.changed = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock(self) -> Clock:
        return self._clock

    def emit(self, samples: Sequence[Sample]) -> None:
        for sample in samples:
            self.last[sample.point] = sample
        self.samples = (self.samples + list(samples))[-self.keep :] if self.keep else []
        self.emitted += len(samples)
        self.changed.set()

    def share(self, key: str, make: Callable[[], T]) -> T:
        if key not in self.shared:
            self.shared[key] = make()
        return cast(T, self.shared[key])

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for an emit after which ``true()`` holds; fails after 10 seconds."""
        async with asyncio.timeout(10):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def value(self, point: str, value: Value) -> None:
        """Wait until the point has this value, with good quality."""
        await self.until(lambda: point in self.last and self.last[point].value == value and self.good(point))

    async def quality(self, point: str, quality: Quality) -> None:
        """Wait until the point has this quality."""
        await self.until(lambda: point in self.last and self.last[point].quality is quality)

    def good(self, point: str) -> bool:
        return self.last[point].quality is Quality.GOOD


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main``; fails when it leaves a task behind. Sockets left behind are warnings, and those are errors."""

    async def watched() -> T:
        result = await main
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    return asyncio.run(watched())


async def passes(count: int = 5) -> None:
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)
