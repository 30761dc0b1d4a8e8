"""Rows as JSON lines: one object a line, which any JSON reader takes.

The payload stands last in its line, as the bytes that it is when they are JSON on one line, so that nothing is lost by
reading numbers and writing them again: the decoder cuts it out. What is no such JSON is ``text``, or ``base64`` when
it is no UTF-8 either. What is as usual is left out: QoS 1, not retained, never expires, no properties.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from gateway.clock import iso_time
from gateway.message import (
    CONTENT_TYPE,
    CORRELATION_DATA,
    PAYLOAD_FORMAT,
    RESPONSE_TOPIC,
    USER_PROPERTY,
    Properties,
)
from gateway.uplinks.packing.entry import Entry

NAMES: Final = {
    PAYLOAD_FORMAT: "payload-format",
    CONTENT_TYPE: "content-type",
    RESPONSE_TOPIC: "response-topic",
    CORRELATION_DATA: "correlation-data",
    USER_PROPERTY: "user",
}
"""What the properties of a message are called in a line."""


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_strict: Final = json.JSONDecoder(parse_constant=_no_number).decode
"""Python reads NaN and infinities too, which no other reader of JSON has to."""


def pack_lines(entries: Sequence[Entry]) -> bytes:
    """The lines, each with its line feed."""
    topics: dict[str, str] = {}
    lines: list[bytes] = []
    last, stamp = -1.0, ""
    for row, topic, props in entries:
        name = topics.get(topic)
        if name is None:
            name = topics[topic] = _text(topic)
        if row.time != last:
            last, stamp = row.time, iso_time(row.time)
        head = f'{{"topic":{name},"time":"{stamp}","id":"{row.boot}:{row.seq}"'
        if row.qos != 1 or row.retain or row.expires is not None or props:
            head += _unusual(row.qos, row.retain, row.expires, props)
        lines.append(head.encode() + _payload(row.payload))
    return b"".join(lines)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unusual(qos: int, retain: bool, expires: float | None, props: Properties) -> str:
    text = "" if qos == 1 else f',"qos":{qos}'
    if retain:
        text += ',"retain":true'
    if expires is not None:
        text += f',"expires":"{iso_time(expires)}"'
    if props:
        named = [[NAMES[identifier], _property(value)] for identifier, value in props]
        text += ',"props":' + json.dumps(named, ensure_ascii=False, separators=(",", ":"))
    return text


def _property(value: Any) -> Any:
    return b64encode(value).decode() if isinstance(value, bytes) else value


def _payload(payload: bytes) -> bytes:
    """The last key of a line, with the end of the line."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return b',"base64":"' + b64encode(payload) + b'"}\n'
    if b"\n" not in payload and b"\r" not in payload:
        try:
            _strict(text)
            return b',"payload":' + payload + b"}\n"
        except (ValueError, RecursionError):
            pass
    return b',"text":' + _text(text).encode() + b"}\n"
