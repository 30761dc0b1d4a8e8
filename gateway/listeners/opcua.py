"""The OPC-UA server: shows the last values of points to OPC-UA clients, and carries their writes to the command desks.

A subscriber of the broker like any other: what it is given it keeps nothing of but the last value. A write becomes a
command at ``<topic>/set``, so that limits, interlocks and the journal are those of every other command; its answer is
waited for a moment, and the status of the write is that of the command.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import socket
import uuid
from collections.abc import Callable
from typing import Any, Final

from asyncua.common.connection import TransportLimits
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AttributeService
from asyncua.server.user_managers import UserManager

from gateway.broker.port import Done, Subscriber
from gateway.clock import Clock
from gateway.config.opcua import OpcuaListener as Settings
from gateway.errors import GatewayError, Retry
from gateway.listeners.base import OnDevices, Plant
from gateway.listeners.opcua_nodes import Nodes, Point
from gateway.listeners.pool import Pool
from gateway.message import Message, Value
from gateway.mqtt.server import MqttServer
from gateway.opcua import identity
from gateway.opcua.space import make_server, stop_server
from gateway.opcua.stack import ua
from gateway.opcua.trust import TrustList
from gateway.topic import matches

log = logging.getLogger("gateway")

WRITE_WAIT: Final = 2.0
"""Seconds for a command's answer. After it the client is told that the write goes on."""

MOST_WRITES: Final = 100
"""Writes in one request."""

LARGEST_MESSAGE: Final = 4 * 1024 * 1024
"""Bytes of a client's message."""

CHUNK: Final = 65_535

RESULTS: Final = {
    "done": ua.StatusCodes.Good,
    "rejected": ua.StatusCodes.BadOutOfRange,
    "expired": ua.StatusCodes.BadTimeout,
    "failed": ua.StatusCodes.BadCommunicationError,
}
"""Status of a command to the status of the write."""

_TYPES: Final = {
    "Basic256Sha256": (
        ua.SecurityPolicyType.Basic256Sha256_Sign,
        ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ),
    "Aes128_Sha256_RsaOaep": (
        ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
        ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ),
    "Aes256_Sha256_RsaPss": (
        ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
        ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
    ),
    "none": (ua.SecurityPolicyType.NoSecurity,),
}


