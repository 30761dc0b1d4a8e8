"""An edge node with everything around it: the local broker is a real one, the outbox a list, devices are settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import FixedClock, iso_time
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.points import WriteLimits
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.uplinks.base import Site
from gateway.uplinks.sparkplug.config import Forward, SparkplugUplink
from gateway.uplinks.sparkplug.uplink import SparkplugUplinkRunner
from sparkplug.host import Event
from sparkplug.proto import value_of
from uplinks.bench import ListReader, during, row, until

T = TypeVar("T")

DEVICES = {
    "boiler": ModbusDevice(
        url="tcp://127.0.0.1:1",
        topic="plant/boiler",
        point=(
            ModbusPoint(name="temperature", address="holding:1", type="int16", scale=0.1, unit="Cel"),
            ModbusPoint(name="level", address="holding:2", type="int16", write=WriteLimits(min=-9, max=90)),
        ),
    ),
    "press": ModbusDevice(
        url="tcp://127.0.0.1:1",
        topic="plant/press",
        format="value",
        point=(ModbusPoint(name="running", address="coil:1", type="bool"),),
    ),
    "elsewhere": ModbusDevice(
        url="tcp://127.0.0.1:1", topic="yard/pump", point=(ModbusPoint(name="x", address="holding:1"),)
    ),
}


class Commands(Subscriber):
    """What is written to points."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.seen.append((message.topic, message.value))
        return False


class NodeBench:
    """One edge node, and what its devices do."""

    def __init__(self, port: int, counters: dict[str, int] | None = None, **settings: Any) -> None:
        self.config = SparkplugUplink(
            **{
                "url": f"mqtt://127.0.0.1:{port}",
                "group": "G",
                "connect_timeout": 5.0,
                "forward": (Forward(filter="plant/#"),),
                **settings,
            }
        )
        assert list(self.config.problems()) == []
        self.clock = FixedClock(1_800_000_000.0)
        self.broker = Broker()
        self.commands = Commands()
        self.broker.subscribe("plant/+/+/set", self.commands)
        self.reader = ListReader()
        self.metrics = Metrics()
        self.counters = {} if counters is None else counters
        self.ups = 0
        self.uplink = self._make()

    def _make(self) -> SparkplugUplinkRunner:
        return SparkplugUplinkRunner(
            "scada",
            self.config,
            self.reader,
            self.broker,
            self.clock,
            self.metrics,
            "gw1",
            lambda: 0.5,
            Site(DEVICES, self._number),
            confirm_after=0.01,
        )

    async def _number(self, name: str, modulus: int) -> int:
        await asyncio.sleep(0)
        self.counters[name] = (self.counters.get(name, -1) + 1) % modulus
        return self.counters[name]

    def restart(self) -> None:
        """A new process: only the outbox and the counters stay."""
        self.reader._wake = None
        self.broker = Broker()
        self.uplink = self._make()

    def emit(self, device: str, point: str, value: Any, quality: str = "good", store: bool = True) -> None:
        """A device publishes: everybody hears it, and a row is stored. A millisecond passes."""
        self.clock.advance(0.001)
        at, topic = self.clock.time(), f"{DEVICES[device].topic}/{point}"
        told: Any = {"v": value, "q": quality, "t": iso_time(at)}
        if DEVICES[device].format == "value":
            told = value
        message = Message(topic, qos=1, time=at, source=f"device:{device}", value=told)
        self.broker.publish(message)
        if store:
            self.reader.add(row(len(self.reader.rows) + 1, topic, message.payload, time=at))

    async def run(self) -> None:
        """One connection, to its end."""
        await self.uplink.run(self._up)

    def _up(self) -> None:
        self.ups += 1

    async def during(self, work: Awaitable[T]) -> T:
        """See ``during``."""
        return await during(self.run(), work)


async def settled(bench: NodeBench) -> None:
    """Everything that is in the outbox was read by the broker."""
    await until(lambda: bench.reader.cursor == len(bench.reader.rows))


def data(event: Event) -> list[tuple[Any, Any, bool]]:
    """Name, value and whether it is historical, of each metric."""
    found = []
    for metric in event.payload.metrics:
        value = value_of(metric)
        found.append((metric.name, None if value is None else value[1], metric.is_historical))
    return found
