"""Thinning: many readings of a topic become one row for each minute, or quarter of an hour, with what matters of them.

A payload that is a number stays one: the mean. A point (``{"v", "q", "t", "u"}``) keeps its quality, unit and the time
of its last reading, and gets ``min``, ``max`` and ``n`` beside the mean. Both carry user properties that say so:
``thinned`` (seconds), ``count``, ``min``, ``max``; from them a thinned row is thinned again. A row that is neither
cannot be thinned.

Pure: no clock, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from gateway.message import USER_PROPERTY, Properties
from gateway.store.segment import Columns, HeadKey

SPANS: Final = (0.0, 60.0, 900.0)
"""Seconds that a row stands for, by the grade of its segment; 0: one reading."""

_POINT: Final = frozenset(("v", "q", "t", "u", "min", "max", "n"))
_MARKS: Final = frozenset(("thinned", "count", "min", "max"))
_STARTS: Final = frozenset(bytes((byte,)) for byte in b"{-0123456789")
"""First bytes of a JSON object or number."""
_BEFORE: Final = frozenset(bytes((byte,)) for byte in b" \t\r\n\xef")
"""First bytes of the white space (RFC 8259 section 2), or of the mark, that may come before."""
_decode: Final = json.JSONDecoder().raw_decode


class Sample(NamedTuple):
    """What one row says. ``point``: None for a bare number, else the fields beside the value."""

    n: int
    low: float
    mean: float
    high: float
    point: dict[str, Any] | None


class _Group:
    """Rows of one head, quality and unit within one span."""

    __slots__ = ("count", "expires", "high", "low", "members", "point", "props", "seq", "sum", "time")

    def __init__(self) -> None:
        self.count = self.members = self.seq = 0
        self.sum = self.time = 0.0
        self.low = float("inf")
        self.high = float("-inf")
        self.point: dict[str, Any] | None = None
        self.props: Properties = ()
        self.expires: float | None = None


class Thinned(NamedTuple):
    """``columns``: what is left, None when nothing is. ``merged``: rows that are part of another one, and ``shares``
    the same by the uplinks they are for. ``lost``: numbers of rows that cannot be thinned."""

    columns: Columns | None
    merged: int
    lost: list[int]
    shares: dict[tuple[str, ...], int]


def bucket(time: float, span: float) -> int:
    """The number of the span that a time is in."""
    return int(time // span)


def thin(parts: Iterable[tuple[Columns, int]], span: float) -> Thinned:
    """Thin rows to one for each head and ``span`` seconds. ``parts`` are segments in order, each with the number
    behind which its rows are wanted. ``lost`` counts rows over all parts in order, those not wanted included."""
    groups: dict[tuple[HeadKey, int, Any, Any], _Group] = {}
    lost: list[int] = []
    base = merged = 0
    nothing: tuple[float | None, Properties] = (None, ())
    for columns, after in parts:
        extras = columns.extras
        for index, seq in enumerate(columns.seqs):
            if seq <= after:
                continue
            expires, props = extras.get(index, nothing) if extras else nothing
            sample = read(columns.payloads[index], props)
            if sample is None:
                lost.append(base + index)
                continue
            point = sample.point
            kind = (point.get("q"), point.get("u")) if point is not None else (None, False)
            time = columns.times[index]
            key = (columns.heads[index], bucket(time, span), *kind)
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group()
            else:
                merged += 1
            group.count += sample.n
            group.members += 1
            group.sum += sample.mean * sample.n
            if sample.low < group.low:
                group.low = sample.low
            if sample.high > group.high:
                group.high = sample.high
            group.seq, group.time, group.point, group.props, group.expires = seq, time, point, props, expires
        base += len(columns.seqs)
    shares: dict[tuple[str, ...], int] = {}
    for key, group in groups.items():
        names = key[0][4]
        shares[names] = shares.get(names, 0) + group.members - 1
    return Thinned(_columns(groups, span) if groups else None, merged, lost, shares)


def _columns(groups: dict[tuple[HeadKey, int, Any, Any], _Group], span: float) -> Columns:
    found = sorted(((group.seq, key[0], group) for key, group in groups.items()), key=lambda item: item[0])
    payloads: list[bytes] = []
    extras: dict[int, tuple[float | None, Properties]] = {}
    for index, (_seq, _head, group) in enumerate(found):
        props = group.props
        mean = short(group.sum / group.count)
        if group.count > 1:
            kept = [item for item in props if item[0] != USER_PROPERTY or item[1][0] not in _MARKS]
            marks = (("thinned", f"{span:g}"), ("count", str(group.count)))
            ends = (("min", f"{short(group.low)!r}"), ("max", f"{short(group.high)!r}"))
            props = (*kept, *((USER_PROPERTY, pair) for pair in (*marks, *ends)))
        payloads.append(_payload(group, mean))
        if props or group.expires is not None:
            extras[index] = (group.expires, props)
    return Columns(
        [seq for seq, _, _ in found], [g.time for _, _, g in found], [h for _, h, _ in found], payloads, extras
    )


def _payload(group: _Group, mean: float) -> bytes:
    if group.point is None:
        return repr(mean).encode()
    point: dict[str, Any] = {"v": mean} | {name: group.point[name] for name in ("q", "t", "u") if name in group.point}
    if group.count > 1:
        point |= {"min": short(group.low), "max": short(group.high), "n": group.count}
    return json.dumps(point, separators=(",", ":"), ensure_ascii=False).encode()


def read(payload: bytes, props: Properties) -> Sample | None:
    """What a row says; None when it cannot be thinned."""
    first = payload[:1]
    try:
        if first in _STARTS:
            text = payload.decode()
            value, end = _decode(text)
            if end != len(text):
                value = json.loads(payload)
        elif first in _BEFORE:
            value = json.loads(payload)
        else:
            # Told by one byte, for a tenth of what an exception costs.
            return None
    except (ValueError, RecursionError):
        return None
    point: dict[str, Any] | None = None
    if isinstance(value, dict):
        point, value = value, value.get("v")
        if not point.keys() <= _POINT:
            return None
        if not (isinstance(point.get("q"), (str, type(None))) and isinstance(point.get("u"), (str, type(None)))):
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        mean = float(value)
    except OverflowError:
        return None
    if mean - mean != 0:  # an infinity or no number: JSON of ours never says it
        return None
    low, high, count = mean, mean, 1
    if not props:
        return Sample(count, low, mean, high, point)
    marks = {pair[0]: pair[1] for identifier, pair in props if identifier == USER_PROPERTY and pair[0] in _MARKS}
    if "thinned" in marks:
        try:
            low, high, count = float(marks["min"]), float(marks["max"]), max(1, int(marks["count"]))
        except (KeyError, ValueError):
            return None
    return Sample(count, low, mean, high, point)


def short(number: float) -> float:
    """Nine digits: more than any sensor has, and half the bytes."""
    return float(f"{number:.9g}")
