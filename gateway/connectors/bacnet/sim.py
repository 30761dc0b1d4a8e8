"""A simulated BACnet/IP device, for the demo, the tests and try-outs.

``Simulator`` is one device on one UDP port: objects (``simobjects.py``), batches, priorities, changes of value.
``simulate`` makes one for each address of some devices' settings, with objects for all their points. It sends no
notification a second time, and takes anybody's commands: it is no example of a good device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, cast

from gateway.clock import Clock
from gateway.connectors.bacnet import answers, services, wire
from gateway.connectors.bacnet.config import BacnetDevice, BacnetPoint
from gateway.connectors.bacnet.names import property_number
from gateway.connectors.bacnet.objects import PRESENT_VALUE, TYPES, WHICHEVER, Object
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.simobjects import (
    OBJECT_LIST,
    STATUS_FLAGS,
    UNKNOWN_OBJECT,
    SimObject,
    device_object,
    identifier,
)
from gateway.connectors.bacnet.simobjects import PRESENT_VALUE as VALUE
from gateway.connectors.bacnet.values import Atom, Flags, decode, encode
from gateway.connectors.bacnet.wire import Message, Remote
from gateway.errors import Malformed
from gateway.message import Value

FAULTS: Final = ("none", "mute", "late", "garbage", "exception", "reboot")

_SUPPORTED: Final = (services.SUBSCRIBE, services.READ, services.READ_MULTIPLE, services.WRITE)
_NO_SEGMENTATION: Final = 4
"""Abort reason: segmentation not supported. The answer is too long."""

_UNRECOGNIZED: Final = 9
_INVALID_TAG: Final = 4
_VENDOR: Final = 999
_REBOOT: Final = 1.0
"""Seconds that a reboot takes unless said otherwise."""


class _Subscriber:
    __slots__ = ("is_confirmed", "object", "until")

    def __init__(self, object: Object, is_confirmed: bool, until: float) -> None:
        self.object = object
        self.is_confirmed = is_confirmed
        self.until = until


class Simulator(asyncio.DatagramProtocol):
    """One device.

    max_apdu  longest answer
    is_mute   answers nothing
    delay     seconds before each answer
    garbage   answers everything with these bytes
    refusal   answers every question with this error
    supported service choices that it knows; ``claims_all``: it says that it knows all
    behind    network and address behind a router; only questions to those are answered, and from there
    acknowledged  changes of value that somebody has acknowledged
    """

    def __init__(self, instance: int = 1, clock: Clock | None = None, max_apdu: int = 1476) -> None:
        self.instance = instance
        self.clock = clock or Clock()
        self.max_apdu = max_apdu
        self.is_mute = False
        self.delay = 0.0
        self.garbage: bytes | None = None
        self.refusal: DeviceError | None = None
        self.supported: set[int] = set(_SUPPORTED)
        self.claims_all = False
        self.acknowledged = 0
        self.behind: tuple[int, bytes] | None = None
        self.objects: dict[Object, SimObject] = {}
        self.subscribers: dict[tuple[Remote, int], _Subscriber] = {}
        self.questions: dict[int, int] = {}
        self._away_until = 0.0
        self._number = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Bind; the port that was bound."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, port))
        assert self._transport is not None
        bound: int = self._transport.get_extra_info("sockname")[1]
        return bound

    async def stop(self) -> None:
        """Close the socket, and forget who listened."""
        self.subscribers.clear()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)  # the socket is closed in the next turn of the loop

    def object(self, object: Object, name: str = "") -> SimObject:
        """An object; made on first use."""
        if object not in self.objects:
            self.objects[object] = SimObject(object, name or str(object))
        return self.objects[object]

    def heal(self) -> None:
        """No fault any more."""
        self.is_mute = False
        self.delay = self._away_until = 0.0
        self.garbage = self.refusal = None

    def reboot(self, seconds: float) -> None:
        """Forget commands and subscriptions, and be away for a while."""
        self._away_until = self.clock.now() + seconds
        self.subscribers.clear()
        for object in self.objects.values():
            object.reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # uvloop's is none by its class

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.is_mute or self.clock.now() < self._away_until:
            return
        try:
            heard = wire.parse(data, *addr)
            if heard is None or not self._is_for_me(data):
                return
            remote, message = heard
            answer = self._answer(remote, message)
        except Malformed:
            return
        if answer is not None:
            self._send(remote, answer)
            if message.service == services.SUBSCRIBE and answer.kind == wire.SIMPLE_ACK:
                # The standard: whoever subscribes is told the value at once.
                self._tell_all(answers.subscribe(message.body).object)

    def _is_for_me(self, data: bytes) -> bool:
        """Whether the network and address that a router would look at are those of this device."""
        if self.behind is None:
            return True
        network, mac = self.behind
        return data[6:].startswith(network.to_bytes(2) + bytes((len(mac),)) + mac)

    def _answer(self, remote: Remote, message: Message) -> Message | None:
        if message.kind == wire.UNCONFIRMED:
            return self._who_is(message) if message.service == services.WHO_IS else None
        if message.kind != wire.REQUEST:
            self.acknowledged += message.kind == wire.SIMPLE_ACK
            return None
        number, service = message.number, message.service
        self.questions[service] = self.questions.get(service, 0) + 1
        if service not in self.supported:
            return Message(wire.REJECT, number, _UNRECOGNIZED)
        try:
            if self.refusal is not None:
                raise self.refusal
            body = self._serve(remote, service, message.body)
        except DeviceError as error:
            return Message(wire.ERROR, number, service, answers.error(error))
        except Malformed:
            return Message(wire.REJECT, number, _INVALID_TAG)
        if body is None:
            return Message(wire.SIMPLE_ACK, number, service)
        if len(body) + 3 > self.max_apdu:
            return Message(wire.ABORT, number, _NO_SEGMENTATION)
        return Message(wire.COMPLEX_ACK, number, service, body)

    def _who_is(self, message: Message) -> Message | None:
        asked = answers.who_is(message.body)
        if asked is not None and not asked[0] <= self.instance <= asked[1]:
            return None
        body = answers.i_am(self.instance, self.max_apdu, _VENDOR)
        return Message(wire.UNCONFIRMED, -1, services.I_AM, body)

    def _serve(self, remote: Remote, service: int, body: bytes) -> bytes | None:
        """The body of the answer; None for a plain yes. Raises DeviceError, Malformed."""
        if service == services.READ:
            reference = answers.read(body)
            return answers.read_answer(reference, self._read(reference))
        if service == services.READ_MULTIPLE:
            found: list[tuple[Reference, Sequence[Atom] | DeviceError]] = []
            for reference in answers.read_multiple(body):
                try:
                    found.append((reference, self._read(reference)))
                except DeviceError as error:
                    found.append((reference, error))
            return answers.read_multiple_answer(found)
        if service == services.WRITE:
            reference, atoms, priority = answers.write(body)
            self._find(reference.object).write(reference, atoms, priority)
            self._tell_all(reference.object)
            return None
        wish = answers.subscribe(body)
        self._find(wish.object)
        if wish.lifetime is None:
            self.subscribers.pop((remote, wish.process), None)
        else:
            until = self.clock.now() + wish.lifetime
            self.subscribers[remote, wish.process] = _Subscriber(wish.object, wish.is_confirmed, until)
        return None

    def _find(self, object: Object) -> SimObject:
        if object.type == TYPES["device"] and object.instance in (self.instance, WHICHEVER):
            one = device_object(
                self.instance, self.max_apdu, [self.claims_all or bit in self.supported for bit in _BITS], _VENDOR
            )
            one.properties[OBJECT_LIST] = tuple(map(identifier, [one.object, *self.objects]))
            return one
        if object not in self.objects:
            raise DeviceError(*UNKNOWN_OBJECT)
        return self.objects[object]

    def _read(self, reference: Reference) -> tuple[Atom, ...]:
        return self._find(reference.object).read(reference.property, reference.element)

    def _tell_all(self, object: Object) -> None:
        """Tell those who have subscribed ``object``, while they live."""
        now = self.clock.now()
        for (remote, process), one in list(self.subscribers.items()):
            if one.until <= now:
                del self.subscribers[remote, process]
            elif one.object == object:
                left = int(one.until - now)
                values = [(number, self.objects[object].read(number, None)) for number in (VALUE, STATUS_FLAGS)]
                body = answers.change(process, self.instance, object, left, values)
                self._number = (self._number + 1) % 256
                confirmed = Message(wire.REQUEST, self._number, services.CONFIRMED_COV, body)
                plain = Message(wire.UNCONFIRMED, -1, services.UNCONFIRMED_COV, body)
                self._send(remote, confirmed if one.is_confirmed else plain)

    def changed(self, object: Object) -> None:
        """Somebody at the device has put another value there."""
        if not self.is_mute and self.clock.now() >= self._away_until:
            self._tell_all(object)

    def _send(self, remote: Remote, message: Message) -> None:
        datagram = self.garbage or wire.datagram(message, remote, source=self.behind)
        if self.delay > 0:
            asyncio.get_running_loop().call_later(self.delay, self._put, remote, datagram)
        else:
            self._put(remote, datagram)

    def _put(self, remote: Remote, datagram: bytes) -> None:
        if self._transport is not None:
            self._transport.sendto(datagram, (remote.host, remote.port))


_BIT_SERVICES: Final = {5: services.SUBSCRIBE, 12: services.READ, 14: services.READ_MULTIPLE, 15: services.WRITE}
_BITS: Final = [_BIT_SERVICES.get(bit, -1) for bit in range(40)]
"""The supported services by their bit (BACnetServicesSupported)."""


class BacnetSimulation:
    """A device for each address of ``devices``, with objects for all their points."""

    def __init__(self, devices: Mapping[str, BacnetDevice], clock: Clock) -> None:
        self._devices = devices
        self._points = {(name, point.name): point for name, device in devices.items() for point in device.point}
        self.simulators: dict[tuple[str, int], Simulator] = {}
        for device in devices.values():
            remote, instance = device.endpoint.remote, device.endpoint.instance
            key = (remote.host, remote.port)
            simulator = self.simulators.setdefault(key, Simulator(1 if instance is None else instance, clock))
            if remote.network:
                simulator.behind = (remote.network, remote.mac)
            for point in device.point:
                one = simulator.object(point.place, point.name)
                if point.property != PRESENT_VALUE:
                    number = property_number(point.property)
                    one.properties.setdefault(number, (encode(0, point.kind or "real"),))

    async def start(self) -> None:
        """Bind every address. Raises OSError when one is taken."""
        for (host, port), simulator in self.simulators.items():
            await simulator.start(host, port)

    async def stop(self) -> None:
        """Close all sockets."""
        for simulator in self.simulators.values():
            await simulator.stop()

    @property
    def connections(self) -> int:
        """Those who have subscribed."""
        return sum(len(simulator.subscribers) for simulator in self.simulators.values())

    def simulator(self, device: str) -> Simulator:
        """The one that plays ``device``."""
        remote = self._devices[device].endpoint.remote
        return self.simulators[remote.host, remote.port]

    def set(self, device: str, point: str, value: Value) -> None:
        """Put a value, in the point's unit, into the object. Raises KeyError, Rejected."""
        settings = self._points[device, point]
        simulator = self.simulator(device)
        one = simulator.objects[settings.place]
        raw = settings.shape().raw(value)
        if settings.property == PRESENT_VALUE:
            one.put(encode(raw, one.kind or "real"))
            simulator.changed(settings.place)
        else:
            one.properties[property_number(settings.property)] = (encode(raw, _kind_of(settings, raw)),)

    def get(self, device: str, point: str) -> Value:
        """What the object holds, in the point's unit. Raises KeyError, ValueError."""
        settings = self._points[device, point]
        one = self.simulator(device).objects[settings.place]
        raw = decode(one.read(property_number(settings.property), settings.index), settings.kind == "binary")
        shape = settings.shape()
        return shape.value(shape.part(raw))

    def flag(self, device: str, point: str, flags: Flags, reliability: int = 0) -> None:
        """Set status flags and reliability of the point's object."""
        settings = self._points[device, point]
        simulator = self.simulator(device)
        one = simulator.objects[settings.place]
        one.flags, one.reliability = flags, reliability
        simulator.changed(settings.place)

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        """Switch a fault of the device; ``none`` ends all. late: seconds; exception: number of an error code; reboot:
        seconds it takes. Raises ValueError for a fault that it has not."""
        simulator = self.simulator(device)
        if kind not in FAULTS:
            raise ValueError(f"a BACnet device has the faults {', '.join(FAULTS)}, not {kind}")
        simulator.heal()
        if kind == "mute":
            simulator.is_mute = True
        elif kind == "late":
            simulator.delay = amount
        elif kind == "garbage":
            simulator.garbage = b"\xde\xad\xbe\xef" * 4
        elif kind == "exception":
            simulator.refusal = DeviceError("device", answers.error_name(int(amount) or 25))
        elif kind == "reboot":
            simulator.reboot(amount or _REBOOT)


def _kind_of(point: BacnetPoint, raw: Value) -> str:
    if point.kind is not None:
        return point.kind
    return "text" if isinstance(raw, str) else "boolean" if isinstance(raw, bool) else "real"


def simulate(devices: Mapping[str, BacnetDevice], clock: Clock) -> BacnetSimulation:
    """All BACnet devices of one settings file; the same address is the same device."""
    return BacnetSimulation(devices, clock)
