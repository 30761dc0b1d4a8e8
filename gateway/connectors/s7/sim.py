"""A simulated S7 controller, for the demo, the tests and try-outs. Written from the protocol, by hand.

``Simulator`` is one endpoint with its memory (``memory.py``); ``simulate`` makes one for each url of some devices'
settings, with memory for all their points. It is no example of a good controller: it does not check who writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, cast

from gateway.clock import Clock
from gateway.connectors.s7 import frames
from gateway.connectors.s7.codec import Bool, make_codec
from gateway.connectors.s7.config import S7Device, S7Point
from gateway.connectors.s7.memory import OUT_OF_RANGE, Memory
from gateway.errors import Malformed
from gateway.message import Value

FAULTS: Final = ("none", "mute", "late", "garbage", "exception", "reboot")

_REBOOT: Final = 1.0
"""Seconds that a reboot takes unless said otherwise."""


class Simulator:
    """One endpoint.

    is_mute     answers nothing
    delay       seconds before each answer
    garbage     answers everything with these bytes
    is_refusing answers the request for a transport connection with a disconnect
    called      the two ends, local and remote TSAP, of the last request for one
    """

    def __init__(self, clock: Clock | None = None, pdu: int = 240) -> None:
        self.clock = clock or Clock()
        self.memory = Memory(pdu)
        self.is_mute = self.is_refusing = False
        self.delay = 0.0
        self.garbage: bytes | None = None
        self.accepted = 0
        self.called = b""
        self._away_until = 0.0
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port that was bound."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        """Cut all connections, without a word."""
        for connection in list(self._connections):
            connection.cut()

    def reboot(self, seconds: float) -> None:
        """Cut all connections, forget the memory, and take no connection for a while."""
        self._away_until = self.clock.now() + seconds
        self.memory.clear()
        self.cut()

    def heal(self) -> None:
        """No fault any more."""
        self.is_mute = self.is_refusing = False
        self.delay = 0.0
        self.garbage = None
        self.memory.refusal = 0
        self._away_until = 0.0

    @property
    def is_away(self) -> bool:
        """Whether it is rebooting."""
        return self.clock.now() < self._away_until

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._connections)


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._frames = frames.Frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._simulator.accepted += 1
        self._simulator._connections.add(self)
        if self._simulator.is_away:
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._simulator._connections.discard(self)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for tpdu in self._frames.feed(data):
                self._take(*frames.parse(tpdu))
        except Malformed:
            self.cut()

    def _take(self, code: int, body: bytes) -> None:
        if code == frames.CONNECT:
            self._simulator.called = body[-6:-4] + body[-2:]
            answer = frames.DISCONNECT if self._simulator.is_refusing else frames.CONFIRM
            # The request with the codes of the answer: the same TSAPs and the same size are agreed.
            self._answer(frames.tpkt(bytes((body[0], answer)) + body[4:6] + b"\0\7" + body[6:]))
        elif code == frames.DATA:
            message = self._simulator.memory.answer(body)
            if message is not None:
                self._answer(frames.data(message))

    def _answer(self, frame: bytes) -> None:
        if self._simulator.is_mute:
            return
        if self._simulator.garbage is not None:
            frame = self._simulator.garbage
        if self._simulator.delay > 0:
            asyncio.get_running_loop().call_later(self._simulator.delay, self._send, frame)
        else:
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)


class S7Simulation:
    """A controller for each url of ``devices``, with memory for all their points."""

    def __init__(self, devices: Mapping[str, S7Device], clock: Clock) -> None:
        self._devices = devices
        self._points = {(name, point.name): point for name, device in devices.items() for point in device.point}
        self.simulators: dict[tuple[str, int], Simulator] = {}
        for device in devices.values():
            key = (device.endpoint.host, device.endpoint.port)
            simulator = self.simulators.setdefault(key, Simulator(clock))
            for point in device.point:
                place = point.place
                area = simulator.memory.area(place.area, place.block, place.byte + point.size)
                head = make_codec(point.type_name, place.bit).head
                if head:
                    # A declared text: its most characters, none in use.
                    area[place.byte : place.byte + head] = ((point.size - 2 * head) // head).to_bytes(head)
                    simulator.memory.kept[place.area, place.block, place.byte] = head

    async def start(self) -> None:
        """Listen on every url. Raises OSError when one is taken."""
        for (host, port), simulator in self.simulators.items():
            await simulator.start(host, port)

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        for simulator in self.simulators.values():
            await simulator.stop()

    def _find(self, device: str, point: str) -> tuple[S7Point, bytearray]:
        found = self._points[device, point]
        memory = self._simulator(device).memory
        return found, memory.areas[found.place.area, found.place.block]

    def _simulator(self, device: str) -> Simulator:
        endpoint = self._devices[device].endpoint
        return self.simulators[endpoint.host, endpoint.port]

    def set(self, device: str, point: str, value: Value) -> None:
        """Put a value, in the point's unit, into the memory. Raises KeyError, Rejected."""
        found, area = self._find(device, point)
        place, codec = found.place, make_codec(found.type_name, found.place.bit)
        shape = found.shape()
        raw = shape.raw(value)
        if shape.bits is not None:
            part, whole = shape.placed(raw), codec.decode(bytes(area[place.byte : place.byte + codec.size]))
            raw = int(cast(int, whole)) & ~part.mask | part.bits
        content = codec.encode(raw)
        start = place.byte + codec.head
        if isinstance(codec, Bool):
            content = bytes((area[start] & ~(1 << (place.bit or 0)) | content[0] << (place.bit or 0),))
        area[start : start + len(content)] = content

    def get(self, device: str, point: str) -> Value:
        """What the memory holds, in the point's unit. Raises KeyError, ValueError."""
        found, area = self._find(device, point)
        codec = make_codec(found.type_name, found.place.bit)
        shape = found.shape()
        start = found.place.byte
        return shape.value(shape.part(codec.decode(bytes(area[start : start + codec.size]))))

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        """Switch a fault of the device's controller; ``none`` ends all. late: seconds; exception: return code or error
        word; reboot: seconds it takes. Raises ValueError for a fault that it has not."""
        simulator = self._simulator(device)
        if kind not in FAULTS:
            raise ValueError(f"an S7 controller has the faults {', '.join(FAULTS)}, not {kind}")
        simulator.heal()
        if kind == "mute":
            simulator.is_mute = True
        elif kind == "late":
            simulator.delay = amount
        elif kind == "garbage":
            simulator.garbage = b"\xde\xad\xbe\xef" * 4
        elif kind == "exception":
            simulator.memory.refusal = int(amount) or OUT_OF_RANGE
        elif kind == "reboot":
            simulator.reboot(amount or _REBOOT)


def simulate(devices: Mapping[str, S7Device], clock: Clock) -> S7Simulation:
    """All S7 devices of one settings file; the same url is the same controller."""
    return S7Simulation(devices, clock)
