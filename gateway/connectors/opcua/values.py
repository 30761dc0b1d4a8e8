"""What a node says -> a value that JSON knows, with its quality and its time. Pure but for asyncua's types.

A status code has three severities in its two highest bits (Part 4, 7.39.1): they are our qualities. A value whose
status is bad is not looked at. Arrays become lists, matrices lists of lists, structures tables; what is in them is
counted, and a value with more than ``most`` parts is refused (ValueError): a server may send megabytes.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import struct
import uuid
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, NamedTuple

from gateway.connectors.base import Quality
from gateway.message import Value
from gateway.opcua.stack import status_name, ua

LONGEST_TEXT: Final = 65_536
"""Characters of one text that is passed on."""

DEEPEST: Final = 16
"""Structures within structures and lists within lists."""

_QUALITIES: Final = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD)
"""By the two highest bits; 11 is reserved and counts as bad."""

_FIRST: Final = 0.0
_LAST: Final = 7_258_118_400.0
"""Seconds since 1970 to 2200: what lies outside is no time at which something was measured. Servers say 1601 and 9999
for "none"."""


class Unknown(Exception):
    """A structure whose type has to be read from the server first. ``encoding`` is the node of its encoding."""

    def __init__(self, encoding: Any) -> None:
        super().__init__("its type is not known yet")
        self.encoding = encoding


class Reading(NamedTuple):
    """What a node said, taken apart.

    raw      the value; None when the quality is bad
    quality  good, uncertain or bad
    reason   name of the status when it is not good
    source   seconds since 1970 of the device, None when it gave none
    server   seconds since 1970 of the server, None when it gave none
    """

    raw: Value
    quality: Quality
    reason: str
    source: float | None
    server: float | None

    def dated(self, whose: str, now: float) -> float:
        """The time by ``whose`` clock: ``source``, ``server`` or ``gateway`` (whose wall clock is ``now``)."""
        if whose == "gateway":
            return now
        first, second = (self.source, self.server) if whose == "source" else (self.server, self.source)
        return first if first is not None else second if second is not None else now


def quality_of(code: int) -> Quality:
    """The severity of a status code."""
    return _QUALITIES[code >> 30 & 3]


def take(data: Any, types: Any, most: int) -> Reading:
    """A ``DataValue`` taken apart. ``types`` decodes structures that asyncua does not know (see ``structures``).

    Raises Unknown for a structure that has to be looked up. A value that cannot be passed on is bad, with the reason.
    """
    code = int(data.StatusCode.value) if data.StatusCode is not None else 0
    quality = quality_of(code)
    source, server = _seconds(data.SourceTimestamp), _seconds(data.ServerTimestamp)
    reason = "" if quality is Quality.GOOD else status_name(code)
    if quality is Quality.BAD:
        return Reading(None, quality, reason, source, server)
    variant = data.Value
    if variant is None or variant.Value is None:
        return Reading(None, Quality.BAD, "the server has no value", source, server)
    value = variant.Value
    if type(value) in (float, int, bool):
        if variant.VariantType is ua.VariantType.Float:
            value = shortest(value)
        return Reading(value, quality, reason, source, server)
    try:
        raw = Plain(types, most).value(value)
    except ValueError as error:
        return Reading(None, Quality.BAD, str(error), source, server)
    return Reading(raw, quality, reason, source, server)


def shortest(value: float) -> float:
    """A float of 32 bits as a person writes it: 0.1, not 0.10000000149011612."""
    for digits in (6, 7, 8):
        text = float(f"{value:.{digits}g}")
        if struct.unpack("<f", struct.pack("<f", text))[0] == value:
            return text
    return value


class Plain:
    """Turns one value into what JSON knows; counts its parts. Raises ValueError for too many, Unknown as ``take``."""

    def __init__(self, types: Any, most: int) -> None:
        self._types = types
        self._most = most
        self._left = most

    def value(self, value: Any, depth: int = 0) -> Value:
        if depth > DEEPEST:
            raise ValueError(f"the value is nested more than {DEEPEST} deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, list | tuple):
            self._count(len(value))
            return [self._element(one, depth) for one in value]
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            # JSON has no NaN. Alone it makes the point bad, in an array it is a hole.
            return value if depth == 0 or math.isfinite(value) else None
        if isinstance(value, str):
            return _text(value)
        return self._other(value, depth)

    def _element(self, value: Any, depth: int) -> Value:
        return self.value(value, depth + 1)

    def _other(self, value: Any, depth: int) -> Value:
        if isinstance(value, bytes):
            return _text(base64.b64encode(value).decode())
        if isinstance(value, datetime):
            return _utc(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if isinstance(value, uuid.UUID):
            return str(value)
        if isinstance(value, ua.LocalizedText):
            return _text(value.Text or "")
        if isinstance(value, ua.QualifiedName):
            return f"{value.NamespaceIndex}:{_text(value.Name or '')}"
        if isinstance(value, ua.NodeId):
            return str(value.to_string())
        if isinstance(value, ua.StatusCode):
            return status_name(int(value.value))
        if isinstance(value, ua.Variant):
            return self.value(value.Value, depth + 1)
        if isinstance(value, ua.DataValue):
            return self.value(value.Value, depth + 1)
        if isinstance(value, ua.ExtensionObject):
            return self._structure(value, depth)
        if isinstance(value, dict):
            self._count(len(value))
            return {key: self.value(one, depth + 1) for key, one in value.items()}
        if dataclasses.is_dataclass(value):
            fields = [field.name for field in dataclasses.fields(value) if field.name != "Encoding"]
            self._count(len(fields))
            return {name: self.value(getattr(value, name), depth + 1) for name in fields}
        raise ValueError(f"a value of the type {type(value).__name__} cannot be passed on")

    def _structure(self, value: Any, depth: int) -> Value:
        if value.Body is None:
            return None
        return self.value(self._types.decode(value.TypeId, value.Body), depth + 1)

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise ValueError(f"the value has more than {self._most} parts; see max_items")


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the value is a text of {len(text)} characters; {LONGEST_TEXT} are passed on")
    return text


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _seconds(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    seconds = _utc(moment).timestamp()
    return seconds if _FIRST < seconds < _LAST else None
