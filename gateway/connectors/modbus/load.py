"""How much of the time of a serial line the settings ask for; ``gateway check`` says it before a start. Pure.

What a question costs: its characters, those of its answer, a silence behind each, the time in which the device thinks,
and the pauses that the settings want. How long a device thinks nobody knows before; THINKING is what most keep to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from gateway.connectors.modbus.config import BIT_TABLES, ModbusDevice
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.planner import Item, plan

THINKING: Final = 0.010
"""Seconds from the end of a question to the begin of its answer."""

QUESTION: Final = 8
"""Characters of a question that reads (Modbus over Serial Line V1.02 section 2.5.1: unit, function, 4, CRC)."""

FRAME: Final = 5
"""Characters of an answer beside its data: unit, function, length, CRC."""

FULL: Final = 0.9
"""Share of its time above which a line will not keep its polls: writes, time-outs and repeats need the rest."""


class BusLoad(NamedTuple):
    """One line.

    share   part of its time that the polls need; 1 is all of it
    single  the same if each point were asked for by itself
    devices names of the devices on it
    """

    endpoint: Endpoint
    share: float
    single: float
    devices: tuple[str, ...]

    @property
    def is_full(self) -> bool:
        """Whether it will not keep its polls."""
        return self.share > FULL

    def __str__(self) -> str:
        line, count = self.endpoint, len(self.devices)
        return (
            f"{line} {line.line}: {self.share:.0%} of its time for {count} device{'s' if count != 1 else ''}, "
            f"{self.single:.0%} if each point were asked for by itself"
        )


def bus_loads(devices: Mapping[str, ModbusDevice]) -> list[BusLoad]:
    """All serial lines, in the order of the settings. Networks have none that the settings tell."""
    lines: dict[str, tuple[Endpoint, list[str]]] = {}
    for name, device in devices.items():
        if device.endpoint.transport == "serial":
            lines.setdefault(device.endpoint.key, (device.endpoint, []))[1].append(name)
    return [
        BusLoad(
            endpoint,
            sum(_load(devices[name], endpoint, joined=True) for name in names),
            sum(_load(devices[name], endpoint, joined=False) for name in names),
            tuple(names),
        )
        for endpoint, names in lines.values()
    ]


def _load(device: ModbusDevice, endpoint: Endpoint, *, joined: bool) -> float:
    by_poll: dict[float, list[Item]] = {}
    for point in device.point:
        if not device.is_broadcast:
            by_poll.setdefault(point.poll or device.poll, []).append(Item(point.name, *point.place, point.width))
    is_joined = joined and not device.quirks.one_request_per_point
    load = 0.0
    for poll, items in by_poll.items():
        requests = (
            plan(items, device.gap, device.max_words) if is_joined else [plan([item], 0, 125)[0] for item in items]
        )
        load += sum(cost(endpoint, request.table, request.count) for request in requests) / poll
        load += len(requests) * device.quirks.pause_between_requests / poll
    return load


def cost(endpoint: Endpoint, table: str, count: int) -> float:
    """Seconds that reading so many registers or bits takes."""
    data = (count + 7) // 8 if table in BIT_TABLES else 2 * count
    characters = QUESTION + FRAME + data
    if endpoint.framing == "ascii":
        # Each byte is two characters; a colon, an LRC of one byte instead of the CRC, and CR LF (section 2.5.2).
        characters = 2 * (characters - 2) + 2 * 3
    return characters * endpoint.character + 2 * endpoint.gap + THINKING


def problems(devices: Mapping[str, ModbusDevice]) -> Iterable[tuple[str, str]]:
    """(device, text) for each line that will not keep its polls."""
    for load in bus_loads(devices):
        if load.is_full:
            yield load.devices[0], f"{load}; poll less often, use a faster line or a second one"
