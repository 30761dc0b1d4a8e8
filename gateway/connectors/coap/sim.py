"""Simulated CoAP devices: a server for each address that the settings name, with the resources of their points.

They answer GET and PUT, tell observers of what ``set`` and PUT change, send large answers in blocks, and list
themselves at ``/.well-known/core``. No example of a good device: they do not check who writes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Mapping
from typing import Any, Final

import aiocoap
from aiocoap import resource as theirs
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.codes import Code
from aiocoap.protocol import Context
from aiocoap.tokenmanager import TokenManager
from aiocoap.transports.udp6 import MessageInterfaceUDP6

from gateway.clock import Clock
from gateway.connectors.coap import senml, tlv
from gateway.connectors.coap.config import CONTENTS, CoapDevice, CoapPoint, Endpoint
from gateway.connectors.coap.decode import Reading, readings
from gateway.connectors.points import Point
from gateway.errors import Rejected
from gateway.message import Value

KINDS: Final = ("none", "mute", "late", "garbage", "exception", "reboot")

LOGGER: Final = "gateway.connectors.coap.sim"

REMEMBERED: Final = 16
"""Requests whose repeats a device knows."""

_DEFAULT: Final = {"auto": 0, "number": 0, "int": 0, "float": 0.0, "bool": False, "text": ""}


class _Device:
    """One device: what its points hold, raw, and what is wrong with it. ``frozen``: keeps its values on PUT."""

    def __init__(self, config: CoapDevice) -> None:
        self.points = {point.name: (point, Point(point, config)) for point in config.point}
        self.fault, self.amount = "none", 0.0
        self.frozen = False
        self.resources: dict[tuple[str, ...], _Resource] = {}
        self.forget()

    def forget(self) -> None:
        self.raw: dict[str, Value] = {name: _DEFAULT[point.type] for name, (point, _) in self.points.items()}

    def of(self, path: tuple[str, ...]) -> list[CoapPoint]:
        """The points whose values are read at a path."""
        return [point for point, _ in self.points.values() if point.resource.path == path]


class _Resource(theirs.ObservableResource):  # type: ignore[misc]
    """One path of one device."""

    def __init__(self, device: _Device, path: tuple[str, ...], clock: Clock) -> None:
        super().__init__()
        self.device, self.path, self.clock = device, path, clock

    async def render_get(self, request: Any) -> Any:
        device = self.device
        if device.fault == "late":
            await asyncio.sleep(device.amount)
        if device.fault == "exception":
            return aiocoap.Message(code=_code(device.amount))
        if device.fault == "garbage":
            return aiocoap.Message(payload=b"\xff\xfe\x00garbage", content_format=CONTENTS["json"])
        points = device.of(self.path)
        payload, number = _answer(points, device.raw)
        return aiocoap.Message(payload=payload, content_format=number)

    async def render_put(self, request: Any) -> Any:
        device = self.device
        if device.fault == "late":
            await asyncio.sleep(device.amount)
        if device.fault == "exception":
            return aiocoap.Message(code=_code(device.amount))
        has = request.opt.content_format
        targets = [point for point, _ in device.points.values() if point.target.path == self.path]
        time = self.clock.time()
        found = readings(targets, request.payload, None if has is None else int(has), time)
        good: list[Reading] = [one for one in found if not one.problem]
        if not good:
            return aiocoap.Message(code=aiocoap.BAD_REQUEST)
        if not device.frozen:
            for one in good:
                device.raw[one.point] = one.value
                device.resources[device.points[one.point][0].resource.path].updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


class _Context(Context):  # type: ignore[misc]
    """Answers what is short at once: aiocoap makes a task, two pipes and a long name for every request."""

    def render_to_pipe(self, pipe: Any) -> None:
        request = pipe.request
        found = self.serversite.short(request)
        if found is None:
            super().render_to_pipe(pipe)
        else:
            pipe.add_response(found, is_last=True)


class _Site(theirs.Site):  # type: ignore[misc]
    """The resources of all devices at one address."""

    def short(self, request: Any) -> Any:
        """The answer to a plain GET of a small value; None for all that aiocoap has to look after."""
        opt = request.opt
        if request.code != aiocoap.GET or opt.observe is not None or opt.block2 is not None:
            return None
        found = self._resources.get(opt.uri_path)
        if not isinstance(found, _Resource) or found.device.fault != "none":
            return None
        payload, number = _answer(found.device.of(found.path), found.device.raw)
        if len(payload) > 1024:
            return None
        return aiocoap.Message(code=aiocoap.CONTENT, payload=payload, content_format=number)


class _Messages(MessageManager):  # type: ignore[misc]
    """The message layer of a device that may be mute, and remembers its last few requests only, as small ones do."""

    is_mute = False

    def _deduplicate_message(self, message: Any) -> bool:
        key = (message.remote, message.mid)
        if key in self._recent_messages:
            answer = self._recent_messages[key]
            if answer is not None:
                self._send_initially(answer)
            return True
        self._recent_messages[key] = None
        if len(self._recent_messages) > REMEMBERED:
            del self._recent_messages[next(iter(self._recent_messages))]
        return False

    def dispatch_message(self, message: Any) -> None:
        if not self.is_mute:
            super().dispatch_message(message)


class _Server:
    """One address, which several devices may share."""

    def __init__(self, endpoint: Endpoint, devices: list[_Device], clock: Clock) -> None:
        self.endpoint = endpoint
        self.devices = devices
        self._clock = clock
        self._context: Any = None
        self._messages: _Messages | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        family, _, _, _, name = (
            await loop.getaddrinfo(self.endpoint.host, self.endpoint.port, type=socket.SOCK_DGRAM)
        )[0]
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(name if family == socket.AF_INET6 else (f"::ffff:{name[0]}", name[1], 0, 0))
        except OSError:
            sock.close()
            raise
        context = _Context(loop=loop, serversite=self._site(), loggername=LOGGER)
        logging.getLogger(LOGGER).setLevel(logging.CRITICAL)
        tokens = TokenManager(context)
        self._messages = messages = _Messages(tokens)
        messages.message_interface = await MessageInterfaceUDP6._create_transport_endpoint(
            sock, messages, context.log, loop
        )
        tokens.token_interface = messages
        context.request_interfaces.append(tokens)
        self._context = context
        self.told()

    def _site(self) -> Any:
        site = _Site()
        site.add_resource((".well-known", "core"), theirs.WKCResource(site.get_resources_as_linkheader))
        for device in self.devices:
            paths = {place for point, _ in device.points.values() for place in (point.resource.path, point.target.path)}
            for path in sorted(paths):
                device.resources[path] = _Resource(device, path, self._clock)
                site.add_resource(path, device.resources[path])
        return site

    def told(self) -> None:
        """A fault has changed."""
        if self._messages is not None:
            self._messages.is_mute = any(device.fault == "mute" for device in self.devices)

    async def stop(self) -> None:
        if self._context is not None:
            context, self._context, self._messages = self._context, None, None
            await context.shutdown()


class CoapSimulation:
    """All CoAP devices of one settings file; see ``connectors.simulation``."""

    def __init__(self, devices: Mapping[str, CoapDevice], clock: Clock) -> None:
        self._devices = {name: _Device(config) for name, config in devices.items()}
        self._servers: dict[Endpoint, _Server] = {}
        for name, config in devices.items():
            server = self._servers.setdefault(config.endpoint, _Server(config.endpoint, [], clock))
            server.devices.append(self._devices[name])
        self._clock = clock
        self._reboots: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind every address. Raises OSError."""
        try:
            for server in self._servers.values():
                await server.start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close them all."""
        for task in list(self._reboots):
            task.cancel()
        await asyncio.gather(*self._reboots, return_exceptions=True)
        for server in self._servers.values():
            await server.stop()

    def set(self, device: str, point: str, value: Value) -> None:
        """The device holds ``value`` from now on, and tells its observers. Raises Rejected."""
        one = self._devices[device]
        settings, live = one.points[point]
        raw = live.to_device(value)
        if raw is None:
            raise Rejected("a point of a CoAP device always has a value")
        one.raw[point] = raw
        resource = one.resources.get(settings.resource.path)
        if resource is not None:
            resource.updated_state()

    def get(self, device: str, point: str) -> Value:
        """What it holds, as the gateway would publish it."""
        one = self._devices[device]
        return one.points[point][1].took(one.raw[point], self._clock.time(), self._clock.now()).value

    def freeze(self, device: str, is_frozen: bool) -> None:
        """Let it say yes to a write and keep its value."""
        self._devices[device].frozen = is_frozen

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        """See ``connectors.simulation.FAULTS``. ``exception``: ``amount`` is the code, as 4.04 or 5.03."""
        if kind not in KINDS:
            raise ValueError(f"a simulated CoAP device can be {', '.join(KINDS)}, not {kind}")
        one = self._devices[device]
        server = next(each for each in self._servers.values() if one in each.devices)
        if kind == "reboot":
            task = asyncio.get_running_loop().create_task(self._reboot(server, one, amount))
            self._reboots.add(task)
            task.add_done_callback(self._reboots.discard)
            kind = "none"
        one.fault, one.amount = kind, amount
        server.told()

    async def _reboot(self, server: _Server, device: _Device, seconds: float) -> None:
        await server.stop()
        device.forget()
        await asyncio.sleep(seconds)
        await server.start()


def simulate(devices: Mapping[str, CoapDevice], clock: Clock) -> CoapSimulation:
    """The simulation of all CoAP devices of a settings file."""
    return CoapSimulation(devices, clock)


def _code(amount: float) -> Code:
    """4.04 as the number that is on the wire; without one 5.00."""
    if not amount:
        return Code(0xA0)
    return Code(int(amount) << 5 | round(amount % 1 * 100))


def _answer(points: list[CoapPoint], raw: Mapping[str, Value]) -> tuple[bytes, int]:
    """All points of one resource in its content format."""
    if not points:
        return b"", 0  # it is only written
    contents = [point.content for point in points if point.content != "auto"]
    first = points[0]
    content = contents[0] if contents else "json" if first.field else "text"
    number = CONTENTS[content]
    if content in ("senml-json", "senml-cbor"):
        pack = [
            one for point in points for one in senml.pack(point.field or "", raw[point.name], content.endswith("cbor"))
        ]
        return _dumps(pack, content.endswith("cbor")), number
    if content == "tlv":
        pieces = []
        for point in points:
            last = (point.field or first.resource.path[-1]).rpartition("/")[2]
            pieces.append(tlv.encode(int(last), raw[point.name], point.type))  # type: ignore[arg-type]
        return b"".join(pieces), number
    if content in ("json", "cbor"):
        whole: Any = {}
        for point in points:
            whole = _into(whole, point.field, raw[point.name])
        return _dumps(whole, content == "cbor"), number
    value = raw[first.name]
    if content == "octets":
        return bytes.fromhex(str(value)), number
    return (value if isinstance(value, str) else json.dumps(value)).encode(), number


def _into(whole: Any, pointer: str | None, value: Value) -> Any:
    if not pointer:
        return value
    at, parts = whole, pointer.split("/")[1:]
    for part in parts[:-1]:
        at = at.setdefault(part, {})
    at[parts[-1]] = value
    return whole


def _dumps(value: Any, is_cbor: bool) -> bytes:
    if not is_cbor:
        return json.dumps(value).encode()
    import cbor2

    return bytes(cbor2.dumps(value))
