"""Looking at OPC-UA servers once, beside the gateway: which endpoints there are, which nodes, what they say.

Everything has its own short connection. ``scan`` asks an address for its endpoints and for the servers it knows of
(FindServers, GetEndpoints: Part 4, 5.4), without a session and without security: politely.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gateway.clock import Clock
from gateway.connectors.base import Quality, Sample
from gateway.connectors.found import Found, toml_of
from gateway.connectors.opcua.config import DEFAULT_PORT, OpcuaDevice, OpcuaPoint, parse_url
from gateway.connectors.opcua.connector import OpcuaConnector
from gateway.connectors.opcua.resolve import Missing, Resolver
from gateway.connectors.opcua.services import Services
from gateway.connectors.opcua.session import NONSENSE, Session, Status, connect, drop, make_client
from gateway.connectors.opcua.structures import Types
from gateway.connectors.opcua.values import Unknown, take
from gateway.connectors.points import Point
from gateway.errors import Retry
from gateway.opcua.stack import ua

MOST_FOUND: Final = 10_000
"""Nodes that a walk tells of."""

DEEPEST: Final = 12

MOST_SERVERS: Final = 50

BEST: Final = ("Aes256_Sha256_RsaPss", "Basic256Sha256", "Aes128_Sha256_RsaOaep")
"""Policies that are proposed, the first that a server has."""


async def read(config: OpcuaDevice, points: Sequence[str], state: Path | None = None) -> list[Sample]:
    """Read points once, over a connection of its own; all when none is named. Raises Retry, KeyError for no such point.

    ``state`` is the folder of our certificate and the trust list, for connections with security.
    """
    wanted = {point.name: point for point in config.point}
    chosen = [wanted[name] for name in points or wanted]
    clock = Clock()
    async with _Look(config, state) as look:
        nodes = await look.resolver.nodes(chosen)
        samples = {
            point.name: Sample(point.name, None, Quality.BAD, clock.time(), str(node))
            for point, node in zip(chosen, nodes, strict=True)
            if isinstance(node, Missing)
        }
        there = [(p, node) for p, node in zip(chosen, nodes, strict=True) if not isinstance(node, Missing)]
        for (point, _), reading in zip(there, await look.values([node for _, node in there]), strict=True):
            time = reading.dated(config.time, clock.time())
            known = Point(point, config)
            samples[point.name] = known.took(reading.raw, time, clock.now(), reading.quality, reading.reason)
    return [samples[point.name] for point in chosen]


async def browse(config: OpcuaDevice, start: str | None = None, state: Path | None = None) -> AsyncIterator[Found]:
    """Everything below a node (a node id or a browse path; else the Objects folder), in the order of the server; the
    server's own Server object is left out unless it is asked for."""
    async with _Look(config, state) as look:
        point = OpcuaPoint(name="start", node=start or "i=85")
        node = (await look.resolver.nodes([point]))[0]
        if isinstance(node, Missing):
            raise Retry(str(node))
        path = start.strip("/") if start and point.steps else "Objects" if start is None else start
        seen: set[Any] = {node} if start else {node, ua.NodeId(ua.ObjectIds.Server)}
        count = 0
        todo = [(node, path, 0)]
        while todo:
            node, path, depth = todo.pop(0)
            variables: list[tuple[Any, str]] = []
            for one in await look.children(node):
                child = ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex)
                if child in seen or count >= MOST_FOUND:
                    continue
                seen.add(child)
                count += 1
                name = f"{path}/{_step(one.BrowseName)}"
                if one.NodeClass == ua.NodeClass.Variable:
                    variables.append((child, name))
                elif one.NodeClass == ua.NodeClass.Method:
                    where = look.where(child)
                    yield Found("point", where, _last(name), None, f"method {name}", {"node": where, "write": {}})
                elif one.NodeClass == ua.NodeClass.Object:
                    yield Found("group", look.where(child), _last(name), None, name)
                    if depth < DEEPEST:
                        todo.append((child, name, depth + 1))
            for (child, name), (kind, value) in zip(variables, await look.describe(variables), strict=True):
                where = look.where(child)
                yield Found("point", where, _last(name), value, f"{kind} {name}".strip(), {"node": where})


