"""A command desk with everything around it in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from connectors.fakes import passes, run
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import FixedClock
from gateway.connectors.base import Sample
from gateway.connectors.commands import Desk
from gateway.connectors.points import PointSettings, WriteLimits
from gateway.message import Message, Value

POINTS = {
    "t": PointSettings(name="t", write=WriteLimits(min=0, max=90)),
    "free": PointSettings(name="free", write=WriteLimits()),
    "fixed": PointSettings(name="fixed"),
    "slow": PointSettings(name="slow", write=WriteLimits(every=10.0)),
    "locked": PointSettings(name="locked", write=WriteLimits(when=("door == closed", "pump/speed < 10"))),
    "armed": PointSettings(name="armed", write=WriteLimits(max=100, arm=10.0)),
    "near": PointSettings(name="near", write=WriteLimits(tolerance=0.5)),
}


class DictLedger:
    """A ledger in memory; ``error`` is raised by the next begin."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None

    async def begin(self, device: str, id: str, point: str, value: Value, by: str) -> dict[str, Any] | None:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        known = self.entries.get(id)
        if known is None:
            self.entries[id] = {"status": "open", "point": point, "asked": value, "by": by}
        return dict(known) if known else None

    async def finish(self, device: str, id: str, status: str, result: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.entries[id].update(result, status=status)

    async def open_entries(self, device: str) -> list[tuple[str, str]]:
        return [(id, entry["point"]) for id, entry in self.entries.items() if entry["status"] == "open"]


class Results(Subscriber):
    """Keeps the answers."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.hops: list[int] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        assert message.qos == 1
        self.hops.append(message.hops)
        self.got.append((message.topic, message.value))
        return False


class Bench:
    """A desk at work behind a broker."""

    def __init__(
        self, write: Callable[[str, Value], Awaitable[Value]] | None = None, ledger: DictLedger | None = None
    ) -> None:
        self.clock = FixedClock()
        self.ledger = ledger or DictLedger()
        self.broker = Broker()
        self.results = Results()
        self.written: list[tuple[str, Value]] = []
        self.settled: list[BaseException | None] = []
        self.known: dict[tuple[str, str], Sample] = {}
        self.desk = Desk(
            "boiler",
            "plant/boiler",
            POINTS,
            write or self.write,
            publisher=self.broker,
            ledger=self.ledger,
            clock=self.clock,
            time_limit=0.05,
            capacity=3,
            make_id=lambda: "made",
            look=lambda device, point: self.known.get((device, point)),
        )
        for pattern in self.desk.filters:
            self.broker.subscribe(pattern, self.desk)
        self.broker.subscribe("plant/boiler/+/arm/result", self.results)
        self.broker.subscribe("plant/boiler/+/set/result", self.results)

    async def write(self, point: str, value: Value) -> Value:
        self.written.append((point, value))
        return value

    def send(self, point: str, value: Any, verb: str = "set", **fields: Any) -> None:
        message = Message(f"plant/boiler/{point}/{verb}", qos=1, value=value, **fields)
        self.broker.publish(message, self.settled.append)

    @asynccontextmanager
    async def working(self) -> Any:
        task = asyncio.create_task(self.desk.run())
        try:
            yield
            await passes(20)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def answers(self) -> list[dict[str, Any]]:
        return [value for _, value in self.results.got]


def answers(value: Any, point: str = "t", **fields: Any) -> list[dict[str, Any]]:
    """The answers to one command."""
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send(point, value, **fields)

    run(main())
    assert bench.settled == [None]
    return bench.answers()
