"""What a resource answers -> readings of its points, and the way back for a write. Pure.

One answer may hold several points (JSON and CBOR by pointer, RFC 6901; SenML by name; TLV by number), and SenML
several readings of one: what a node has gathered while it slept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from gateway.concise import from_cbor, to_cbor
from gateway.connectors.coap import senml, tlv
from gateway.connectors.coap.config import CONTENTS, CoapPoint
from gateway.errors import Rejected
from gateway.message import Value

TEXT: Final = CONTENTS["text"]
OCTETS: Final = CONTENTS["octets"]
JSON: Final = CONTENTS["json"]
CBOR: Final = CONTENTS["cbor"]
SENML_JSON: Final = CONTENTS["senml-json"]
SENML_CBOR: Final = CONTENTS["senml-cbor"]
TLV: Final = CONTENTS["tlv"]

AHEAD: Final = 60.0
"""Seconds by which the clock of a node may be ahead; a time beyond it is not believed."""

NUMBERS: Final = ("number", "int", "float")


class Reading(NamedTuple):
    """One value of a point, or why there is none. ``time``: seconds since 1970."""

    point: str
    value: Value
    time: float
    problem: str = ""


def readings(points: Sequence[CoapPoint], payload: bytes, content_format: int | None, time: float) -> list[Reading]:
    """What an answer says of each of the points, the oldest of each first. ``time``: when it arrived, wall clock."""
    number = TEXT if content_format is None else content_format
    asked = {point.accept for point in points} - {None}
    if content_format is None and len(asked) == 1:
        # It does not say what it is; it was asked for this.
        number = asked.pop() or TEXT
    found: list[Reading] = []
    try:
        content = _content(payload, number, time)
    except (ValueError, RecursionError) as error:
        return [Reading(point.name, None, time, str(error)) for point in points]
    for point in points:
        try:
            found += _of_point(point, content, number, time)
        except ValueError as error:
            found.append(Reading(point.name, None, time, str(error)))
    return found


def _content(payload: bytes, number: int, time: float) -> Any:
    if number == TEXT:
        return payload.decode().strip()
    if number in (JSON, SENML_JSON):
        value = json.loads(payload.decode())
        return senml.resolve(value, time) if number == SENML_JSON else value
    if number in (CBOR, SENML_CBOR):
        value = from_cbor(payload)
        return senml.resolve(value, time) if number == SENML_CBOR else value
    if number == TLV:
        return tlv.decode(payload)
    return payload.hex()


def _of_point(point: CoapPoint, content: Any, number: int, time: float) -> list[Reading]:
    if number in (SENML_JSON, SENML_CBOR):
        records = [record for record in content if point.field in (None, record.name)]
        if not records or (point.field is None and len({record.name for record in records}) > 1):
            names = ", ".join(sorted({record.name for record in content})[:5])
            raise ValueError(
                f"no SenML record is called {point.field}" if point.field else f"field must be one of {names}"
            )
        records.sort(key=lambda record: record.time)
        return [
            Reading(point.name, _typed(record.sum if record.value is None else record.value, point),
                    record.time if record.time <= time + AHEAD else time)
            for record in records
        ]  # fmt: skip
    if number == TLV:
        field = point.field or (next(iter(content)) if len(content) == 1 else "")
        if field not in content:
            raise ValueError(f"there is no {field or 'single resource'}; there are {', '.join(list(content)[:8])}")
        if point.type not in ("int", "float", "bool", "text"):
            raise ValueError("the answer is TLV: set type to int, float, bool or text")
        return [Reading(point.name, tlv.value_of(content[field], point.type), time)]
    value = at_pointer(content, point.field) if point.field and number in (JSON, CBOR) else content
    if isinstance(value, bytes):
        value = value.hex()
    return [Reading(point.name, _typed(value, point, is_text=number == TEXT), time)]


def at_pointer(value: Any, pointer: str) -> Any:
    """What a JSON pointer points at (RFC 6901 section 4). Raises ValueError when there is nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            raise ValueError(f"there is nothing at {pointer}")
    return value


def _typed(value: Value, point: CoapPoint, is_text: bool = False) -> Value:
    if value is None:
        raise ValueError("it has no value")
    if point.type == "text":
        return value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str) and (is_text or point.type != "auto"):
        value = _scalar(value)
    if point.type == "bool":
        if value not in (0, 1):
            raise ValueError(f"{value!r} is neither true nor false")
        return bool(value)
    if point.type in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")
        return float(value) if point.type == "float" else value
    return value


def _scalar(text: str) -> Value:
    """Text that looks like a number, true or false as that; else the text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_scalar = isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value))
    return value if is_scalar else text


def encoded(point: CoapPoint, raw: Value, has: int | None) -> tuple[bytes, int]:
    """What to write so that the point has ``raw``: payload and content format.

    ``has``: the format that the resource answers with; for points whose content is auto. Raises Rejected.
    """
    number = point.accept if point.accept is not None else TEXT if has is None else has
    try:
        _check_type(point, raw)
        if number in (SENML_JSON, SENML_CBOR):
            pack = senml.pack(point.field or "", raw, number == SENML_CBOR)
            return (to_cbor(pack) if number == SENML_CBOR else _to_json(pack)), number
        if number == TLV:
            if point.type not in ("int", "float", "bool", "text"):
                raise ValueError("type must be int, float, bool or text to write TLV")
            last = (point.field or point.target.path[-1]).rpartition("/")[2]
            return tlv.encode(int(last), raw, point.type), number
        if number in (JSON, CBOR):
            whole = _placed(raw, point.field)
            return (to_cbor(whole) if number == CBOR else _to_json(whole)), number
        if number == OCTETS:
            return bytes.fromhex(str(raw)), number
        return (str(raw) if isinstance(raw, str) else json.dumps(raw)).encode(), TEXT
    except (ValueError, TypeError, OverflowError) as error:
        raise Rejected(str(error)) from None


def _check_type(point: CoapPoint, raw: Value) -> None:
    if raw is None or (isinstance(raw, float) and not math.isfinite(raw)):
        raise ValueError(f"{raw!r} cannot be written")
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if (point.type in NUMBERS and not is_number) or (point.type == "int" and raw != int(raw)):
        raise ValueError(f"must be a {'whole ' if point.type == 'int' else ''}number, not {raw!r}")
    if (point.type == "bool" and not isinstance(raw, bool)) or (point.type == "text" and not isinstance(raw, str)):
        raise ValueError(f"must be {'true or false' if point.type == 'bool' else 'text'}, not {raw!r}")


def _placed(raw: Value, pointer: str | None) -> Any:
    """An object that holds nothing but the value, where the pointer says."""
    for part in reversed((pointer or "").split("/")[1:]):
        raw = {part.replace("~1", "/").replace("~0", "~"): raw}
    return raw


def agree(sent: Value, back: Value) -> bool:
    """Whether what was read back is what was written, as far as floats of 32 bits can tell."""
    if isinstance(sent, bool) or isinstance(back, bool):
        return bool(sent) == bool(back) and back in (0, 1)
    if isinstance(sent, int | float) and isinstance(back, int | float):
        return math.isclose(sent, back, rel_tol=1e-6, abs_tol=1e-9)
    return bool(sent == back)


def _to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
