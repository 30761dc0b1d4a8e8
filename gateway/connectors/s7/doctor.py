"""One look at an S7 controller, with a connection of its own: read points, list blocks, find rack and slot.

Polite: one question at a time, one connection at a time, and a pause between two tries.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from gateway.clock import Clock
from gateway.connectors.base import Sample
from gateway.connectors.found import Found, toml_of
from gateway.connectors.points import Point
from gateway.connectors.s7 import messages
from gateway.connectors.s7.address import parse_place
from gateway.connectors.s7.client import Client, Timeout, connect
from gateway.connectors.s7.codec import make_codec
from gateway.connectors.s7.config import DEFAULT_PORT, S7Device, parse_url
from gateway.connectors.s7.messages import Answer, DeviceError, Extent
from gateway.errors import GatewayError, Malformed, Rejected, Retry

PLACES: Final = ((0, 1), (0, 2), (0, 0), (0, 3), (0, 4))
"""Rack and slot to try: S7-1200/1500, S7-300, soft and S7-1500 on old firmware, S7-400."""

MOST_HOSTS: Final = 256
"""Addresses of the largest net that is looked through."""

_PAUSE: Final = 0.2
_TIMEOUT: Final = 1.0
_PDU: Final = 480
_IDENTITY: Final = 0x001C
_NAMES: Final = {"name": 6, "module": 40, "serial number": 142, "type": 176}
"""Where the names stand in the identification, as python-snap7 knows from real controllers."""


async def read(config: S7Device, points: Sequence[str], clock: Clock | None = None) -> list[Sample]:
    """Read some points of a device once; all of them when ``points`` is empty. Raises Retry, KeyError."""
    clock = clock or Clock()
    known = {point.name: point for point in config.point}
    samples: list[Sample] = []
    async with _connected(config.url, config.timeout, config.pdu) as client:
        for name in points or known:
            settings, point = known[name], Point(known[name], config)
            place, codec = settings.place, make_codec(settings.type_name, settings.place.bit)
            extent = Extent(place.area, place.block, place.byte, codec.size)
            try:
                raw = await client.read_long(extent, config.timeout)
                sample: Sample | None = point.took(codec.decode(raw), clock.time(), clock.now())
            except (DeviceError, Timeout, ValueError) as error:
                sample = point.bad(str(error), clock.time())
            assert sample is not None  # the first of its point
            samples.append(sample)
    return samples


async def browse(config: S7Device, start: str | None = None) -> AsyncIterator[Found]:
    """The data blocks with their lengths; with ``start``, such as "DB5", what stands in that one, as bytes and as
    numbers. Controllers with protected or optimized blocks list only the others, or none. Raises Retry, DeviceError,
    Rejected for a start that is no block."""
    async with _connected(config.url, config.timeout, config.pdu) as client:
        if start is None:
            async for found in _blocks(client, config.timeout):
                yield found
            return
        try:
            block = parse_place(f"{start}.DBB0").block
        except ValueError:
            raise Rejected(f'"{start}" is no data block; they are called DB1 to DB65535') from None
        size = await _size(client, block, config.timeout)
        raw = await client.read_long(Extent("DB", block, 0, size), config.timeout)
        at = 0
        while at < len(raw):
            step = next(step for step in (4, 2, 1) if at + step <= len(raw))
            yield _content(block, at, raw[at : at + step])
            at += step


async def _blocks(client: Client, timeout: float) -> AsyncIterator[Found]:
    numbers: list[int] = []
    for answer in await client.ask_all(client.questions.data_blocks(), timeout):
        data = _data(answer)
        numbers += [struct.unpack_from(">H", data, at)[0] for at in range(0, len(data) - 3, 4)]
    for number in numbers:
        try:
            note = f"{await _size(client, number, timeout)} bytes"
        except GatewayError as error:
            note = str(error)
        yield Found("group", f"DB{number}", note=note)


async def _size(client: Client, block: int, timeout: float) -> int:
    data = _data((await client.ask_all(client.questions.block_info(block), timeout))[0])
    if len(data) < 42:
        raise Malformed("the description of the block is too short")
    return int.from_bytes(data[40:42])


def _data(answer: Answer) -> bytes:
    found = messages.library_view(answer)["data"] or {}
    return bytes(found.get("data", b""))


def _content(block: int, at: int, raw: bytes) -> Found:
    letter, type = {1: ("B", "byte"), 2: ("W", "int"), 4: ("D", "dint")}[len(raw)]
    address = f"DB{block}.DB{letter}{at}"
    if len(raw) == 4 and _looks_real(raw):
        type = "real"
    value = make_codec(type).decode(raw)
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in raw)
    return Found(
        "point", address, address.replace(".", "_"), value, f"{raw.hex(' ')} {text}", {"address": address, "type": type}
    )


def _looks_real(raw: bytes) -> bool:
    """A number that a person would write is more likely a REAL than chance."""
    number: float = struct.unpack(">f", raw)[0]
    return 1e-4 <= abs(number) < 1e7


async def scan(
    target: str,
    progress: Callable[[str], None],
    *,
    timeout: float = _TIMEOUT,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Found]:
    """Controllers at ``target``: a host, ``host:port``, or a net such as 10.0.0.0/28. Of each host the first rack and
    slot that answers. Raises ValueError for a net that is too large."""
    for host, port in _hosts(target):
        progress(f"{host}:{port}")
        for rack, slot in PLACES:
            url = f"s7://{f'[{host}]' if ':' in host else host}:{port}?rack={rack}&slot={slot}"
            try:
                async with _connected(url, timeout, _PDU) as client:
                    yield Found("device", url, *await _identity(client, timeout), settings={"kind": "s7", "url": url})
                break
            except Retry as error:
                progress(f"{url}: {error}")
                if "refuses" not in str(error):
                    break  # nobody is there, or somebody else: other slots are not either
            await sleep(_PAUSE)


async def _identity(client: Client, timeout: float) -> tuple[str, None, str]:
    try:
        answers = await client.ask_all(client.questions.system(_IDENTITY), timeout)
        data = b"".join(_data(answer)[4 if index == 0 else 0 :] for index, answer in enumerate(answers))
    except (GatewayError, Timeout) as error:
        return "", None, f"message of {client.pdu} bytes; does not say what it is: {error}"
    names = {
        word: data[at : at + 24 if word != "type" else at + 32].split(b"\0")[0].decode("latin-1").strip()
        for word, at in _NAMES.items()
    }
    told = ", ".join(f"{word} {text}" for word, text in names.items() if text and word != "name")
    return names["name"], None, f"{told}; message of {client.pdu} bytes" if told else f"message of {client.pdu} bytes"


def _hosts(target: str) -> Iterable[tuple[str, int]]:
    if "/" in target and "://" not in target:
        net = ipaddress.ip_network(target, strict=False)
        if net.num_addresses > MOST_HOSTS:
            raise ValueError(f"must be a net of at most {MOST_HOSTS} addresses, not {net.num_addresses}")
        return [(str(host), DEFAULT_PORT) for host in net.hosts()]
    endpoint = parse_url(target if "://" in target else f"s7://{target}")
    return [(endpoint.host, endpoint.port)]


def profile_of(found: Sequence[Found], name: str = "controller") -> str:
    """TOML of a device file."""
    return toml_of(name, found)


@asynccontextmanager
async def _connected(url: str, timeout: float, pdu: int) -> AsyncIterator[Client]:
    client = await connect(parse_url(url), pdu, timeout)
    try:
        yield client
    finally:
        client.close()