async def scan(target: str, progress: Callable[[str], None] = lambda text: None) -> AsyncIterator[Found]:
    """The endpoints at a host, ``host:port`` or url, and of the servers that it knows of. Nothing there: nothing."""
    url = (
        target if "://" in target else f"opc.tcp://{target}" if ":" in target else f"opc.tcp://{target}:{DEFAULT_PORT}"
    )
    todo, seen = [url], {url}
    while todo:
        url = todo.pop(0)
        progress(f"asking {url}")
        servers, endpoints = await _discover(url)
        for server in servers:
            for other in server.DiscoveryUrls or ():
                if str(other).startswith("opc.tcp://") and other not in seen and len(seen) < MOST_SERVERS:
                    seen.add(other)
                    # A server names itself by a host name that we may not know: it is asked only once.
                    if server.ApplicationUri not in {str(one.Server.ApplicationUri) for one in endpoints}:
                        todo.append(str(other))
        by_url: dict[str, list[Any]] = {}
        for endpoint in endpoints:
            by_url.setdefault(str(endpoint.EndpointUrl), []).append(endpoint)
        for there, group in by_url.items():
            offers = {(one.SecurityPolicyUri.rpartition("#")[2], one.SecurityMode.name) for one in group}
            words = ", ".join(sorted(f"{policy} {mode}" for policy, mode in offers))
            best = [policy for policy in BEST if (policy, "SignAndEncrypt") in offers]
            settings = {"kind": "opcua", "url": there, **({"security": best[0]} if best else {})}
            yield Found("device", there, str(group[0].Server.ApplicationName.Text or ""), None, words, settings)


def profile_of(found: Sequence[Found], name: str = "found") -> str:
    """TOML of a device with a point for each node that was found."""
    return toml_of(name, found)


async def _discover(url: str) -> tuple[list[Any], list[Any]]:
    with suppress(ValueError):
        parse_url(url)
        client = make_client(url, 2.0)
        try:
            await connect(client)
            await client.send_hello()
            await client.open_secure_channel()
            return await client.find_servers(), await client.get_endpoints()
        except (OSError, TimeoutError, *NONSENSE):
            return [], []
        finally:
            drop(client)
    return [], []


class _Look:
    """A session for one look."""

    def __init__(self, config: OpcuaDevice, state: Path | None) -> None:
        self._config = replace(config, mode="poll")
        # The commands do not say where it is; systemd does, to whom it starts.
        folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        self._state = state or (Path(folder) if folder else None)
        self.types = Types()
        self._session: Session
        self._services: Services
        self.resolver: Resolver

    async def __aenter__(self) -> _Look:
        connector = OpcuaConnector("doctor", self._config, _NoPort(self._state))
        self._session = await connector.connect()
        try:
            self._services = Services(self._session)
            self.resolver = Resolver(self._services, self._config.namespaces)
            await self.resolver.prepare()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def values(self, nodes: Sequence[Any]) -> list[Any]:
        """The readings of nodes, structures looked up."""
        data = await self._services.read(nodes)
        for _ in range(3):
            try:
                return [take(one, self.types, self._config.max_items) for one in data]
            except Unknown:
                await self.resolver.learn(self.types)
        raise Retry("the server does not say what is in its structures")

    async def children(self, node: Any) -> list[Any]:
        try:
            return await self._services.browse(node, ua.ObjectIds.HierarchicalReferences)
        except Status:
            return []

    async def describe(self, variables: Sequence[tuple[Any, str]]) -> list[tuple[str, Any]]:
        """Type and value of variables."""
        nodes = [node for node, _ in variables]
        if not nodes:
            return []
        data = await self._services.read(nodes)
        found: list[tuple[str, Any]] = []
        for one, reading in zip(data, await self.values(nodes), strict=True):
            is_empty = one.Value is None
            kind = "" if is_empty else one.Value.VariantType.name + ("[]" if one.Value.is_array else "")
            found.append((kind, reading.raw))
        return found

    def where(self, node: Any) -> str:
        """The node as a point names it: by the URI of its namespace."""
        if node.NamespaceIndex == 0 or node.NamespaceIndex >= len(self.resolver.namespaces):
            return str(node.to_string())
        text = str(node.to_string())
        return f"nsu={self.resolver.namespaces[node.NamespaceIndex]};{text.partition(';')[2]}"


class _NoPort:
    """A port that takes nothing."""

    def __init__(self, state: Path | None) -> None:
        self._state = state
        self.clock = Clock()
        self.name = "doctor"

    def emit(self, samples: Sequence[Sample]) -> None:
        pass

    def share(self, key: str, make: Callable[[], Any]) -> Any:
        return self._state if key == "state folder" else make()


def _last(path: str) -> str:
    """The last name of a browse path, without its namespace."""
    head, colon, name = path.rpartition("/")[2].partition(":")
    return name if colon else head


def _step(name: Any) -> str:
    text = str(name.Name).replace("&", "&&").replace("/", "&/")
    return f"{name.NamespaceIndex}:{text}" if name.NamespaceIndex else text
