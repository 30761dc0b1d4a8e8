"""What every listener on a stream socket is: bind, accept within bounds, put the layers together, close in order."""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from gateway.clock import Clock
from gateway.config.listener import SocketListener as SocketSettings
from gateway.errors import Retry
from gateway.listeners import bind, tls
from gateway.listeners.accept import Acceptor, address_text, peer_text
from gateway.listeners.bind import inode, listen
from gateway.listeners.certificates import Certificates
from gateway.listeners.gate import Gate
from gateway.listeners.layer import Layer, Stack
from gateway.listeners.pool import Pool
from gateway.listeners.proxy import ProxyLayer
from gateway.listeners.shell import LayeredShell, Shell
from gateway.listeners.tls import BadCertificate, TlsLayer
from gateway.mqtt.server import MqttServer

S = TypeVar("S", bound=SocketSettings)

RESERVED_FILES: Final = 64
"""Open files that connections leave to the rest of the gateway: database, devices, uplinks, status."""


class Plant(NamedTuple):
    """What a listener that shows devices is told: their settings, and where it may keep what outlives a restart."""

    state: Path
    devices: Mapping[str, Any]


class OnDevices:
    """A listener of this class is made with ``plant`` besides."""


class SocketListener(Generic[S]):
    """One bound address. ``run`` is its life; it raises Retry when the address cannot be bound now.

    shells  its sockets, from accept to close
    gate    those that are still in their handshake
    local   everybody who connects is on this machine
    """

    def __init__(self, name: str, settings: S, server: MqttServer, clock: Clock, pool: Pool) -> None:
        self.name = name
        self.settings = settings
        self.server = server
        self.clock = clock
        self.pool = pool
        self.local = settings.is_local
        self.shells: set[Shell] = set()
        self.bound: list[str] = []
        self.loop: asyncio.AbstractEventLoop
        self.gate: Gate
        self._certificates: Certificates | None = None
        self._proxies = [ipaddress.ip_network(one) for one in settings.proxy_from] if settings.proxy else []
        self._last_file = 0

    @classmethod
    def check(cls, settings: S) -> Iterator[tuple[str, str]]:
        """Files and folders that cannot be used, before anything is bound."""
        yield from bind.problems(settings)
        if settings.tls is not None:
            yield from tls.problems(settings.tls)

    def layers(self) -> list[Layer]:
        """What stands between a new socket and MQTT, the socket's side first."""
        layers: list[Layer] = []
        if self.settings.proxy:
            layers.append(ProxyLayer())
        if self.settings.tls is not None and self._certificates is not None:
            layers.append(TlsLayer(self._certificates.context(self.clock.now()), self.settings.tls.identity))
        return layers

    def reload(self) -> bool:
        """Read the certificates again, for connections to come; those that are open stay. False: a file cannot be
        used, and what was read before stays. Files that change are found without it, within a second."""
        return self._certificates is None or self._certificates.reload()

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self, up: Callable[[], None]) -> None:
        """Bind, accept, and on cancellation close everything that was accepted."""
        self.loop = asyncio.get_running_loop()
        metrics, settings = self.server.metrics, self.settings
        if settings.tls is not None:
            try:
                self._certificates = Certificates(self.name, settings.tls, metrics)
            except BadCertificate as error:
                raise Retry(str(error)) from None
        sockets = await listen(self.loop, settings)
        path = settings.address.path
        our_file = inode(path) if path else None
        self._last_file = _file_bound()
        self.gate = Gate(self.loop, settings.max_handshakes, settings.handshake_timeout, metrics)
        self.bound = [f"unix:{path}" if path else address_text(one.getsockname()) for one in sockets]
        acceptors = [Acceptor(self.loop, one, self._adopt, metrics) for one in sockets]
        up()
        try:
            await asyncio.Event().wait()
        finally:
            for acceptor in acceptors:
                acceptor.close()
            if path and inode(path) == our_file:
                bind.remove(path)
            self.bound = []
            await self._close_all()

    async def _close_all(self) -> None:
        """Flush last words, then give clients a moment to read them."""
        self.gate.close()
        for shell in list(self.shells):
            shell.flush()
        for _ in range(20):
            if not self.shells:
                break
            await asyncio.sleep(0.025)
        for shell in list(self.shells):
            shell.drop()
        await asyncio.sleep(0)

    # -- new connections -----------------------------------------------------------------------------------

    def _adopt(self, sock: socket.socket, name: Any) -> None:
        refusal = self._refusal(sock, name)
        if refusal:
            self.server.metrics.count(refusal)
            sock.close()
            return
        address, layers = peer_text(sock, name), self.layers()
        shell = LayeredShell(self, sock, address, Stack(layers)) if layers else Shell(self, sock, address)
        self.shells.add(shell)
        shell.begin()

    def read_clock(self) -> None:
        """Bring the server's clock up to date, outside a turn of the pool."""
        clock = self.server.clock
        clock.now = self.clock.now()
        clock.time = self.clock.time()

    def _refusal(self, sock: socket.socket, name: Any) -> str:
        """The count that says why this connection is closed at once; empty when it is not."""
        if (
            len(self.shells) >= self.settings.max_connections
            or len(self.server.connections) >= self.server.limits.max_sessions + 100
            # The system gives the lowest free number: a high one says that all below are taken.
            or sock.fileno() >= self._last_file
        ):
            return "connects_refused"
        if sock.family == socket.AF_UNIX:
            return ""
        if self._proxies:
            address = ipaddress.ip_address(name[0].partition("%")[0])
            if not any(address in network for network in self._proxies):
                return "proxy_refused"
        # Behind a proxy the client's address is known only at CONNECT, where bans are looked at again.
        elif self.server.access.bans.of_address(name[0], self.clock.time()) is not None:
            return "connects_refused"
        return ""

    def status(self) -> dict[str, Any]:
        """Where it listens, how many sockets it has, and how many of them are in their handshake."""
        return {
            "bound": self.bound,
            "tls": self.settings.tls is not None,
            "connections": len(self.shells),
            "handshakes": len(self.gate) if self.bound else 0,
        }


def _file_bound() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft - min(RESERVED_FILES, soft // 4)
