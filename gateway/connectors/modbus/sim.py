"""Simulated Modbus devices, for the demo, the tests and ``gateway sim``. Written from the standard, by hand.

``Simulator`` is a server with units whose registers a test fills; ``simulate`` makes one for each url of a settings
file, with the registers of the points that stand there. A serial url becomes a pseudo-terminal under its path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.clock import Clock
from gateway.connectors.modbus.codec import Codec, make_codec
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.exponent import GREATEST, Powered
from gateway.connectors.modbus.sim_server import Simulator as Simulator
from gateway.connectors.modbus.sim_unit import Content
from gateway.connectors.modbus.sim_unit import Question as Question
from gateway.connectors.modbus.sim_unit import Unit as Unit
from gateway.errors import Rejected
from gateway.message import Value

GARBAGE: Final = b"\x00\x01\x00\x00\x00\x05\x01\x63\x02\x00\x2a"
"""A frame of Modbus TCP with a function that nobody asked for; on a serial line it is noise."""

_BUSY: Final = 6
"""What a fault ``exception`` without a code says."""

_MOST_DECIMALS: Final = 3
"""Decimals of values whose exponent stands in the device."""

_TABLES: Final = ("coil", "discrete", "input", "holding")


class _Place:
    """Where a point stands in its unit."""

    __slots__ = ("address", "codec", "shape", "table", "whole")

    def __init__(self, point: ModbusPoint) -> None:
        self.table, self.address = point.place
        self.codec: Codec = point.codec
        self.shape = point.shape()
        self.whole = make_codec(f"uint{16 * self.codec.width}", point.order) if point.bits is not None else self.codec

    def words(self, unit: Unit) -> list[int]:
        table = unit.table(self.table)
        contents = [table[self.address + at] for at in range(self.codec.width)]
        return [0 if callable(content) else content for content in contents]

    def put(self, unit: Unit, value: Value) -> None:
        raw = self.shape.raw(value)
        words = self.codec.encode(raw) if self.shape.bits is None else self._changed(unit, raw)
        unit.table(self.table).update((self.address + at, word) for at, word in enumerate(words))

    def _changed(self, unit: Unit, raw: Value) -> list[int]:
        part = self.shape.placed(raw)
        before = self.whole.decode(self.words(unit))
        return self.whole.encode(int(before) & ~part.mask | part.bits)

    def get(self, unit: Unit) -> Value:
        return self.shape.value(self.shape.part(self.codec.decode(self.words(unit))))


class ModbusSimulation:
    """All Modbus devices of one settings file; see ``connectors.simulation.Simulation``."""

    def __init__(self, devices: Mapping[str, ModbusDevice], clock: Clock) -> None:
        self._servers: dict[Endpoint, Simulator] = {}
        self._units: dict[str, tuple[Simulator, Unit]] = {}
        self._places: dict[str, dict[str, _Place]] = {}
        self._memory: dict[str, dict[str, dict[int, Content]]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        for name, device in devices.items():
            if device.is_broadcast:
                continue
            server = self._servers.setdefault(device.endpoint, Simulator(clock))
            unit = server.unit(device.unit)
            self._units[name] = server, unit
            self._places[name] = {point.name: _Place(point) for point in device.point}
            for table, address in _addresses(device):
                unit.table(table).setdefault(address, 0)
            self._memory[name] = {table: dict(unit.table(table)) for table in _TABLES}

    async def start(self) -> None:
        """Bind and plug everything. Raises OSError; then nothing is left."""
        try:
            for endpoint, server in self._servers.items():
                if endpoint.transport == "tls":
                    raise OSError(f"{endpoint}: a simulated device has no certificate; use tcp://")
                if endpoint.transport == "serial":
                    server.plug(endpoint.path, endpoint.framing)
                else:
                    await server.start(endpoint.host, endpoint.port, endpoint.framing)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Be gone, with all connections."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for server in self._servers.values():
            await server.stop()

    def set(self, device: str, point: str, value: Value) -> None:
        """What the next question finds. Raises Rejected for a value that the point cannot hold."""
        place, unit = self._places[device][point], self._units[device][1]
        if isinstance(place.codec, Powered):
            _put_powered(unit, place, value, self._places[device].values())
        else:
            place.put(unit, value)

    def get(self, device: str, point: str) -> Value:
        """What stands there."""
        return self._places[device][point].get(self._units[device][1])

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        """Let something be wrong; see ``connectors.simulation.FAULTS``. Raises ValueError."""
        server, unit = self._units[device]
        timer = self._timers.pop(device, None)
        if timer is not None:
            timer.cancel()
        unit.settle()
        match kind:
            case "none":
                pass
            case "mute":
                unit.is_mute = True
            case "late":
                unit.delay = amount
            case "garbage":
                unit.garbage = GARBAGE
            case "exception":
                unit.exception = int(amount) or _BUSY
            case "reboot":
                for table, memory in self._memory[device].items():
                    unit.table(table).clear()
                    unit.table(table).update(memory)
                unit.is_mute = True
                server.hang_up()
                self._timers[device] = asyncio.get_running_loop().call_later(amount, unit.settle)
            case _:
                raise ValueError(f'a Modbus device has no fault "{kind}"')


def _put_powered(unit: Unit, place: _Place, value: Value, places: Iterable[_Place]) -> None:
    """Points may share an exponent: it becomes the least one with which the values of all of them fit, so that they
    have decimals, but no more than three. Raises Rejected for a value that fits with none."""
    codecs = {other: other.codec for other in places if isinstance(other.codec, Powered)}
    shared = place.address + codecs[place].exponent
    sharing = {other: codec for other, codec in codecs.items() if other.address + codec.exponent == shared}
    values = {other: codec.decode(other.words(unit)) for other, codec in sharing.items()}
    values[place] = place.shape.raw(value)
    for exponent in range(-_MOST_DECIMALS, GREATEST + 1):
        try:
            numbers = {other: codec.number(values[other], exponent) for other, codec in sharing.items()}
        except Rejected:
            continue
        table = unit.table(place.table)
        for other, words in numbers.items():
            table.update((other.address + sharing[other].at + at, word) for at, word in enumerate(words))
        table[shared] = exponent & 0xFFFF
        return
    raise Rejected(f"is too large: {value!r}")


def simulate(devices: Mapping[str, ModbusDevice], clock: Clock) -> ModbusSimulation:
    """The devices of one settings file, with 0 in all registers. Binds nothing yet."""
    return ModbusSimulation(devices, clock)


def _addresses(device: ModbusDevice) -> set[tuple[str, int]]:
    """The registers and bits of a device's points, and those of the gaps that the gateway reads along."""
    found = {(point.place.table, point.place.address + at) for point in device.point for at in range(point.width)}
    for table in _TABLES:
        known = sorted(address for name, address in found if name == table)
        reach = device.gap * 16 if table in ("coil", "discrete") else device.gap
        for before, after in zip(known, known[1:], strict=False):
            if after - before - 1 <= reach:
                found.update((table, address) for address in range(before + 1, after))
    return found
