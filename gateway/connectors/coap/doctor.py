"""One look at CoAP devices, with a socket of its own: read points, list resources, find devices.

Polite: one question at a time to each device, reads only, and of a net one address after the other.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import aiocoap
from aiocoap.numbers.codes import Code

from gateway.clock import Clock
from gateway.connectors.base import Sample
from gateway.connectors.coap.client import Away, Client, Reply
from gateway.connectors.coap.config import CONTENTS, CoapDevice, CoapPoint, Resource, parse_path, parse_url
from gateway.connectors.coap.decode import readings
from gateway.connectors.coap.links import Link, parse_links
from gateway.connectors.found import Found, toml_of
from gateway.connectors.points import Point
from gateway.errors import Retry

WELL_KNOWN: Final = Resource((".well-known", "core"))

ALL_NODES: Final = "224.0.1.187"
"""All CoAP nodes in IPv4 (RFC 7252 section 12.8)."""

WAIT: Final = 3.0
"""Seconds for answers to a multicast: nodes wait a while so that they do not all speak at once (section 8.2)."""

PAUSE: Final = 0.02
"""Seconds between two addresses of a net."""

ANSWER: Final = 0.5
"""Seconds that one address of a net has to answer."""

MOST_ADDRESSES: Final = 1024
"""Of a net that is scanned: a /22."""

_WORDS: Final = {number: word for word, number in CONTENTS.items()}

Progress = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def _open(config: CoapDevice) -> AsyncIterator[Client]:
    client = Client(config)
    try:
        await client.open()
        yield client
    finally:
        await client.close()


async def read(config: CoapDevice, points: Sequence[str], clock: Clock | None = None) -> list[Sample]:
    """Read some points of a device once; all of them when ``points`` is empty. Raises Retry, KeyError."""
    clock = clock or Clock()
    known = {point.name: point for point in config.point}
    answers: dict[tuple[Resource, int | None], Reply | str] = {}
    samples: list[Sample] = []
    async with _open(config) as client:
        for name in points or known:
            settings = known[name]
            key = (settings.resource, settings.accept)
            if key not in answers:
                try:
                    answers[key] = await client.get(*key)
                except Away as error:
                    answers[key] = str(error)
            samples.append(_sample(settings, config, answers[key], clock))
    return samples


def _sample(settings: CoapPoint, config: CoapDevice, answer: Reply | str, clock: Clock) -> Sample:
    point, time = Point(settings, config), clock.time()
    if isinstance(answer, str) or not answer.is_success:
        sample = point.bad(answer if isinstance(answer, str) else answer.text, time)
    else:
        found = readings([settings], answer.payload, answer.content_format, time)[-1]
        if found.problem:
            sample = point.bad(found.problem, time)
        else:
            sample = point.took(found.value, found.time, clock.now())
    assert sample is not None  # the first of its point
    return sample


async def browse(config: CoapDevice, start: str | None = None) -> AsyncIterator[Found]:
    """The resources of a device by its ``/.well-known/core``, with what they hold; with ``start``, those below that
    path. Raises Retry."""
    async with _open(config) as client:
        try:
            listed = await client.get(WELL_KNOWN)
        except Away as error:
            raise Retry(f"{config.endpoint}: {error}") from None
        if not listed.is_success:
            raise Retry(f"{config.endpoint} does not list its resources: {listed.text}")
        for link in parse_links(listed.payload.decode("utf-8", "replace")):
            if link.path == "/.well-known/core" or not link.path.startswith(start or "/"):
                continue
            yield await _look(client, link)


async def _look(client: Client, link: Link) -> Found:
    """One resource: its value where it has one that is short and no picture or list of links."""
    note = " ".join((*link.types, *(["observable"] if link.is_observable else [])))
    try:
        reply = await client.get(parse_path(link.path))
    except (Away, ValueError) as error:
        return Found("group", link.path, link.title, note=f"{note} ({error})".strip())
    if not reply.is_success:
        return Found("group", link.path, link.title, note=f"{note} ({reply.text})".strip())
    settings: dict[str, Any] = {"path": link.path}
    if link.is_observable:
        settings["observe"] = True
    content = _WORDS.get(reply.content_format if reply.content_format is not None else 0)
    if content is None:
        return Found("group", link.path, link.title, note=f"{note} (content format {reply.content_format})".strip())
    found = readings([CoapPoint(name="any", path=link.path)], reply.payload, reply.content_format, 0.0)[-1]
    name = link.title or link.path.strip("/").replace("/", "_")
    return Found("point", link.path, name, None if found.problem else found.value, found.problem or note, settings)


async def scan(
    target: str, progress: Progress, *, wait: float = WAIT, answer: float = ANSWER, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Found]:
    """Devices that list their resources: at a url ``coap://host``, in a net ``10.0.0.0/24``, or, for ``multicast``, all
    that answer in this part of the network. Raises ValueError for a target that is none of these."""
    if target == "multicast":
        progress(f"asks all CoAP nodes at {ALL_NODES}")
        for one in await _multicast(ALL_NODES, wait):
            yield one
        return
    for host in _hosts(target):
        progress(host)
        config = CoapDevice(url=host, timeout=answer, ack_timeout=answer, point=(CoapPoint(name="any", path="/"),))
        with suppress(Retry):
            async with _open(config) as client:
                with suppress(Away):
                    reply = await client.get(WELL_KNOWN)
                    yield _device(host, reply.payload if reply.is_success else b"", reply.text)
        await sleep(PAUSE)


def _hosts(target: str) -> list[str]:
    if "://" in target:
        return [str(parse_url(target))]
    try:
        network = ipaddress.ip_network(target, strict=False)
    except ValueError:
        raise ValueError('must be "coap://host", a net such as "10.0.0.0/24", or "multicast"') from None
    if network.num_addresses > MOST_ADDRESSES:
        raise ValueError(f"must be a net of at most {MOST_ADDRESSES} addresses")
    addresses = [network.network_address] if network.num_addresses == 1 else list(network.hosts())
    return [f"coap://[{one}]" if one.version == 6 else f"coap://{one}" for one in addresses]


def _device(url: str, payload: bytes, text: str) -> Found:
    links = parse_links(payload.decode("utf-8", "replace"))
    paths = ", ".join(link.path for link in links[:5] if link.path != "/.well-known/core")
    note = f"{len(links)} resources: {paths}" if links else text
    return Found("device", url, note=note, settings={"kind": "coap", "url": url})


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: dict[tuple[str, int], bytes] = {}

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.setdefault((addr[0], addr[1]), data)


async def _multicast(group: str, wait: float, port: int = 5683) -> list[Found]:
    """Ask a group once, not to be confirmed (RFC 7252 section 8.1), and listen for a while."""
    loop = asyncio.get_running_loop()
    message = aiocoap.Message(code=Code(1), uri_path=WELL_KNOWN.path)
    message.mtype, message.mid, message.token = aiocoap.NON, secrets.randbelow(1 << 16), secrets.token_bytes(4)
    transport, ear = await loop.create_datagram_endpoint(_Ear, family=socket.AF_INET, local_addr=("0.0.0.0", 0))
    try:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
        transport.sendto(message.encode(), (group, port))
        await asyncio.sleep(wait)
    finally:
        transport.close()
    found: list[Found] = []
    for (host, number), data in sorted(ear.heard.items()):
        try:
            reply = aiocoap.Message.decode(data)
        except (aiocoap.error.Error, ValueError):
            continue  # it speaks something else
        if reply.token == message.token:
            found.append(_device(f"coap://{host}:{number}", reply.payload, str(reply.code)))
    return found


def profile_of(found: Sequence[Found], name: str = "node") -> str:
    """TOML text of a device with the points that ``browse`` has found."""
    return toml_of(name, found)
