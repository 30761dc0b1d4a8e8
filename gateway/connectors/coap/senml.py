"""SenML (RFC 8428): records with base names, base values, base times and base units resolved. Pure.

JSON and CBOR have the same records; CBOR has numbers for labels (section 6, table 4). Resolving is section 4.1 to
4.6. Times below 2**28 are relative to now (section 4.5.3).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.message import Value

LABELS: Final = {-2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs", -1: "bver", 0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb",
                 5: "s", 6: "t", 7: "ut", 8: "vd"}  # fmt: skip

RELATIVE: Final = 2**28
"""Seconds: a time below it is relative to now."""

MAX_RECORDS: Final = 10_000

VERSION: Final = 10


class Record(NamedTuple):
    """One resolved record. ``time``: seconds since 1970. ``value`` None: the record has only a sum or a name."""

    name: str
    value: Value
    unit: str | None
    time: float
    sum: float | None = None


def resolve(pack: Any, time: float) -> list[Record]:
    """The records of a pack as JSON or CBOR gives it, in their order. ``time``: now, on the wall clock.

    Raises ValueError for what is no SenML.
    """
    if not isinstance(pack, list) or len(pack) > MAX_RECORDS:
        raise ValueError("no SenML: it must be a list of records")
    base: dict[str, Any] = {"bn": "", "bt": 0.0, "bu": None, "bv": None, "bs": None}
    records: list[Record] = []
    for entry in pack:
        if not isinstance(entry, Mapping):
            raise ValueError("no SenML: each record must be a map")
        fields: dict[Any, Any] = {
            LABELS.get(key, key) if isinstance(key, int) else key: value for key, value in entry.items()
        }
        _check(fields)
        base.update({label: fields[label] for label in base if label in fields})
        has_value = any(label in fields for label in ("v", "vs", "vb", "vd"))
        if not has_value and "s" not in fields and (base["bv"] is None and base["bs"] is None):
            continue  # only base fields for those that follow
        at = float(base["bt"]) + float(fields.get("t", 0.0))
        total = None
        if "s" in fields or base["bs"] is not None:
            # Of a sum and a base sum, a missing one is 0 (section 4.6).
            total = float(fields.get("s", 0.0)) + float(base["bs"] or 0.0)
        name = base["bn"] + fields.get("n", "")
        value = _value(fields, base["bv"])
        records.append(Record(name, value, fields.get("u", base["bu"]), time + at if at < RELATIVE else at, total))
    return records


def _check(fields: Mapping[Any, Any]) -> None:
    """Unknown labels that end in ``_`` must be understood (section 4.4); later versions are not."""
    for label, value in fields.items():
        if isinstance(label, str) and label.endswith("_"):
            raise ValueError(f"SenML label {label} must be understood and is not")
        if label in ("bt", "bv", "bs", "t", "s", "v", "ut") and not _is_number(value):
            raise ValueError(f"SenML label {label} must be a number, not {value!r}")
        if label in ("bn", "bu", "n", "u", "vs") and not isinstance(value, str):
            raise ValueError(f"SenML label {label} must be text, not {value!r}")
    if fields.get("bver", VERSION) != VERSION:
        raise ValueError(f"SenML version {fields['bver']} is not known; this is {VERSION}")


def _value(fields: Mapping[Any, Any], base: float | None) -> Value:
    if "v" in fields:
        # 21 stays a whole number where nothing is added to it.
        return fields["v"] + base if base else fields["v"]
    if "vb" in fields:
        if not isinstance(fields["vb"], bool):
            raise ValueError("SenML label vb must be true or false")
        return fields["vb"]
    if "vs" in fields:
        return fields["vs"]
    if "vd" in fields:
        return _data(fields["vd"])
    # A base value alone is the value (section 4.1), unless the record has a sum instead.
    return None if "s" in fields else base


def _data(given: Any) -> str:
    """Bytes in hexadecimal: JSON has them in base64url without padding (section 5), CBOR as they are."""
    if isinstance(given, bytes):
        return given.hex()
    try:
        text = str(given)
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex()
    except ValueError:
        raise ValueError("SenML label vd is no base64") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def pack(name: str, value: Value, is_cbor: bool) -> list[dict[Any, Any]]:
    """One record that says ``value``, to be written. Raises ValueError for what SenML has no word for."""
    if isinstance(value, bool):
        label = "vb"
    elif _is_number(value):
        label = "v"
    elif isinstance(value, str):
        label = "vs"
    else:
        raise ValueError(f"SenML has no word for {value!r}")
    if not is_cbor:
        return [{"n": name, label: value}] if name else [{label: value}]
    numbers = {text: number for number, text in LABELS.items()}
    record: dict[Any, Any] = {numbers[label]: value}
    return [{numbers["n"]: name, **record}] if name else [record]
