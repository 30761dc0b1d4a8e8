"""Content formats: which a message has, which are taken, and one made into another. Pure.

Numbers: RFC 7252 section 12.3 (text, link-format, octet-stream, JSON), RFC 8949 section 9.5 (CBOR, 60), RFC 8428
section 12.3.3 (SenML: 110 and 112).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from hashlib import blake2b
from typing import Any, Final

from gateway.concise import from_cbor, to_cbor
from gateway.listeners.coap.exchange import (
    BAD_REQUEST,
    NOT_ACCEPTABLE,
    UNSUPPORTED_CONTENT_FORMAT,
    Answer,
)
from gateway.message import CONTENT_TYPE, PAYLOAD_FORMAT, Message, Properties, dump_json

TEXT: Final = 0
LINKS: Final = 40
OCTETS: Final = 42
JSON: Final = 50
CBOR: Final = 60
SENML_JSON: Final = 110
SENML_CBOR: Final = 112

WORDS: Final = {
    "text": TEXT,
    "octet-stream": OCTETS,
    "json": JSON,
    "cbor": CBOR,
    "senml+json": SENML_JSON,
    "senml+cbor": SENML_CBOR,
}

MEDIA_TYPES: Final = {
    TEXT: "text/plain;charset=utf-8",
    OCTETS: "application/octet-stream",
    JSON: "application/json",
    CBOR: "application/cbor",
    SENML_JSON: "application/senml+json",
    SENML_CBOR: "application/senml+cbor",
}

_NUMBERS: Final = {text.partition(";")[0]: number for number, text in MEDIA_TYPES.items()}
_AS_JSON: Final = {CBOR: JSON, SENML_CBOR: SENML_JSON}
_IS_JSON: Final = (JSON, SENML_JSON)
_IS_CBOR: Final = (CBOR, SENML_CBOR)


def taken(payload: bytes, number: int | None, allowed: Collection[int], cbor_to_json: bool) -> tuple[bytes, Properties]:
    """What arrives -> payload and properties of the message. Raises Answer: 4.15 for a format that is not taken, 4.00
    for a payload that is not what its format says."""
    if number is None or not payload:
        return payload, ()
    if number not in allowed:
        raise Answer(UNSUPPORTED_CONTENT_FORMAT, f"content format {number} is not taken here")
    if number in _IS_CBOR:
        value = _from_cbor(payload)
        if not cbor_to_json:
            return payload, ((CONTENT_TYPE, MEDIA_TYPES[number]),)
        payload, number = _dump(value, number), _AS_JSON[number]
    elif number in _IS_JSON:
        try:
            json.loads(payload.decode())
        except (ValueError, RecursionError):
            raise Answer(BAD_REQUEST, "the payload is no JSON") from None
    if number == OCTETS:
        return payload, ((CONTENT_TYPE, MEDIA_TYPES[OCTETS]),)
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Answer(BAD_REQUEST, "the payload is no UTF-8 text") from None
    return payload, ((PAYLOAD_FORMAT, 1), (CONTENT_TYPE, MEDIA_TYPES[number]))


def format_of(message: Message) -> int:
    """The format that a message has: what its publisher said, else what it looks like."""
    for identifier, value in message.props:
        if identifier == CONTENT_TYPE:
            known = _NUMBERS.get(str(value).partition(";")[0].strip().lower())
            if known is not None:
                return known
    value = message.value
    if isinstance(value, dict | list):
        return JSON
    return OCTETS if value is None and message.payload != b"null" else TEXT


def given(message: Message, accept: int | None) -> tuple[bytes, int]:
    """Payload and format of the answer to a GET. Raises Answer 4.06 when it cannot be had as ``accept`` asks."""
    has = format_of(message)
    if accept is None or accept == has:
        return message.payload, has
    if accept == OCTETS:
        return message.payload, OCTETS
    if accept == TEXT and has in (*_IS_JSON, TEXT):
        return message.payload, TEXT
    if accept == JSON and has in (*_IS_JSON, TEXT):
        return dump_json(message.value), JSON
    if accept == CBOR and has in (*_IS_JSON, TEXT):
        return to_cbor(message.value), CBOR
    if accept == JSON and has in _IS_CBOR:
        return _dump(_from_cbor(message.payload), has), JSON
    raise Answer(NOT_ACCEPTABLE, f"it is content format {has}")


def etag_of(payload: bytes, number: int) -> bytes:
    """Eight bytes that stand for this representation (RFC 7252 section 5.10.6)."""
    return blake2b(payload, digest_size=8, salt=number.to_bytes(2, "big")).digest()


def _from_cbor(payload: bytes) -> Any:
    try:
        return from_cbor(payload)
    except ValueError:
        raise Answer(BAD_REQUEST, "the payload is no CBOR") from None


def _dump(value: Any, number: int) -> bytes:
    try:
        return dump_json(value)
    except (TypeError, ValueError, RecursionError):
        raise Answer(BAD_REQUEST, f"content format {number} holds what JSON has no word for") from None
