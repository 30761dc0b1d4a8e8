"""Simulated OPC-UA servers (asyncua) that hold the points of a settings file, with faults: for demo, tests, trials.

Devices with the same url are one server. A server offers no security and every policy, with a certificate that it makes
at each start, and takes anonymous users and those of the settings. Nodes hold what ``set`` put there; before that 0.
A method cannot be simulated: settings do not say what it does.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager

from gateway.clock import Clock
from gateway.connectors.opcua.address import Address, Step
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.front import Front
from gateway.connectors.points import Point
from gateway.errors import Rejected
from gateway.message import Value
from gateway.opcua.identity import make
from gateway.opcua.space import make_server, stop_server
from gateway.opcua.stack import status_name, ua

SEVERITY: Final = 30
"""Above these bits of a status code 0 is good, 1 uncertain, 2 bad (OPC 10000-4, section 7.39)."""

FAULTS: Final = ("none", "mute", "late", "garbage", "exception", "reboot")

URI: Final = "urn:edge-gateway:simulated"

SECURE: Final = (
    ua.SecurityPolicyType.NoSecurity,
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
)


class _Users(UserManager):
    """Anonymous, the users of the settings, and any certificate."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = users

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        if username is not None:
            wanted = self._users.get(str(username))
            if wanted is None or not hmac.compare_digest(wanted.encode(), str(password).encode()):
                return None
        return User(role=UserRole.User, name=username)


class Station:
    """One simulated server at one address."""

    def __init__(self, url: str, devices: Mapping[str, OpcuaDevice], clock: Clock) -> None:
        self.devices = devices
        self.front = Front()
        first = next(iter(devices.values()))
        self._url = url
        self._host, self._port = first.endpoint
        self._clock = clock
        self._server: Any = None
        self._nodes: dict[tuple[str, str], Any] = {}
        self._status = ua.StatusCodes.Good
        self._values: dict[tuple[str, str], Any] = {}
        self._reboot: asyncio.Task[None] | None = None
        self._key: tuple[bytes, bytes] | None = None

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._port

    @property
    def server(self) -> Any:
        """asyncua's server."""
        return self._server

    async def start(self) -> None:
        """Be reachable, at the same port as before."""
        users = {one.user: str(one.password) for one in self.devices.values() if one.user is not None}
        server = await make_server(_Users(users), URI, self._url, ("127.0.0.1", 0))
        if any(one.security != "none" or one.user for one in self.devices.values()):
            await self._show_certificate(server)
        else:
            server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        await self._fill(server)
        await server.start()
        self._server = server
        self._port = await self.front.start(self._host, self._port, ("127.0.0.1", server.bserver.port))

    async def _show_certificate(self, server: Any) -> None:
        if self._key is None:
            self._key = await asyncio.to_thread(make, "simulated", self._clock.time(), URI)
        await server.load_certificate(self._key[0])
        await server.load_private_key(self._key[1], format="pem")
        server.set_security_policy(list(SECURE))

    async def stop(self) -> None:
        """Be gone, with all connections."""
        if self._reboot is not None:
            self._reboot.cancel()
            self._reboot = None
        await self.front.stop()
        if self._server is not None:
            server, self._server = self._server, None
            await stop_server(server)

    # -- nodes ---------------------------------------------------------------------------------------------

    async def _fill(self, server: Any) -> None:
        for number in range(2, 1 + max((_index(one) for one in self._points()), default=1)):
            await server.register_namespace(f"urn:edge-gateway:simulated:{number}")
        self._nodes = {}
        for name, device in self.devices.items():
            for point in device.point:
                self._nodes[name, point.name] = await self._add(server, device, point)
                value = self._values.get((name, point.name), _first(point))
                self._put((name, point.name), value, server)

    def _points(self) -> list[OpcuaPoint]:
        return [point for device in self.devices.values() for point in device.point]

    async def _add(self, server: Any, device: OpcuaDevice, point: OpcuaPoint) -> Any:
        steps = point.steps or (Step(0, "Objects"), Step(0, point.name))
        parent = server.nodes.objects
        for step in steps[1:-1]:
            name = ua.QualifiedName(step.name, await self._number(server, device, step.namespace))
            parent = await _child(parent, name)
        number = await self._number(server, device, steps[-1].namespace)
        place = point.place
        if isinstance(place, Address):
            number = await self._number(server, device, place.namespace)
            node_id = ua.NodeId(place.identifier, number)
        else:
            node_id = ua.NodeId(point.node, number)
        if node_id in server.iserver.aspace:
            return server.get_node(node_id)
        added = await parent.add_variable(node_id, ua.QualifiedName(steps[-1].name, number), 0.0)
        if point.write is not None:
            await added.set_writable()
        return added

    @staticmethod
    async def _number(server: Any, device: OpcuaDevice, namespace: int | str) -> int:
        if isinstance(namespace, int):
            return namespace
        return int(await server.register_namespace(device.namespaces.get(namespace, namespace)))

    # -- values --------------------------------------------------------------------------------------------

    def put(self, name: tuple[str, str], value: Any) -> None:
        """What the next question finds, as the node holds it."""
        self._values[name] = value
        self._put(name, value, self._server)

    def _put(self, name: tuple[str, str], value: Any, server: Any) -> None:
        if server is None:
            return
        node = server.iserver.aspace[self._nodes[name].nodeid]
        variant = ua.Variant(value) if not isinstance(value, ua.Variant) else value
        node.attributes[ua.AttributeIds.DataType].value = ua.DataValue(ua.Variant(ua.NodeId(int(variant.VariantType))))
        rank = 1 if variant.is_array else -1
        node.attributes[ua.AttributeIds.ValueRank].value = ua.DataValue(ua.Variant(rank, ua.VariantType.Int32))
        now = datetime.fromtimestamp(self._clock.time(), UTC)
        held = node.attributes[ua.AttributeIds.Value]
        held.value = data = ua.DataValue(variant, ua.StatusCode(self._status), now, now)
        for handle, told in list(held.datachange_callbacks.items()):
            asyncio.get_running_loop().create_task(told(handle, data))

    def held(self, name: tuple[str, str]) -> Any:
        """What the node holds."""
        node = self._server.iserver.aspace[self._nodes[name].nodeid]
        return node.attributes[ua.AttributeIds.Value].value.Value.Value

    # -- faults --------------------------------------------------------------------------------------------

    def fault(self, kind: str, amount: float = 0.0) -> None:
        """See ``simulation.FAULTS``. ``exception`` gives every value the status ``amount``, else BadDeviceFailure.

        Raises ValueError for a status that is good: nobody would see it.
        """
        if kind == "exception" and amount and not int(amount) >> SEVERITY:
            example = f"{int(ua.StatusCodes.BadOutOfService)} (BadOutOfService)"
            raise ValueError(
                f"exception: must be a status code that is not good, such as {example}, or 0 for BadDeviceFailure; "
                f"{int(amount)} is {status_name(int(amount))}"
            )
        self.front.is_mute = kind == "mute"
        self.front.delay = amount if kind == "late" else 0.0
        self.front.is_garbage = kind == "garbage"
        status = int(amount) or ua.StatusCodes.BadDeviceFailure
        self._status = status if kind == "exception" else ua.StatusCodes.Good
        for name in self._nodes:
            self._put(name, self._values.get(name, self.held(name)), self._server)
        if kind == "reboot":
            self._reboot = asyncio.get_running_loop().create_task(self._restart(amount))

    async def _restart(self, seconds: float) -> None:
        await self.front.stop()
        server, self._server = self._server, None
        await stop_server(server)
        self._values.clear()
        await asyncio.sleep(seconds)
        await self.start()


