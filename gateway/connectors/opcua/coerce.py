"""A value that a command brings -> the very type that a node wants. Pure but for asyncua's types.

Servers take exactly their type (Part 4, 5.10.4: Bad_TypeMismatch else). What does not fit is refused in words before
it is sent: no wrap-around, no half of a number, no "20" for 20.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
import uuid
from datetime import UTC, datetime
from typing import Any, Final

from gateway.errors import Rejected
from gateway.message import Value
from gateway.opcua.stack import ua

T: Final = ua.VariantType

WHOLE: Final = {
    T.SByte: (-(2**7), 2**7 - 1),
    T.Byte: (0, 2**8 - 1),
    T.Int16: (-(2**15), 2**15 - 1),
    T.UInt16: (0, 2**16 - 1),
    T.Int32: (-(2**31), 2**31 - 1),
    T.UInt32: (0, 2**32 - 1),
    T.Int64: (-(2**63), 2**63 - 1),
    T.UInt64: (0, 2**64 - 1),
}

MOST: Final = 100_000
"""Elements of an array that is written."""


def variant(value: Value, kind: Any, rank: int) -> Any:
    """The ``Variant`` to write. ``kind`` is the node's VariantType, ``rank`` its ValueRank (Part 3, 5.6.2): -1 scalar,
    1 an array, more a matrix, -2 and -3 either. Raises Rejected."""
    if isinstance(value, str) and rank >= 1 and value.lstrip()[:1] == "[":
        value = as_list(value)
    is_list = isinstance(value, list | tuple)
    if rank >= 1 and not is_list:
        raise Rejected(f"must be a list, not {value!r}: the node is an array")
    if rank == -1 and is_list:
        raise Rejected("must not be a list: the node is a single value")
    if not is_list:
        return ua.Variant(scalar(value, kind), kind)
    elements = _elements(value, kind)
    return ua.Variant(elements, kind, is_array=True)


def as_list(text: str) -> list[Any]:
    """A list that came as JSON text. Raises Rejected."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Rejected("must be a list in JSON, such as [1, 2.5]") from None
    if not isinstance(found, list):
        raise Rejected("must be a list in JSON, such as [1, 2.5]")
    return found


def _elements(value: Any, kind: Any) -> list[Any]:
    if len(value) > MOST:
        raise Rejected(f"has {len(value)} elements; {MOST} are written")
    if any(isinstance(one, list | tuple) for one in value):
        if len({len(one) if isinstance(one, list | tuple) else -1 for one in value}) != 1:
            raise Rejected("must be a matrix: every list in it as long as the others")
        return [_elements(one, kind) for one in value]
    return [scalar(one, kind) for one in value]


def scalar(value: Value, kind: Any) -> Any:
    """One value of the type. Raises Rejected."""
    if kind is T.Boolean:
        if isinstance(value, str | float | list | dict) or value not in (0, 1):
            raise Rejected(f"must be true or false, not {value!r}")
        return bool(value)
    if kind in WHOLE:
        return _whole(value, kind)
    if kind in (T.Float, T.Double):
        return _real(value, kind)
    if not isinstance(value, str):
        raise Rejected(f"must be text, not {value!r}: the node is a {kind.name}")
    return _from_text(value, kind)


def _whole(value: Value, kind: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"must be a number, not {value!r}")
    if not math.isfinite(value) or value != int(value):
        raise Rejected(f"must be a whole number to fit {kind.name}, not {value!r}")
    low, high = WHOLE[kind]
    if not low <= value <= high:
        raise Rejected(f"must be between {low} and {high} to fit {kind.name}, not {value!r}")
    return int(value)


def _real(value: Value, kind: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Rejected(f"must be a number, not {value!r}")
    try:
        number = float(value)
        if not math.isfinite(number):
            raise Rejected("must be a finite number")
        return float(struct.unpack("<f", struct.pack("<f", number))[0]) if kind is T.Float else number
    except OverflowError:
        raise Rejected(f"is too large for {kind.name}: {value!r}") from None


def _from_text(text: str, kind: Any) -> Any:
    try:
        if kind is T.String:
            return text
        if kind is T.LocalizedText:
            return ua.LocalizedText(text)
        if kind is T.DateTime:
            moment = datetime.fromisoformat(text)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if kind is T.Guid:
            return uuid.UUID(text)
        if kind is T.ByteString:
            return base64.b64decode(text, validate=True)
        if kind is T.NodeId:
            return ua.NodeId.from_string(text)
        if kind is T.QualifiedName:
            return ua.QualifiedName.from_string(text)
    except (ValueError, binascii.Error, ua.UaError):
        raise Rejected(f"must be a {kind.name} as text, not {text!r}") from None
    raise Rejected(f"a node of the type {kind.name} cannot be written")


def agree(sent: Any, back: Any) -> bool:
    """Whether a node kept what was written: equal, floats to the precision of their type, times to a ms."""
    if isinstance(sent, list | tuple) and isinstance(back, list | tuple):
        return len(sent) == len(back) and all(map(agree, sent, back))
    if isinstance(sent, float) and isinstance(back, float | int):
        return math.isclose(sent, back, rel_tol=1e-7)
    if isinstance(sent, datetime) and isinstance(back, datetime):
        return abs((sent - back).total_seconds()) < 0.001
    return bool(sent == back)
