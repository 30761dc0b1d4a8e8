"""Rows as they lie in the database: all rows of one class in one transaction are one BLOB, a *segment*.

Columns, little-endian, behind a header of four numbers (rows, bytes of the heads, bytes of the extras, 0):
number behind the segment's first (uint32), time (double), head (uint16), length of the payload (uint32); then the
heads and the extras as JSON, then the payloads one behind the other. The whole is compressed when that pays: a first
byte says so. Reading needs no other row, and a look at what is in it no payload.

A *head* is what many rows share: topic, source, QoS, retain, and the uplinks that must have them.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import Any, Final, NamedTuple

from gateway.message import Properties
from gateway.outbound import Row, make_row
from gateway.store.errors import StoreError
from gateway.store.props import decode_props, encode_props

_HEADER: Final = struct.Struct("<IIII")
_PLAIN: Final = b"\x01"
_PACKED: Final = b"\x02"

PACK_BYTES: Final = 32 << 10
"""Longer segments come from a rush of messages: then the processor is what is scarce, and pages are full anyway."""

MAX_ROWS: Final = 1 << 16
"""Rows in a segment at most: heads are numbered with 16 bits."""

HeadKey = tuple[str, str, int, bool, tuple[str, ...]]
"""(topic, source, QoS, retain, uplinks)"""


class Columns(NamedTuple):
    """The rows of a segment. ``extras``: (expires, properties) by index, of those that have them."""

    seqs: Sequence[int]
    times: Sequence[float]
    heads: Sequence[HeadKey]
    payloads: Sequence[bytes]
    extras: dict[int, tuple[float | None, Properties]]

    def part(self, boot: int, start: int, end: int) -> list[Row]:
        """The rows from one index up to before another."""
        heads = self.heads[start:end]
        extras = self.extras
        if extras:
            more = [extras.get(index, (None, ())) for index in range(start, end)]
            expires: Iterable[float | None] = [one[0] for one in more]
            props: Iterable[Properties] = [one[1] for one in more]
        else:
            expires, props = repeat(None), repeat(())
        columns = zip(
            self.seqs[start:end], repeat(boot), [head[0] for head in heads], self.payloads[start:end],
            [head[2] for head in heads], [head[3] for head in heads], props, self.times[start:end], expires,
            [head[1] for head in heads], repeat(""), [head[4] for head in heads],
            strict=False,
        )  # fmt: skip
        return list(map(make_row, columns))

    def rows(self, boot: int, after: int, wants: Callable[[tuple[str, ...]], bool] | None = None) -> Iterator[Row]:
        """Rows with ``seq > after``; with ``wants`` only those that are for whom it wants."""
        for index, seq in enumerate(self.seqs):
            if seq > after:
                topic, source, qos, retain, names = self.heads[index]
                if wants is not None and not wants(names):
                    continue
                expires, props = self.extras.get(index, (None, ()))
                yield Row(
                    seq, boot, topic, self.payloads[index], qos, retain, props, self.times[index], expires, source,
                    "", names,
                )  # fmt: skip


class Packed(NamedTuple):
    """A segment as it is stored: the BLOB, the numbers of its first and last row, how many they are, and the times of
    the oldest and the newest."""

    data: bytes
    first: int
    last: int
    rows: int
    since: float
    until: float


def head_text(head: HeadKey) -> bytes:
    """A head as it is stored."""
    return json.dumps(head, separators=(",", ":")).encode()


def pack(columns: Columns, always: bool = False) -> Packed:
    """At least one row, at most MAX_ROWS; ``always``: compress it however long it is."""
    # By identity: rows of one topic share the object, and its hash would have to be made for each row.
    known: dict[int, int] = {}
    places = [known.setdefault(id(head), len(known)) for head in columns.heads]
    by_id = {id(head): head for head in columns.heads}
    heads = [head_text(by_id[key]) for key in known]
    return pack_columns(columns.seqs, columns.times, places, heads, columns.payloads, columns.extras, always)


def pack_columns(
    seqs: Sequence[int],
    times: Sequence[float],
    places: Sequence[int],
    heads: Sequence[bytes],
    payloads: Sequence[bytes],
    extras: dict[int, tuple[float | None, Properties]],
    always: bool = False,
) -> Packed:
    """As ``pack``, where somebody has numbered the heads already: ``places`` has each row's, ``heads`` their texts."""
    first = seqs[0]
    known = b"[" + b",".join(heads) + b"]"
    more = b""
    if extras:
        items = [(i, expires, encode_props(props)) for i, (expires, props) in extras.items()]
        more = json.dumps(items, separators=(",", ":")).encode()
    body = b"".join(
        (
            _HEADER.pack(len(seqs), len(known), len(more), 0),
            _bytes(array("I", range(len(seqs)) if isinstance(seqs, range) else [seq - first for seq in seqs])),
            _bytes(array("d", times)),
            _bytes(array("H", places)),
            _bytes(array("I", map(len, payloads))),
            known,
            more,
            *payloads,
        )
    )
    data = _PLAIN + body
    if always or len(body) <= PACK_BYTES:
        packed = zlib.compress(body, 1)
        if len(packed) < len(body) - len(body) // 8:
            data = _PACKED + packed
    return Packed(data, first, seqs[-1], len(seqs), min(times), max(times))


def unpack(first: int, data: bytes) -> Columns:
    """The rows behind ``pack``; ``first`` is the number of the first. Raises StoreError when it is damaged."""
    try:
        body = data[1:] if data[:1] == _PLAIN else zlib.decompress(data[1:])
        count, heads_size, extras_size, _ = _HEADER.unpack_from(body)
        at = _HEADER.size
        columns: list[Any] = []
        for kind, size in (("I", 4), ("d", 8), ("H", 2), ("I", 4)):
            columns.append(_numbers(kind, body[at : at + size * count]))
            at += size * count
        deltas, times, places, lengths = columns
        known = [
            (topic, source, qos, retain, tuple(names))
            for topic, source, qos, retain, names in json.loads(body[at : at + heads_size])
        ]
        at += heads_size
        extras: dict[int, tuple[float | None, Properties]] = {}
        if extras_size:
            items = json.loads(body[at : at + extras_size])
            extras = {index: (expires, decode_props(props)) for index, expires, props in items}
            at += extras_size
        ends = list(accumulate(lengths, initial=at))
        if ends[-1] != len(body):
            raise ValueError(f"{len(body)} bytes, not {ends[-1]}")
        payloads = [body[start:end] for start, end in zip(ends, ends[1:], strict=False)]
        return Columns([first + delta for delta in deltas], times, [known[p] for p in places], payloads, extras)
    except (ValueError, IndexError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise StoreError(f"the segment that begins with row {first} is damaged: {error}") from error


def _bytes(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(kind: str, data: bytes) -> array[Any]:
    numbers = array(kind)
    numbers.frombytes(data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
