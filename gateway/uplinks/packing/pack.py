"""Rows into parcels: written in one of the formats, compressed, cut so that each fits into a packet.

A parcel needs no other one to be read. It says what it is in properties (MQTT 5) and in its first bytes (MQTT 3.1.1):

    {             JSON lines
    78            zlib (RFC 1950) of JSON lines
    EGC 01 00     columns
    EGC 01 01     zlib of columns

Pure: no clock, no I/O.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from gateway.uplinks.packing.columns import pack_columns
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.lines import Lines

Format = Literal["lines", "columns"]
Compress = Literal["zlib", "none"]

LEVEL_OF_COLUMNS: Final = 9
"""Of zlib. Columns are few bytes, so that the best costs little; docs/packing.md has what each level saves."""

MAGIC: Final = b"EGC\x01"


class Packed(NamedTuple):
    """Entries of one parcel and its payload."""

    entries: Sequence[Entry]
    payload: bytes


def pack(
    entries: Sequence[Entry], form: Format, compress: Compress, limit: int, writer: Lines | None = None
) -> Iterator[Packed]:
    """At least one entry in as few parcels as it takes to keep each payload within ``limit`` bytes, in order.
    ``writer``: of lines; what it has learned is used.

    An entry that alone is larger comes alone, larger than the limit: who sends it will be refused, and says so.
    """
    payload = _payload(entries, form, compress, writer)
    pieces = min(len(payload) // limit + 1, len(entries))
    if len(payload) <= limit or pieces == 1:
        yield Packed(entries, payload)
        return
    step = -(-len(entries) // pieces)
    for start in range(0, len(entries), step):
        yield from pack(entries[start : start + step], form, compress, limit, writer)


def _payload(entries: Sequence[Entry], form: Format, compress: Compress, writer: Lines | None) -> bytes:
    if form == "lines":
        writer = writer or Lines()
        lines = writer.pack(entries)
        return zlib.compress(lines, writer.level) if compress == "zlib" else lines
    columns = pack_columns(entries)
    return MAGIC + (b"\1" + zlib.compress(columns, LEVEL_OF_COLUMNS) if compress == "zlib" else b"\0" + columns)
