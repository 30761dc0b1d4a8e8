"""What the cloud, or a person, may ask to be sent once more: rows by message id, or by the time they were accepted.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from gateway.errors import GatewayError
from gateway.outbound import Wanted

MAX_REQUEST: Final = 4096
"""Bytes of a request."""

MAX_ID: Final = 64
"""Characters of its id."""

_KEYS: Final = ("id", "from", "to", "since", "until")
_SHAPE: Final = '{"id": "...", "from": "3:100", "to": "3:200"} or {"id": "...", "since": TIME, "until": TIME}'


class Request(NamedTuple):
    """``id`` as the asker has chosen it; it comes back with the answer and with each row."""

    id: str
    wanted: Wanted


def read_request(payload: bytes) -> Request:
    """The request in a message. Raises GatewayError with what it must be."""
    if len(payload) > MAX_REQUEST:
        raise GatewayError(f"a request has {MAX_REQUEST} bytes at most, not {len(payload)}")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise GatewayError(f"a request must be {_SHAPE}")
    return request_of(found)


def request_of(found: Mapping[str, Any]) -> Request:
    """The request behind a JSON object. Raises GatewayError."""
    for key in found:
        if key not in _KEYS:
            raise GatewayError(f"unknown key {key[:100]!r}; a request must be {_SHAPE}")
    name = found.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
        raise GatewayError(f"id must be a text of 1 to {MAX_ID} characters: it comes back with the answer")
    by_id, by_time = found.keys() & {"from", "to"}, found.keys() & {"since", "until"}
    if by_id and not by_time:
        return Request(name, _by_id(found))
    if by_time and not by_id:
        return Request(name, _by_time(found))
    raise GatewayError(f"a request must be {_SHAPE}")


def _by_id(found: Mapping[str, Any]) -> Wanted:
    boot, first = _message_id(found, "from")
    last_boot, last = _message_id(found, "to")
    if boot != last_boot:
        raise GatewayError(f"from and to must be of one start of the gateway, not of {boot} and {last_boot}")
    if last < first:
        raise GatewayError("to must not be before from")
    return Wanted(boot, first, last, -math.inf, math.inf)


def _message_id(found: Mapping[str, Any], key: str) -> tuple[int, int]:
    value = found.get(key)
    parts = value.split(":") if isinstance(value, str) and len(value) <= MAX_ID else []
    # isdecimal alone takes digits of other scripts.
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise GatewayError(f"{key} must be a message id such as 3:100")
    boot, seq = int(parts[0]), int(parts[1])
    if not (boot < 1 << 56 and seq < 1 << 56):
        raise GatewayError(f"{key} must be a message id such as 3:100")
    return boot, seq


def _by_time(found: Mapping[str, Any]) -> Wanted:
    since, until = _time(found, "since", -math.inf), _time(found, "until", math.inf)
    if until < since:
        raise GatewayError("until must not be before since")
    return Wanted(None, 0, (1 << 56) - 1, since, until)


def _time(found: Mapping[str, Any], key: str, default: float) -> float:
    value = found.get(key)
    if value is None:
        return default
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None:
            return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    raise GatewayError(f"{key} must be a time such as 2026-11-25T10:00:00Z, or seconds since 1970")