class OpcuaListener(OnDevices, Subscriber):
    """One OPC-UA server. ``run`` is its life; it raises Retry when the address cannot be bound now."""

    def __init__(
        self, name: str, settings: Settings, server: MqttServer, clock: Clock, pool: Pool, *, plant: Plant
    ) -> None:
        self.name = name
        self.settings = settings
        self.bound: list[str] = []
        self._broker = server.broker
        self._metrics = server.metrics
        self._clock = clock
        self._state = plant.state
        self._nodes = Nodes(_points(settings, plant), settings.max_nodes)
        self._server: Any = None
        self._wake = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._results = _Results(self._waiting)
        self._writes = 0
        self._refused: set[str] = set()

    def reload(self) -> bool:
        """The trust list is read at every connection; there is nothing to do."""
        return True

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self, up: Callable[[], None]) -> None:
        settings = self.settings
        host, port = settings.address.host, settings.address.port
        try:
            server = await self._make(host, port)
        except GatewayError as error:
            raise Retry(str(error)) from None
        await self._nodes.open(server)
        try:
            await server.start()
        except OSError as error:
            await stop_server(server)
            raise Retry(f"cannot listen on {settings.bind}: {os.strerror(error.errno or 0)}") from None
        self._server = server
        self.bound = [f"{host}:{server.bserver.port}"]
        results = [f"{topic}/set/result" for topic in self._nodes.writable()]
        try:
            for pattern in settings.topics:
                self._broker.subscribe(pattern, self)
            for pattern in results:
                self._broker.subscribe(pattern, self._results)
            for pattern in settings.topics:
                for message in self._broker.retained(pattern):
                    self.deliver(message, None)
            up()
            await self._show()
        finally:
            for pattern in settings.topics:
                self._broker.unsubscribe(pattern, self)
            for pattern in results:
                self._broker.unsubscribe(pattern, self._results)
            self.bound = []
            self._server = None
            await stop_server(server)

    async def _make(self, host: str, port: int) -> Any:
        settings = self.settings
        is_secure = settings.security != ("none",)
        own = await asyncio.to_thread(self._own) if is_secure else None
        uri = own.uri if own is not None else f"urn:{socket.gethostname()}:edge-gateway"
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        url = f"opc.tcp://{f'[{name}]' if ':' in name else name}:{port}/"
        server = await make_server(_Users(settings), uri, url, (host, port), guard=self._guard)
        if own is not None:
            await server.load_certificate(own.certificate)
            await server.load_private_key(own.key, format="pem")
        server.set_security_policy([kind for policy in settings.security for kind in _TYPES[policy]])
        tokens = [ua.AnonymousIdentityToken] if settings.lets_anonymous_in else []
        server.set_identity_tokens([*tokens, *([ua.UserNameIdentityToken] if settings.user else [])])
        server.limits = TransportLimits(CHUNK, CHUNK, LARGEST_MESSAGE // CHUNK + 1, LARGEST_MESSAGE)
        internal = server.iserver
        internal.max_connections = settings.max_sessions
        internal.max_subscriptions = settings.max_sessions * 10
        internal.max_monitored_item_queue_size = 100
        internal.attribute_service = _Attributes(internal.aspace, self._write)
        return server

    def _own(self) -> identity.Identity:
        return identity.own(self._state, socket.gethostname(), self._clock.time())

    def _guard(self, certificate: bytes) -> str | None:
        """Why a client's certificate is not accepted; logged once for each."""
        refusal = TrustList(self._state).refusal(certificate, self._clock.time())
        if refusal and refusal not in self._refused and len(self._refused) < 100:
            self._refused.add(refusal)
            log.warning("client not trusted", extra={"listener": self.name, "reason": refusal})
        return refusal

    # -- values ------------------------------------------------------------------------------------------

    def deliver(self, message: Message, done: Done | None) -> bool:
        if self._nodes.take(message, self._clock.time()):
            self._wake.set()
        return False

    def keeps(self) -> bool:
        return False

    async def _show(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._nodes.flush()
            # What comes together is shown together, and the loop is for others too.
            await asyncio.sleep(0.05)

    # -- writes ------------------------------------------------------------------------------------------

    async def _write(self, item: Any, user: Any) -> int:
        """The status code of one write by a client."""
        topic = self._nodes.topic_of(item.NodeId)
        if topic is None:
            return int(ua.StatusCodes.BadNodeIdUnknown)
        if item.AttributeId != ua.AttributeIds.Value or not self._nodes.is_writable(topic):
            return int(ua.StatusCodes.BadNotWritable)
        if not self._may_write(user):
            return int(ua.StatusCodes.BadUserAccessDenied)
        if item.IndexRange or (item.Value.StatusCode is not None and item.Value.StatusCode.value):
            return int(ua.StatusCodes.BadWriteNotSupported)
        value = _plain(item.Value.Value.Value if item.Value.Value is not None else None)
        if value is None:
            return int(ua.StatusCodes.BadTypeMismatch)
        return await self._command(topic, value)

    def _may_write(self, user: Any) -> bool:
        return any(one.name == user.name and one.write for one in self.settings.user)

    async def _command(self, topic: str, value: Value) -> int:
        id = uuid.uuid4().hex
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[id] = answered
        self._writes += 1
        command = {"id": id, "value": value}
        source = f"listener:{self.name}"
        try:
            self._broker.publish(Message(f"{topic}/set", qos=1, time=self._clock.time(), source=source, value=command))
            async with asyncio.timeout(WRITE_WAIT):
                status = await answered
        except TimeoutError:
            return int(ua.StatusCodes.GoodCompletesAsynchronously)
        finally:
            del self._waiting[id]
        return int(RESULTS.get(status, ua.StatusCodes.BadCommunicationError))

    def status(self) -> dict[str, Any]:
        """Where it listens, its clients, nodes shown and left out, writes taken."""
        server = self._server
        return {
            "bound": self.bound,
            "tls": self.settings.security != ("none",),
            "connections": len(server.bserver.clients) if server is not None and server.bserver is not None else 0,
            "nodes": len(self._nodes),
            "left_out": self._nodes.left_out,
            "writes": self._writes,
        }


class _Results(Subscriber):
    """Hears the answers to commands and hands them to those who wait for them."""

    def __init__(self, waiting: dict[str, asyncio.Future[str]]) -> None:
        self._waiting = waiting

    def deliver(self, message: Message, done: Done | None) -> bool:
        value = message.value
        if isinstance(value, dict):
            answered = self._waiting.get(str(value.get("id")))
            if answered is not None and not answered.done():
                answered.set_result(str(value.get("status")))
        return False

    def keeps(self) -> bool:
        return False


class _Users(UserManager):
    """Who may log in. (asyncua's own manager makes anybody an administrator who says that he is "admin".)"""

    def __init__(self, settings: Settings) -> None:
        self._anonymous = settings.lets_anonymous_in
        self._passwords = {user.name: str(user.password) for user in settings.user}

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        if username is None:
            return User(role=UserRole.User, name=None) if self._anonymous else None
        wanted = self._passwords.get(str(username))
        # Compared also for a name that is not there: the time to an answer must not tell.
        is_right = hmac.compare_digest((wanted or "").encode(), str(password or "").encode())
        return User(role=UserRole.User, name=str(username)) if wanted is not None and is_right else None


class _Attributes(AttributeService):
    """Writes of clients go to ``write``; those of the server itself are asyncua's."""

    def __init__(self, space: Any, write: Callable[[Any, Any], Any]) -> None:
        super().__init__(space)
        self._write_one = write

    async def write(self, params: Any, user: Any = User(role=UserRole.Admin)) -> list[Any]:  # noqa: B008
        if user.role == UserRole.Admin:
            found: list[Any] = await super().write(params, user)
            return found
        if len(params.NodesToWrite) > MOST_WRITES:
            raise ua.uaerrors.BadTooManyOperations
        return [ua.StatusCode(await self._write_one(item, user)) for item in params.NodesToWrite]


def _points(settings: Settings, plant: Plant) -> dict[str, Point]:
    """The points of the devices that are shown, by topic."""
    found: dict[str, Point] = {}
    for name, device in plant.devices.items():
        for point in device.point:
            topic = f"{device.topic or name}/{point.name}"
            if any(matches(pattern, topic) for pattern in settings.topics):
                found[topic] = Point(point.unit, point.write is not None)
    return found


def _plain(value: Any) -> Value:
    """A written value as JSON knows it; None for what a command cannot carry."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(one, bool | int | float | str) for one in value):
        return list(value)
    return None
