"""Rows as JSON lines: one object a line, which any JSON reader takes.

The payload stands last in its line, as the bytes that it is when they are JSON on one line, so that nothing is lost by
reading numbers and writing them again: the decoder cuts it out. What is no such JSON is ``text``, or ``base64`` when
it is no UTF-8 either. What is as usual is left out: QoS 1, not retained, never expires, no properties.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from itertools import chain
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
from gateway.uplinks.packing.shapes import Shapes

NAMES: Final = {
    PAYLOAD_FORMAT: "payload-format",
    CONTENT_TYPE: "content-type",
    RESPONSE_TOPIC: "response-topic",
    CORRELATION_DATA: "correlation-data",
    USER_PROPERTY: "user",
}
"""What the properties of a message are called in a line."""

LEVEL: Final = 6
LEVEL_OF_BACKLOG: Final = 1
"""Of zlib. A backlog comes as fast as it can be packed: there the lowest takes a third of the time of the usual one and
makes a fifth more bytes (docs/packing.md). Whoever pays for bytes takes columns."""

_HEAD: Final = b'{"topic":%b,"time":"%b%b","id":"%d:%d"'
_USUAL: Final = _HEAD + b',"payload":%b}\n'
_MILLIS: Final = [b".%03dZ" % millis for millis in range(1000)]
"""What ends a time, behind its second. Written down once: to make it costs as much as the rest of a line."""


class Lines:
    """Writes rows as lines. What it has learned of topics and payloads serves the next ones too; that is bounded.

    level  of zlib, for what is written
    """

    __slots__ = ("_ends", "_shapes", "_topics", "level")

    MOST_TOPICS = 1024

    def __init__(self, level: int = LEVEL) -> None:
        self.level = level
        self._shapes = Shapes()
        self._topics: dict[str, bytes] = {}
        self._ends: tuple[int, list[bytes]] = (-1, [])

    def pack(self, entries: Sequence[Entry]) -> bytes:
        """The lines, each with its line feed."""
        return self._all_usual(entries) or self._one_by_one(entries)

    def _all_usual(self, entries: Sequence[Entry]) -> bytes:
        """The lines when all rows are as most are, made column by column; nothing when one is not."""
        # By position: see ``_one_by_one``.
        rows = [entry[0] for entry in entries]
        boot = rows[0][1]
        if [row for row in rows if row[4] != 1 or row[5] or row[8] is not None or row[1] != boot]:
            return b""
        if [entry for entry in entries if entry[2]]:
            return b""
        payloads = [row[3] for row in rows]
        if not self._shapes.are_lines(payloads):
            return b""
        # One piece after the other: to fill in a template for each row takes a third longer. What ends a line begins
        # the next one.
        begins = {topic: b'}\n{"topic":%b,"time":"' % self._name(topic) for topic in {entry[1] for entry in entries}}
        moments = [round(row[7] * 1000) for row in rows]
        seconds = [at // 1000 for at in moments]
        stamps = _stamps(set(seconds))
        ends = self._ends_of(boot)
        pieces = zip(
            [begins[entry[1]] for entry in entries],
            [stamps[second] for second in seconds],
            [ends[at % 1000] for at in moments],
            [b'%d","payload":' % row[0] for row in rows],
            payloads,
            strict=True,
        )
        return b"".join(chain.from_iterable(pieces))[len(b"}\n") :] + b"}\n"

    def _ends_of(self, boot: int) -> list[bytes]:
        """What stands between the second of a row of this start and its number, by its millisecond."""
        if self._ends[0] != boot:
            self._ends = boot, [b'%b","id":"%d:' % (millis, boot) for millis in _MILLIS]
        return self._ends[1]

    def _one_by_one(self, entries: Sequence[Entry]) -> bytes:
        lines: list[bytes] = []
        append, name_of, is_line = lines.append, self._name, self._shapes.is_line
        last, stamp = -1, b""
        # By position, since each name costs as much as all of them: ``outbound.Row``.
        for (seq, boot, _, payload, qos, retain, _, time, expires, _, _, _), topic, props in entries:
            name = name_of(topic)
            second, part = divmod(round(time * 1000), 1000)  # as ``iso_time`` does
            if second != last:
                last, stamp = second, iso_time(second)[: -len(".000Z")].encode()
            if qos != 1 or retain or expires is not None or props or not is_line(payload):
                more = _unusual(qos, retain, expires, props).encode()
                append(_HEAD % (name, stamp, _MILLIS[part], boot, seq) + more + _payload(payload, is_line(payload)))
            else:
                append(_USUAL % (name, stamp, _MILLIS[part], boot, seq, payload))
        return b"".join(lines)

    def _name(self, topic: str) -> bytes:
        name = self._topics.get(topic)
        if name is None:
            if len(self._topics) >= self.MOST_TOPICS:
                self._topics.clear()
            name = self._topics[topic] = _text(topic).encode()
        return name


def _stamps(seconds: set[int]) -> dict[int, bytes]:
    """Seconds as a time has them; what is above a second is written down once a minute."""
    minutes = {minute: iso_time(minute * 60)[: -len("00.000Z")].encode() for minute in {at // 60 for at in seconds}}
    return {at: b"%b%02d" % (minutes[at // 60], at % 60) for at in seconds}


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


def _payload(payload: bytes, is_line: bool) -> bytes:
    """The last key of a line, with the end of the line. ``is_line``: as it is, it is JSON on one line."""
    if is_line:
        return b',"payload":' + payload + b"}\n"
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return b',"base64":"' + b64encode(payload) + b'"}\n'
    return b',"text":' + _text(text).encode() + b"}\n"
