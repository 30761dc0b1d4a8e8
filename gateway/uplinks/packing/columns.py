"""Rows as columns: a payload is a *template* with *literals* in it, and the literals of one place make a column.

``{"v":71.3,"q":"good","t":"2026-11-21T05:29:06.123Z","u":"Cel"}`` of a hundred points, ten times each, is one template,
a hundred columns of ten numbers, and one column of a thousand times, each of which is that of its message. Nothing is
known of JSON or of points: what looks like a number or a time is a literal, whatever else stands in the payload is the
template. So quality, unit and keys cost nothing while they stay, records of any sensor are packed as well as our own,
and the very bytes come back.

A payload that has no literal, is very long, or is the only one of its template is a template without any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.fields import put_fields
from gateway.uplinks.packing.integers import Body, put_integers
from gateway.uplinks.packing.literals import put_literals

OF_TOPIC: Final = b"\0"
"""Stands in a template for a literal whose column is of one topic."""

OF_ALL: Final = b"\1"
"""Stands in a template for a literal whose column is of all rows of the template."""

_LITERAL: Final = re.compile(rb'([-0-9](?<=[":,\[ ].)[-+0-9T:.eEZ]*(?=[,\]} "]))')
"""A literal begins after, and ends before, a character that JSON may have there: part of a word is none."""

_BARE: Final = re.compile(rb"-?\d[-+0-9T:.eEZ]*")
"""A payload that is one literal."""

_LONGEST: Final = 4096
"""Bytes of a payload in which literals are looked for."""


class _Template:
    """What the payloads of some rows have in common.

    index    in the table of templates
    size     parts of each payload: text, literal, text, literal ... text
    streams  by topic
    rows     numbers of the rows that have it
    """

    __slots__ = ("index", "rows", "size", "streams")

    def __init__(self, size: int) -> None:
        self.index = 0
        self.size = size
        self.streams: dict[str, _Stream] = {}
        self.rows: list[int] = []


class _Stream:
    """Rows of one template under one topic: its number in order of appearance, the topic's, the rows' numbers."""

    __slots__ = ("index", "rows", "template", "topic")

    def __init__(self, index: int, topic: int, template: _Template) -> None:
        self.index = index
        self.topic = topic
        self.template = template
        self.rows: list[int] = []


class _Sorted:
    """Rows by template and topic.

    topics  with their numbers in order of appearance
    order   for each row, its stream
    parts   for each row, its payload as text, literal, text ... text
    """

    __slots__ = ("order", "parts", "streams", "templates", "topics")

    def __init__(self) -> None:
        self.topics: dict[str, int] = {}
        self.templates: dict[bytes, _Template] = {}
        self.streams: list[_Stream] = []
        self.order: list[int] = []
        self.parts: list[list[bytes]] = []

    def add(self, number: int, topic: str, payload: bytes) -> None:
        """Sort in the next row."""
        parts = _parts(payload)
        template = self.templates.get(OF_TOPIC.join(parts[::2])) if len(parts) > 1 else None
        if template is None or template.size != len(parts):
            parts, template = self._find(parts, payload)
        stream = template.streams.get(topic)
        if stream is None:
            known = self.topics.setdefault(topic, len(self.topics))
            stream = template.streams[topic] = _Stream(len(self.streams), known, template)
            self.streams.append(stream)
        stream.rows.append(number)
        template.rows.append(number)
        self.order.append(stream.index)
        self.parts.append(parts)

    def _find(self, parts: list[bytes], payload: bytes) -> tuple[list[bytes], _Template]:
        """The template of a payload that is its own template, or the first of one with literals."""
        if OF_TOPIC in payload or OF_ALL in payload:
            parts = [payload]
        # A text with literals never ends with this mark, so that it is not taken for a payload.
        text = OF_TOPIC.join(parts[::2]) if len(parts) > 1 else payload + OF_ALL
        template = self.templates.get(text)
        if template is None:
            template = self.templates[text] = _Template(len(parts))
        return parts, template


def pack_columns(entries: Sequence[Entry]) -> bytes:
    """At least one entry as the body of a parcel, not compressed."""
    body = Body()
    found = _Sorted()
    for number, entry in enumerate(entries):
        found.add(number, entry.topic, entry.row.payload)
    times = [round(entry.row.time * 1000) for entry in entries]
    body.number(len(entries))
    _put_topics(body, found.topics)
    templates = list(found.templates.values())
    _put_templates(body, templates, found.parts)
    put_integers(body, found.order)
    put_integers(body, [stream.topic for stream in found.streams])
    put_integers(body, [stream.template.index for stream in found.streams])
    put_integers(body, times)
    put_fields(body, entries, times)
    for template in templates:
        _put_columns(body, template, template.rows, True, found.parts, times)
    for stream in found.streams:
        _put_columns(body, stream.template, stream.rows, False, found.parts, times)
    return body.finish()


def _put_topics(body: Body, topics: Collection[str]) -> None:
    """Each as what it shares with the one before, and the rest: the same names under another device are the same bytes,
    which deflate finds in one piece."""
    body.number(len(topics))
    last = b""
    for topic in topics:
        name = topic.encode()
        shared = 0
        for one, other in zip(last, name, strict=False):
            if one != other:
                break
            shared += 1
        body.number(shared)
        body.text(name[shared:])
        last = name


def _parts(payload: bytes) -> list[bytes]:
    """Text, literal, text ... text; the payload alone when no literal is looked for in it."""
    if len(payload) > _LONGEST:
        return [payload]
    parts = _LITERAL.split(payload)
    return [b"", payload, b""] if len(parts) == 1 and _BARE.fullmatch(payload) else parts


def _put_templates(body: Body, templates: Sequence[_Template], all_parts: Sequence[list[bytes]]) -> None:
    """Number them and write the table; a text whose lowest bit of the length is 1 has no literals."""
    body.number(len(templates))
    for index, template in enumerate(templates):
        template.index = index
        parts = all_parts[template.rows[0]]
        if len(template.rows) == 1:
            # There is nothing to compare its literals with.
            parts[:] = [b"".join(parts)]
            template.size = 1
        if template.size == 1:
            body.number(len(parts[0]) << 1 | 1)
            body.head += parts[0]
            continue
        text = bytearray(parts[0])
        for place in range(1, template.size, 2):
            text += OF_ALL if _is_time(parts[place]) else OF_TOPIC
            text += parts[place + 1]
        body.number(len(text) << 1)
        body.head += text


def _is_time(literal: bytes) -> bool:
    return len(literal) >= 19 and b"T" in literal


def _put_columns(
    body: Body,
    template: _Template,
    rows: Sequence[int],
    of_all: bool,
    all_parts: Sequence[list[bytes]],
    times: Sequence[int],
) -> None:
    """The columns of a template's rows, or those of one stream."""
    first = all_parts[template.rows[0]]
    for place in range(1, template.size, 2):
        if _is_time(first[place]) == of_all:
            put_literals(body, [all_parts[row][place] for row in rows], [times[row] for row in rows])
