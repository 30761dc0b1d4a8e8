"""One look at BACnet devices, with a socket of its own: read points, list objects, find devices.

Polite: two Who-Is, one device at a time, one question at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from gateway.clock import Clock
from gateway.connectors.bacnet.config import BacnetDevice, Endpoint, parse_local, parse_url
from gateway.connectors.bacnet.live import LivePoint
from gateway.connectors.bacnet.names import property_number, unit_name
from gateway.connectors.bacnet.objects import COMMANDABLE, SHORT, TYPES, WHICHEVER, WRITTEN_AS, Object, parse_object
from gateway.connectors.bacnet.services import Device, DeviceError, Reference
from gateway.connectors.bacnet.session import Session, meet
from gateway.connectors.bacnet.stack import Stack, Timeout
from gateway.connectors.bacnet.values import decode
from gateway.connectors.bacnet.wire import PORT, Remote
from gateway.connectors.base import Sample
from gateway.connectors.found import Found, toml_of
from gateway.connectors.turns import Turns, Urgency
from gateway.errors import Malformed, Rejected
from gateway.message import Value

MOST_OBJECTS: Final = 10_000
"""Objects of the largest device that is listed."""

_OBJECT_LIST, _NAME, _DESCRIPTION, _UNITS, _VALUE = 76, 77, 28, 117, 85
_VENDOR_NAME, _MODEL_NAME = 121, 70
_WAIT: Final = 2.0
"""Seconds to wait for devices to say that they are there."""


async def read(config: BacnetDevice, points: Sequence[str], clock: Clock | None = None) -> list[Sample]:
    """Read some points of a device once; all of them when ``points`` is empty. Raises Retry, KeyError."""
    clock = clock or Clock()
    known = {point.name: point for point in config.point}
    samples: list[Sample] = []
    stack = Stack(_local(config))
    async with stack.joined():
        session = await _meet(stack, config)
        for name in points or known:
            point = LivePoint(known[name], config, property_number(known[name].property))
            try:
                value = await session.read(point.reference, Urgency.FAST)
                flags = await session.read(point.flags, Urgency.FAST) if point.item.has_flags else None
                quality, reason = point.judge(flags, "")
                sample: Sample | None = point.known.took(
                    point.decode(value), clock.time(), clock.now(), quality, reason
                )
            except (DeviceError, Malformed, Timeout, ValueError) as error:
                sample = point.known.bad(str(error), clock.time())
            assert sample is not None  # the first of its point
            samples.append(sample)
    return samples


async def browse(config: BacnetDevice, start: str | None = None) -> AsyncIterator[Found]:
    """The objects of a device with name, value and unit; with ``start``, a type such as "analog-input" or one object,
    only those. Raises Retry, DeviceError, Rejected for a start that is neither."""
    wanted = _wanted(start)
    stack = Stack(_local(config))
    async with stack.joined():
        session = await _meet(stack, config)
        instance = config.endpoint.instance
        device = Object(TYPES["device"], WHICHEVER if instance is None else instance)
        count = await _get(session, Reference(device, _OBJECT_LIST, 0))
        for element in range(1, min(int(count or 0), MOST_OBJECTS) + 1):
            # One by one: the whole list of a large device fits into no message.
            object = parse_object(str(await _get(session, Reference(device, _OBJECT_LIST, element))))
            if wanted(object):
                yield await _describe(session, object)


def _wanted(start: str | None) -> Callable[[Object], bool]:
    if start is None:
        return lambda object: True
    name = SHORT.get(start, start)
    if name in TYPES:
        return lambda object: object.type == TYPES[name]
    try:
        only = parse_object(start)
    except ValueError as error:
        raise Rejected(f'"{start}" is no object and no type of objects: {error}') from None
    return lambda object: object == only


async def _describe(session: Session, object: Object) -> Found:
    name = str(await _get(session, Reference(object, _NAME)) or "")
    description = str(await _get(session, Reference(object, _DESCRIPTION)) or "")
    if object.type_name not in WRITTEN_AS:
        return Found("group", str(object), name, note=description)
    value = await _get(session, Reference(object, _VALUE), is_binary=WRITTEN_AS[object.type_name] == "binary")
    settings: dict[str, Any] = {"object": str(object)}
    units = await _get(session, Reference(object, _UNITS))
    unit = unit_name(units) if isinstance(units, int) else ""
    if unit:
        settings["unit"] = unit
    if object.type_name in COMMANDABLE:
        description = f"{description} can be commanded".strip()
    return Found("point", str(object), name, value, description, settings)


async def _get(session: Session, reference: Reference, *, is_binary: bool = False) -> Value:
    """The value; None where there is none."""
    try:
        return decode(await session.read(reference, Urgency.FAST), is_binary)
    except (DeviceError, Malformed, Timeout, ValueError):
        return None


async def scan(
    target: str,
    progress: Callable[[str], None],
    *,
    local: str | None = None,
    wait: float = _WAIT,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[Found]:
    """The devices that answer a Who-Is to ``target``: a host, ``host:port``, or a broadcast address. ``local`` is the
    address of this machine to ask from; without it a free port, but for a broadcast the standard's own: that is where
    many devices answer. Raises Retry, ValueError."""
    url = target if "://" in target else f"bacnet://{target}"
    is_broadcast = url.partition("?")[0].partition("://")[2].partition(":")[0].endswith(".255")
    endpoint = parse_url(url + "?device=0&broadcast=yes" if is_broadcast else url)
    heard: dict[int, tuple[Remote, Device]] = {}

    def look(remote: Remote, device: Device) -> None:
        if device.instance not in heard:
            heard[device.instance] = (remote, device)
            progress(f"device {device.instance} at {remote}")

    stack = Stack(parse_local(local or f"0.0.0.0:{PORT if is_broadcast else 0}"))
    async with stack.joined():
        stack.look_for(endpoint.remote, look, is_broadcast=is_broadcast)
        await sleep(wait / 2)
        stack.stop(look)
        # Once more: datagrams get lost.
        stack.look_for(endpoint.remote, look, is_broadcast=is_broadcast)
        await sleep(wait / 2)
        stack.stop(look)
        for instance, (remote, device) in sorted(heard.items()):
            yield await _identify(stack, instance, remote, device, wait)


async def _identify(stack: Stack, instance: int, remote: Remote, device: Device, timeout: float) -> Found:
    session = Session(stack, remote, Turns(), timeout, 1)
    object = Object(TYPES["device"], instance)
    names = [await _get(session, Reference(object, number)) for number in (_NAME, _VENDOR_NAME, _MODEL_NAME)]
    words = [str(name) for name in names[1:] if name]
    url = f"bacnet://{remote.host}:{remote.port}?device={instance}"
    if remote.network:
        url += f"&network={remote.network}&address={remote.mac.hex()}"
    note = ", ".join([*words, f"messages of {device.max_apdu} bytes"])
    return Found("device", url, str(names[0] or ""), None, note, {"kind": "bacnet", "url": url})


def _local(config: BacnetDevice) -> tuple[str, int]:
    """Beside a gateway that runs, which has the port: a free one, but where answers may come as broadcasts."""
    host, port = parse_local(config.local)
    return host, port if config.endpoint.is_broadcast else 0


async def _meet(stack: Stack, config: BacnetDevice) -> Session:
    endpoint: Endpoint = config.endpoint
    return await meet(stack, endpoint, Turns(), config.timeout, config.retries, config.max_apdu, config.batch)


def profile_of(found: Sequence[Found], name: str = "device") -> str:
    """TOML of a device file."""
    return toml_of(name, found)
