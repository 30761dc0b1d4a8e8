"""Parcels back to messages: the decoder of docs/packing.md, one file without dependencies, to be copied.

``unpack`` reads one parcel, ``unpack_all`` several one behind the other, as a file or a pipe holds them::

    for record in unpack(publish.payload):
        store(record.topic, record.time, record.payload, once=record.id)

Input is not trusted: whatever the bytes are, the answer is records or ``UnpackError``, within ``most_rows`` rows and
about ``most_bytes`` of memory, and in time that these two bound. Runs on Python 3.11 and later.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

MOST_ROWS = 100_000
MOST_BYTES = 64 << 20

MAGIC = b"EGC\x01"

_EPOCH = datetime(1970, 1, 1)
_EARLIEST, _LATEST = -62_135_596_800_000, 253_402_300_799_999  # milliseconds: years 1 to 9999

_ROW_COSTS = 512  # bytes of memory that a row takes beside topic and payload, at most
_LITERAL_COSTS = 64  # and a literal, until its payload is put together
_LONGEST_HEAD = 1 << 20  # bytes of a JSON line in front of the payload

_PROPERTIES = {1: "payload-format", 3: "content-type", 8: "response-topic", 9: "correlation-data", 38: "user"}
_NAMES = frozenset(_PROPERTIES.values())
_ID = re.compile(r"-?[0-9]{1,20}:-?[0-9]{1,20}")


class UnpackError(ValueError):
    """The bytes are no parcel, or one that is larger than the reader wants."""


class Record(NamedTuple):
    """One message.

    time        when it was accepted or measured, seconds since 1970, to the millisecond
    id          ``boot:seq``, the same in every repeat: drop what you have seen
    qos         with which it was published at the gateway
    expires     not worth keeping after this time, seconds since 1970; None never expires
    properties  MQTT 5 properties as (name, value) in order; the value of ``user`` is a pair
    """

    topic: str
    payload: bytes
    time: float
    id: str
    qos: int = 1
    retain: bool = False
    expires: float | None = None
    properties: tuple[tuple[str, Any], ...] = ()


def unpack(data: bytes, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES) -> list[Record]:
    """The records of one parcel, in order. Raises UnpackError when ``data`` is anything else."""
    records, end = _parcel(bytes(data), 0, _Budget(most_rows, most_bytes))
    if end != len(data):
        raise UnpackError(f"{len(data) - end} bytes follow the parcel")
    return records


def unpack_all(data: bytes, most_rows: int = MOST_ROWS, most_bytes: int = MOST_BYTES) -> Iterator[Record]:
    """The records of parcels one behind the other; the bounds are those of each. Raises UnpackError at the first that
    is none, after the records of those before it."""
    data = bytes(data)
    at = 0
    while at < len(data):
        try:
            records, at = _parcel(data, at, _Budget(most_rows, most_bytes))
        except UnpackError as error:
            raise UnpackError(f"at byte {at}: {error}") from None
        yield from records


class _Budget:
    """What may still be read and made."""

    def __init__(self, rows: int, size: int) -> None:
        self.rows = rows
        self.most = self.left = size

    def take_rows(self, count: int) -> None:
        self.rows -= count
        if self.rows < 0:
            raise UnpackError("more rows than the reader takes (most_rows)")
        self.take(count * _ROW_COSTS)

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise UnpackError(f"more than the {self.most} bytes of memory that the reader gives it (most_bytes)")


def _parcel(data: bytes, at: int, budget: _Budget) -> tuple[list[Record], int]:
    """One parcel and where it ends."""
    if data.startswith(b"{", at):
        return _lines(data, at, budget)
    if data.startswith(b"\x78", at):
        raw, end = _inflate(data, at, budget)
        records, stop = _lines(raw, 0, budget)
    elif data.startswith(MAGIC + b"\0", at):
        body = _Reader(data, at + 5, len(data), budget)
        return _Columns(body, budget).records(), body.at
    elif data.startswith(MAGIC + b"\1", at):
        raw, end = _inflate(data, at + 5, budget)
        body = _Reader(raw, 0, len(raw), budget)
        records, stop = _Columns(body, budget).records(), body.at
    elif data.startswith(b"EGC", at):
        raise UnpackError("columns of another version, which this decoder does not know")
    else:
        raise UnpackError(f"no parcel begins with {data[at : at + 4].hex(' ') or 'nothing'}")
    if stop != len(raw):
        raise UnpackError(f"{len(raw) - stop} bytes are left over behind record {len(records)}")
    return records, end


def _inflate(data: bytes, at: int, budget: _Budget) -> tuple[bytes, int]:
    """A zlib stream and where it ends."""
    stream = zlib.decompressobj()
    pieces: list[bytes] = []
    try:
        while not stream.eof:
            fed = data[at : at + 65_536]
            if not fed:
                raise UnpackError("the compressed data are cut off")
            at += len(fed)
            pieces.append(stream.decompress(fed, budget.left + 1))
            budget.take(len(pieces[-1]))
    except zlib.error as error:
        raise UnpackError(f"the compressed data are damaged: {error}") from None
    return b"".join(pieces), at - len(stream.unused_data)


def _lines(data: bytes, at: int, budget: _Budget) -> tuple[list[Record], int]:
    """Lines as long as they begin like one, and where the first begins that does not."""
    records: list[Record] = []
    while data.startswith(b"{", at):
        end = data.find(b"\n", at)
        if end < 0:
            raise UnpackError(f"line {len(records) + 1} has no end")
        budget.take_rows(1)
        try:
            records.append(_line(data[at:end], budget))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise UnpackError(f"line {len(records) + 1}: {error}") from None
        at = end + 1
    return records, at


def _line(line: bytes, budget: _Budget) -> Record:
    # No quote stands bare in a JSON string, so none of these is inside of one; what is in front is the head.
    for key in (b',"payload":', b',"text":', b',"base64":'):
        head, found, rest = line.partition(key)
        if found:
            break
    if not found or not rest.endswith(b"}"):
        raise ValueError("has no payload at its end")
    if len(head) > _LONGEST_HEAD:
        raise ValueError("is longer in front of its payload than any message is")
    budget.take(len(rest) + 16 * len(head))
    payload = rest[:-1]
    if key != b',"payload":':
        text = json.loads(payload)
        if not isinstance(text, str):
            raise ValueError("has a text that is none")
        payload = text.encode() if key == b',"text":' else base64.b64decode(text, validate=True)
    known = json.loads(head + b"}")
    topic, name, qos = known["topic"], known["id"], known.get("qos", 1)
    if not (isinstance(topic, str) and topic.encode() and _ID.fullmatch(name) and qos in (0, 1, 2)):
        raise ValueError("has a wrong topic, id or qos")
    expires = _moment(known["expires"]) if "expires" in known else None
    properties = tuple([_named(*item) for item in known.get("props", ())])
    return Record(topic, payload, _moment(known["time"]), name, int(qos), "retain" in known, expires, properties)


def _moment(text: str) -> float:
    """Seconds since 1970 of ``2026-11-21T05:29:06.123Z``."""
    return round((datetime.fromisoformat(text) - _EPOCH.replace(tzinfo=UTC)) / timedelta(milliseconds=1)) / 1000


def _named(name: str, value: Any) -> tuple[str, Any]:
    if name == "correlation-data":
        value = base64.b64decode(value, validate=True)
    elif name == "user":
        key, text = value
        value = (str(key), str(text))
    elif name not in _NAMES:
        raise ValueError(f"has an unknown property {name!r}")
    return name, value


class _Reader:
    """Walks over ``data[at:end]``; nothing is read past the end."""

    def __init__(self, data: bytes, at: int, end: int, budget: _Budget) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.budget = budget

    def skip(self, size: int) -> int:
        """Step over ``size`` bytes; where they begin."""
        at = self.at
        if size > self.end - at:
            raise UnpackError("the columns are cut off")
        self.at = at + size
        return at

    def take(self, size: int) -> bytes:
        at = self.skip(size)
        return self.data[at : at + size]

    def number(self, most: int = 1 << 64) -> int:
        value, byte, shift = 0, 0x80, 0
        while byte > 0x7F and shift < 70:
            byte = self.data[self.skip(1)]
            value |= (byte & 0x7F) << shift
            shift += 7
        if byte > 0x7F or value > most:
            raise UnpackError(f"a number above {most}")
        return value

    def signed(self) -> int:
        value = self.number()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def binary(self) -> bytes:
        size = self.number()
        self.budget.take(size)
        return self.take(size)


class _Columns:
    """The body of a parcel of columns; ``records`` reads it from front to back, once."""

    def __init__(self, body: _Reader, budget: _Budget) -> None:
        head, tail = body.number(), body.number()
        self._head = _Reader(body.data, body.skip(head), body.at, budget)
        self._tail = _Reader(body.data, body.skip(tail), body.at, budget)
        self._budget = budget

    def records(self) -> list[Record]:
        """Each row. Raises UnpackError."""
        try:
            return self._records()
        except (UnicodeDecodeError, OverflowError, struct.error) as error:
            raise UnpackError(f"columns that say nothing: {error}") from None

    def _records(self) -> list[Record]:
        head, integers = self._head, self._integers
        count = head.number()
        self._budget.take_rows(count)
        topics = self._topics(head.number(count))
        templates = [self._template() for _ in range(head.number(count))]
        order = integers(count, 0, count - 1)
        topic_of = integers(max(order) + 1, 0, len(topics) - 1)
        template_of = integers(max(order) + 1, 0, len(templates) - 1)
        times = integers(count, _EARLIEST, _LATEST)
        boots, seqs = integers(count), integers(count)
        flags = integers(count, 0, 6)
        lives = integers(count, 0, _LATEST)
        lists = integers(count, 0, count)
        properties = [(), *[self._properties() for _ in range(head.number(count))]]
        if max(lists) >= len(properties) or 3 in flags:
            raise UnpackError("a row with a QoS or properties that do not exist")
        payloads = self._payloads(templates, template_of, order, times)
        if head.at != head.end or self._tail.at != self._tail.end:
            raise UnpackError("bytes are left over in the columns")
        topics = [topics[topic] for topic in topic_of]
        ends = [(time + life - 1) / 1000 if life else None for time, life in zip(times, lives, strict=True)]
        rows = zip(order, payloads, times, boots, seqs, flags, ends, lists, strict=True)
        return [
            Record(topics[stream], payload, time / 1000, f"{boot}:{seq}", flag & 3, flag > 3, end, properties[kept])
            for stream, payload, time, boot, seq, flag, end, kept in rows
        ]

    def _topics(self, count: int) -> list[str]:
        found, last = [], b""
        for _ in range(count):
            last = last[: self._head.number(len(last))] + self._head.binary()
            self._budget.take(len(last))
            found.append(last.decode())
        return found

    def _template(self) -> tuple[bytes, bytes]:
        """A text with ``%b`` where its literals go, and their marks."""
        size = self._head.number()
        self._budget.take(size)
        text = self._head.take(size >> 1)
        marks = b"" if size & 1 else bytes([byte for byte in text if byte < 2])
        text = text.replace(b"%", b"%%")
        return text.replace(b"\0", b"%b").replace(b"\1", b"%b") if marks else text, marks

    def _properties(self) -> tuple[tuple[str, Any], ...]:
        head = self._head
        found: list[tuple[str, Any]] = []
        for _ in range(head.number()):
            self._budget.take(_ROW_COSTS)
            kind = head.take(1)[0]
            if kind not in _PROPERTIES:
                raise UnpackError("a property that does not exist")
            value = head.number() if kind == 1 else head.binary() if kind == 9 else head.binary().decode()
            found.append((_PROPERTIES[kind], (value, head.binary().decode()) if kind == 38 else value))
        return tuple(found)

    def _integers(self, count: int, low: int | None = None, high: int | None = None) -> list[int]:
        """A column of integers, see docs/packing.md."""
        kind = self._head.take(1)[0]
        order, width = kind >> 4, kind & 15
        if order > 2 or width > 8 or order >= count:
            raise UnpackError("a column written in an unknown way, or without a row")
        firsts = [self._head.signed() for _ in range(order)]
        least = self._head.signed()
        rest = count - order
        values = [least] * rest
        if width:
            planes = self._tail.take(width * rest)
            raw = bytearray(8 * rest)
            for plane in range(width):
                raw[plane::8] = planes[plane * rest : (plane + 1) * rest]
            values = [least + value for value in struct.unpack(f"<{rest}Q", raw)]
        for first in reversed(firsts):
            values = list(accumulate([first, *values]))
        if (low is not None and min(values) < low) or (high is not None and max(values) > high):
            raise UnpackError(f"a value outside {low} to {high}")
        return values

    def _payloads(
        self, templates: list[tuple[bytes, bytes]], template_of: list[int], order: list[int], times: list[int]
    ) -> list[bytes]:
        """Each payload, in the order of the rows."""
        of_stream: list[list[int]] = [[] for _ in template_of]
        of_template: list[list[int]] = [[] for _ in templates]
        for stream, time in zip(order, times, strict=True):
            of_stream[stream].append(time)
            of_template[template_of[stream]].append(time)
        for rows, (text, marks) in zip(of_template, templates, strict=True):
            self._budget.take(len(rows) * (len(text) + _LITERAL_COSTS * len(marks)))
        shared = [
            [iter(self._literals(rows) if mark else ()) for mark in marks]
            for rows, (_, marks) in zip(of_template, templates, strict=True)
        ]
        sources = []
        for rows, template in zip(of_stream, template_of, strict=True):
            places = zip(templates[template][1], shared[template], strict=True)
            sources.append([common if mark else iter(self._literals(rows)) for mark, common in places])
        texts = [templates[template][0] for template in template_of]
        return [texts[stream] % tuple([next(source) for source in sources[stream]]) for stream in order]

    def _literals(self, times: list[int]) -> list[bytes]:
        """A column of literals; ``times``: of their messages, in milliseconds."""
        kind = self._head.take(1)[0]
        kind, decimals = kind & 7, kind >> 3
        if kind == 4:
            return self._times(decimals, self._head.binary(), times)
        values = self._integers(len(times))
        if kind == 0:
            return [_decimal(value, decimals) for value in values]
        if kind == 1 and decimals:
            stripped = [_decimal(value, decimals).rstrip(b"0") for value in values]
            return [text + b"0" if text.endswith(b".") else text for text in stripped]
        if kind in (2, 3):
            bits, number = ("i", "f") if kind == 2 else ("q", "d")
            floats = struct.unpack(f"{len(values)}{number}", struct.pack(f"{len(values)}{bits}", *values))
            return [repr(value).encode() for value in floats]
        if kind == 5 and min(values) >= 0:
            self._budget.take(sum(values))
            return [self._tail.take(size) for size in values]
        raise UnpackError("literals of an unknown kind")

    def _times(self, decimals: int, suffix: bytes, times: list[int]) -> list[bytes]:
        self._budget.take(len(times) * len(suffix))
        unit = 10**decimals
        texts: dict[int, bytes] = {}
        found = []
        for value, time in zip(self._integers(len(times)), times, strict=True):
            second, fraction = divmod(value + time * unit // 1000, unit)
            if second not in texts:
                texts[second] = (_EPOCH + timedelta(seconds=second)).isoformat().encode()
            found.append(texts[second] + (b".%0*d" % (decimals, fraction) if decimals else b"") + suffix)
        return found


def _decimal(value: int, decimals: int) -> bytes:
    """``value`` with its last digits behind a point."""
    if not decimals:
        return b"%d" % value
    text = b"%0*d" % (decimals + 1, abs(value))
    return b"%b%b.%b" % (b"-" if value < 0 else b"", text[:-decimals], text[-decimals:])
