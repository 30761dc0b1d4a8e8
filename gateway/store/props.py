"""MQTT 5 properties as text in a column, and back without loss.

A JSON list ``[id, value, id, value, ...]``: order and repeats matter. A number and text stand as they are,
bytes as ``{"b": base64}``, a user property's pair as a list of two. Only ASCII, so that text which is not valid
UTF-8 (a rule may make it) cannot make a row that the database refuses.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

from gateway.message import Properties


def encode_props(props: Properties) -> str | None:
    """Text for the column; None when there are none."""
    if not props:
        return None
    flat: list[Any] = []
    for identifier, value in props:
        flat.append(identifier)
        flat.append({"b": b64encode(value).decode()} if isinstance(value, (bytes, bytearray)) else value)
    return json.dumps(flat, separators=(",", ":"))


def decode_props(text: str | None) -> Properties:
    """The properties behind ``encode_props``."""
    if text is None:
        return ()
    flat = json.loads(text)
    return tuple((identifier, _value(value)) for identifier, value in zip(flat[::2], flat[1::2], strict=True))


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return b64decode(value["b"])
    return tuple(value) if isinstance(value, list) else value
