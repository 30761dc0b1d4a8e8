"""One look at a Modbus line or server, with a connection of its own: who answers, and what the registers hold.

Polite: one question at a time, reads only, and a pause between two questions that nobody answered. On a serial line the
running gateway must be stopped: two masters on one line spoil each other's frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from gateway.connectors.found import Found
from gateway.connectors.modbus.bus import Connection
from gateway.connectors.modbus.config import BIT_TABLES, ModbusDevice, ModbusPoint, Place
from gateway.connectors.modbus.dialer import Dialer
from gateway.connectors.modbus.endpoint import Endpoint, parse_url
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.solve import Fit, Image
from gateway.errors import Retry

BAUDS: Final = (9600, 19_200, 38_400, 115_200, 57_600, 4800, 2400)
PARITIES: Final = ("E", "N", "O")
"""What is tried on a serial line, the more usual first."""

UNITS: Final = (*range(1, 33), 247)
"""Units that are asked unless somebody says which: those that devices come with, and those that people set."""

ANSWER: Final = 0.2
"""Seconds that a unit has to answer, beside the time that its characters take."""

PAUSE: Final = 0.02
"""Seconds between two questions."""

LARGEST: Final = 120
"""Registers that are read at once."""

_NO_SUCH: Final = (1, 2, 3, 4)
"""Exceptions that may be about a part of what was asked for."""

_UNIT_IS_MUTE: Final = (10, 11)

Progress = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]


def _settings(url: str, unit: int, timeout: float) -> ModbusDevice:
    return ModbusDevice(url=url, unit=unit, timeout=timeout, point=(ModbusPoint(name="any", address=0),))


async def scan(
    target: str, progress: Progress, units: Sequence[int] = UNITS, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Found]:
    """Everybody who answers at a url. Without ``baud`` or ``parity`` in the url of a serial line, all usual ones are
    tried, until one brings an answer. Raises ValueError for a url that is none, Retry when nothing can be opened."""
    for url in _urls(target):
        endpoint = parse_url(url)
        progress(f"{endpoint} {endpoint.line}" if endpoint.transport == "serial" else str(endpoint))
        connection = await Dialer(_settings(url, 1, ANSWER))(endpoint, 2.0)
        heard = False
        try:
            for unit in units:
                if not connection.is_connected:
                    connection.close()
                    connection = await Dialer(_settings(url, 1, ANSWER))(endpoint, 2.0)
                note = await _asked(connection, unit, endpoint)
                if note is not None:
                    heard = True
                    address = f"{endpoint} {endpoint.line}" if endpoint.transport == "serial" else str(endpoint)
                    settings: dict[str, Any] = {"kind": "modbus", "url": url, "unit": unit}
                    yield Found("device", f"{address} unit {unit}", note=note, settings=settings)
                progress(f"unit {unit}")
                await sleep(PAUSE)
        finally:
            connection.close()
        if heard:
            return


def _urls(target: str) -> list[str]:
    endpoint = parse_url(target)
    if endpoint.transport != "serial":
        return [target]
    head, _, query = target.partition("?")
    given = [part for part in query.split("&") if part]
    bauds = [endpoint.baud] if "baud=" in query else BAUDS
    parities = [endpoint.parity] if "parity=" in query else PARITIES
    rest = [part for part in given if not part.startswith(("baud=", "parity="))]
    return [f"{head}?{'&'.join([f'baud={baud}', f'parity={parity}', *rest])}" for baud in bauds for parity in parities]


async def _asked(connection: Connection, unit: int, endpoint: Endpoint) -> str | None:
    """Whether a unit answers, in words; an exception is an answer."""
    limit = ANSWER + 32 * endpoint.character
    try:
        (word,) = await connection.read("holding", unit, 0, 1, limit, 0.0)
    except DeviceError as error:
        return None if error.code in _UNIT_IS_MUTE else f"answers {error}"
    except (Timeout, Retry):
        return None
    return f"holding:0 is {word}"


async def image(
    config: ModbusDevice,
    tables: Iterable[str],
    first: int,
    count: int,
    progress: Progress,
    sleep: Sleep = asyncio.sleep,
) -> dict[str, dict[int, int]]:
    """What the registers of a device hold; those that it does not have are left out. Raises Retry."""
    found: dict[str, dict[int, int]] = {}
    connection = await Dialer(config)(config.endpoint, config.timeout)
    try:
        for table in tables:
            held = found[table] = {}
            waiting = [(at, min(LARGEST, config.max_words, first + count - at)) for at in _starts(config, first, count)]
            while waiting:
                at, size = waiting.pop(0)
                progress(f"{table}:{at}")
                try:
                    words = await connection.read(table, config.unit, at, size, config.timeout, config.timeout)
                except DeviceError as error:
                    if error.code not in _NO_SUCH:
                        raise Retry(f"unit {config.unit}: {error}") from None
                    if size > 1:
                        half = size // 2
                        waiting[:0] = [(at, half), (at + half, size - half)]
                except Timeout as error:
                    raise Retry(str(error)) from None
                else:
                    held.update(zip(range(at, at + size), words, strict=True))
                await sleep(max(PAUSE, config.quirks.pause_between_requests))
    finally:
        connection.close()
    return found


def _starts(config: ModbusDevice, first: int, count: int) -> range:
    return range(first, first + count, min(LARGEST, config.max_words))


def numbers(image: Image) -> Image:
    """The tables of registers alone: a display shows numbers."""
    return {table: held for table, held in image.items() if table not in BIT_TABLES}


def point_of(fit: Fit, name: str) -> Found:
    """A point from what fits a display."""
    settings: dict[str, Any] = {"address": str(Place(fit.table, fit.address)), "type": fit.type}
    if fit.order != "ABCD":
        settings["order"] = fit.order
    if fit.scale != 1:
        settings["scale"] = fit.scale
    return Found("point", settings["address"], name, fit.value, f"the display shows {fit.shown}", settings)