class OpcuaSimulation:
    """Every simulated server of one settings file. See ``connectors.simulation``."""

    def __init__(self, devices: Mapping[str, OpcuaDevice], clock: Clock) -> None:
        grouped: dict[str, dict[str, OpcuaDevice]] = {}
        for name, device in devices.items():
            grouped.setdefault(str(device.endpoint), {})[name] = device
        self.stations = [Station(next(iter(group.values())).address, group, clock) for group in grouped.values()]
        self._of = {name: station for station in self.stations for name in station.devices}
        self._points = {
            (name, point.name): Point(point, device) for name, device in devices.items() for point in device.point
        }
        self._clock = clock

    async def start(self) -> None:
        for station in self.stations:
            await station.start()

    async def stop(self) -> None:
        for station in self.stations:
            await station.stop()

    def set(self, device: str, point: str, value: Value) -> None:
        raw = self._points[device, point].to_device(value)
        try:
            self._of[device].put((device, point), raw)
        except ua.UaError as error:
            raise Rejected(str(error)) from None

    def get(self, device: str, point: str) -> Value:
        raw = self._of[device].held((device, point))
        return self._points[device, point].took(raw, self._clock.time(), self._clock.now()).value

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        if kind not in FAULTS:
            raise ValueError(f"an OPC-UA server has no fault {kind!r}; it has {', '.join(FAULTS)}")
        self._of[device].fault(kind, amount)


def simulate(devices: Mapping[str, OpcuaDevice], clock: Clock) -> OpcuaSimulation:
    """The simulated servers of these devices. Binds nothing yet."""
    return OpcuaSimulation(devices, clock)


def _first(point: OpcuaPoint) -> Any:
    return 0 if point.values or point.bits or point.counter else 0.0


def _index(point: OpcuaPoint) -> int:
    place = point.place
    used = [place.namespace] if isinstance(place, Address) else [step.namespace for step in place]
    return max((one for one in used if isinstance(one, int)), default=0)


async def _child(parent: Any, name: Any) -> Any:
    for child in await parent.get_children():
        if await child.read_browse_name() == name:
            return child
    return await parent.add_object(ua.NodeId(0, name.NamespaceIndex), name)
