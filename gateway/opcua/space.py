"""An asyncua server that starts quickly and twice: the standard's own 6000 nodes are made once for the process.

asyncua fills them in for every server, two seconds of a fast core and more than ten of a small board, and holds them as
often. Here they are made once; a server takes a copy of a node when it looks at it for the first time, and whatever it
changes is its own. Its clock task, which a stop waits for up to a second, is not started: the time is told when asked.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from asyncua.server.address_space import AddressSpace, NodeManagementService
from asyncua.server.internal_server import InternalServer
from asyncua.server.server import Server
from asyncua.server.standard_address_space import standard_address_space

from gateway.opcua.stack import ua

CURRENT_TIME: Final = ua.NodeId(ua.ObjectIds.Server_ServerStatus_CurrentTime)

Guard = Callable[[bytes], str | None]

_standard: dict[Any, Any] = {}


def _make_standard() -> None:
    space = AddressSpace()
    standard_address_space.fill_address_space(NodeManagementService(space))  # type: ignore[no-untyped-call]
    _standard.update(space._nodes)


class Copies(dict[Any, Any]):
    """Nodes of one server: its own, and copies of the standard's as they are asked for."""

    def __missing__(self, key: Any) -> Any:
        node = self[key] = copy.deepcopy(_standard[key])
        return node

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in _standard

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield from (key for key in _standard if not super(Copies, self).__contains__(key))

    def keys(self) -> Any:
        return list(iter(self))

    def items(self) -> Any:
        return [(key, self[key]) for key in self]


class _Internal(InternalServer):
    async def load_standard_address_space(self, shelf_file: Any = None) -> None:
        if not _standard:
            await asyncio.to_thread(_make_standard)
        self.aspace._nodes = Copies()


class _Untrusted(ua.uaerrors.BadRequestTooLarge):  # type: ignore[misc]
    """Refuses a secure channel. Of all errors, only this one's base is answered by asyncua before it hangs up."""

    code = ua.StatusCodes.BadSecurityChecksFailed


class _Guarded:
    """A security policy that looks at the client's certificate before it is used."""

    def __init__(self, factory: Any, guard: Guard) -> None:
        self._factory = factory
        self._guard = guard

    def matches(self, uri: Any, mode: Any = None) -> bool:
        return bool(self._factory.matches(uri, mode))

    def create(self, certificate: Any) -> Any:
        if self._factory.mode != ua.MessageSecurityMode.None_ and self._guard(certificate or b""):
            raise _Untrusted
        return self._factory.create(certificate)


class _Server(Server):
    guard: Guard | None = None

    async def _setup_server_nodes(self) -> None:
        await super()._setup_server_nodes()
        if self.guard is not None:
            guarded: list[Any] = [_Guarded(one, self.guard) for one in self._policies]
            self._policies = guarded


async def make_server(users: Any, uri: str, url: str, port: tuple[str, int], *, guard: Guard | None = None) -> Any:
    """A server that is not started yet.

    users  asyncua's UserManager
    uri    our application URI
    url    what clients are told to connect to
    port   host and port to bind
    guard  says why a client's certificate (DER) is not accepted, or None
    """
    server = _Server(iserver=_Internal(user_manager=users))
    server.guard = guard
    server.disable_clock()
    server.iserver.allow_remote_admin = False
    await server.init()
    await server.set_application_uri(uri)
    server.set_endpoint(url)
    server.set_server_name("edge-gateway")
    server.manufacturer_name = "edge-gateway"
    server.product_uri = "urn:edge-gateway"
    server.socket_address = port
    server.iserver.aspace.set_attribute_value_callback(CURRENT_TIME, ua.AttributeIds.Value, _now)
    return server


def _now(node: Any, attribute: Any) -> Any:
    now = datetime.now(UTC)
    return ua.DataValue(ua.Variant(now, ua.VariantType.DateTime), ua.StatusCode(0), now, now)


async def stop_server(server: Any) -> None:
    """Stop a server for good. asyncua alone leaves the sessions of cut connections behind, and their tasks."""
    await server.stop()
    for session in list(server.iserver._external_sessions.values()):
        await session.close_session(True)
