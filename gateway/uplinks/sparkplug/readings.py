"""Messages of points to readings: what a device publishes, as JSON with quality and time or as the bare value. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from gateway.message import Message
from gateway.sparkplug.datatypes import fit
from gateway.uplinks.sparkplug.node import BAD, GOOD, STALE, Point, Reading

_CODES: Final = {"good": GOOD, "uncertain": GOOD, "bad": BAD, "stale": STALE}
"""Sparkplug has no uncertain; a value that may be wrong is still the device's answer."""


def reading_of(point: Point, payload: bytes, time: float) -> Reading:
    """What a message of a point says. ``time``: wall clock in seconds, for one that has none of its own.

    Raises ValueError when it is no message of that point.
    """
    value = Message(point.topic, payload).value
    if not isinstance(value, dict):
        return Reading(fit(value, point.datatype), GOOD, milliseconds(time))
    quality = _CODES.get(str(value.get("q")))
    if quality is None or "v" not in value:
        raise ValueError("it is no sample of a point")
    at = time
    if "t" in value:
        moment = datetime.fromisoformat(str(value["t"]))
        # Without a zone it would be taken for the time of this machine's zone.
        at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    inner = value["v"]
    return Reading(None if inner is None else fit(inner, point.datatype), quality, milliseconds(at))


def milliseconds(time: float) -> int:
    """Whole milliseconds since 1970; never negative, as the wire has no sign there."""
    return max(0, round(time * 1000))
