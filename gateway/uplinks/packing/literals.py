"""A column of literals: numbers, times, other short text, cut out of payloads as they stand there.

Whatever is chosen must give the same characters back, so each way of writing them is checked on the whole column first:

    whole, fixed   numbers with the same count of decimals in each: 71.3 70.0
    shortest       decimals without zeros at the end, but at least one: 71.25 71.3 71.0, as JSON is written by many
    single, double floats whose shortest text this is: 71.30000305175781, 2.5e-07
    time           2026-11-21T05:29:06.123 and what follows it, counted from the time of its message
    text           as it is
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gateway.uplinks.packing.integers import Body, put_integers

FIXED: Final = 0
SHORTEST: Final = 1
SINGLE: Final = 2
DOUBLE: Final = 3
TIME: Final = 4
TEXT: Final = 5

_MOST_DIGITS: Final = 18
"""Digits that surely fit into ``integers.LARGEST``."""

_MANY_DECIMALS: Final = 6
"""With more of them, floats may be shorter than their digits."""

_EPOCH: Final = datetime(1970, 1, 1)

_WHOLE: Final = re.compile(rb"(?:-?[1-9]\d{0,17}|0)(?:,(?:-?[1-9]\d{0,17}|0))*")
_SHORTEST: Final = re.compile(rb"-?(?:[1-9]\d*|0)\.(?:\d*[1-9]|0)(?:,-?(?:[1-9]\d*|0)\.(?:\d*[1-9]|0))*")
_MINUS_ZERO: Final = re.compile(rb"-0(?:\.0+)?(?:,|$)")
_TIME: Final = re.compile(rb"(\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d\d\d(?:\d\d\d)?))?([-+:Z0-9]*)")
_FIXED: Final = [
    re.compile(rb"-?(?:[1-9]\d*|0)\.\d{%d}(?:,-?(?:[1-9]\d*|0)\.\d{%d})*" % (decimals, decimals))
    for decimals in range(_MOST_DIGITS)
]


def put_literals(body: Body, literals: Sequence[bytes], times: Sequence[int]) -> None:
    """Write a column of at least one literal, none of which holds a comma. ``times``: those of their messages, in
    milliseconds."""
    joined = b",".join(literals)
    if not (_put_time(body, literals, times) if b"T" in joined else _put_numbers(body, literals, joined)):
        body.head.append(TEXT)
        put_integers(body, list(map(len, literals)))
        for literal in literals:
            body.tail += literal


def _put_numbers(body: Body, literals: Sequence[bytes], joined: bytes) -> bool:
    """Write numbers, or say that they are none."""
    if max(map(len, literals)) > _MOST_DIGITS or _MINUS_ZERO.search(joined):
        return _put_floats(body, literals, joined)
    if _WHOLE.fullmatch(joined):
        body.head.append(FIXED)
        put_integers(body, list(map(int, literals)))
        return True
    decimals = len(literals[0]) - literals[0].find(b".") - 1
    if 0 < decimals < _MOST_DIGITS and _FIXED[decimals].fullmatch(joined):
        kind = FIXED
        values = list(map(int, joined.replace(b".", b"").split(b",")))
    elif _SHORTEST.fullmatch(joined):
        kind = SHORTEST
        parts = [literal.partition(b".") for literal in literals]
        decimals = max([len(part[2]) for part in parts])
        values = [int(whole + fraction.ljust(decimals, b"0")) for whole, _, fraction in parts]
        if max(max(values), -min(values)) >= 10**_MOST_DIGITS:
            return _put_floats(body, literals, joined)
    else:
        return _put_floats(body, literals, joined)
    if decimals > _MANY_DECIMALS and _put_floats(body, literals, joined):
        return True
    body.head.append(kind | decimals << 3)
    put_integers(body, values)
    return True


def _put_floats(body: Body, literals: Sequence[bytes], joined: bytes) -> bool:
    """Write the bits of floats, or say that these literals are not the shortest text of any."""
    try:
        floats = list(map(float, literals))
    except ValueError:
        return False
    if ",".join(map(repr, floats)).encode() != joined:
        return False
    singles = array("f", floats)
    if singles.tolist() == floats:
        body.head.append(SINGLE)
        put_integers(body, struct.unpack(f"{len(floats)}i", singles))
    else:
        body.head.append(DOUBLE)
        put_integers(body, struct.unpack(f"{len(floats)}q", array("d", floats)))
    return True


def _put_time(body: Body, literals: Sequence[bytes], times: Sequence[int]) -> bool:
    """Write times of one shape, or say that they are not."""
    match = _TIME.fullmatch(literals[0])
    if match is None:
        return False
    decimals = len(match[2] or b"")
    # Where the seconds end, and where their fraction does.
    point, end = (b".", 20 + decimals) if decimals else (b"", 19)
    unit = 10**decimals
    suffix = match[3]
    seconds: dict[bytes, int | None] = {}
    values: list[int] = []
    last, value = b"", 0
    for literal, time in zip(literals, times, strict=True):
        if literal != last:
            whole, fraction = literal[:19], literal[20:end]
            if whole not in seconds:
                seconds[whole] = _seconds(whole)
            second = seconds[whole]
            if second is None or literal != whole + point + fraction + suffix or len(literal) != len(literals[0]):
                return False
            if decimals and not fraction.isdigit():
                return False
            value = second * unit + int(fraction or b"0")
            last = literal
        values.append(value - time * unit // 1000)
    body.head.append(TIME | decimals << 3)
    body.text(suffix)
    put_integers(body, values)
    return True


def _seconds(text: bytes) -> int | None:
    """Seconds since 1970 of ``2026-11-21T05:29:06``; None for what is no time or written in another way."""
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return int((moment - _EPOCH).total_seconds()) if moment.isoformat().encode() == text else None
