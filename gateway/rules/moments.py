"""Times: from text to seconds and to what a calendar says. Each raises RuleError, nothing else.

A moment is a number of seconds since 1970, or a text as RFC 3339 writes it ("2026-11-21T05:29:06.123Z"), such as the
source time of a point. Without a zone the calendar is that of the machine, as for the trigger ``at``.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from gateway.message import Value
from gateway.rules.language import RuleError
from gateway.rules.needs import number, shown, text
from gateway.rules.operators import NUMBERS

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_END: Final = 253_402_214_400
"""The last day of the year 9999: every zone still has a date for it."""


def make_zone(name: str) -> tzinfo:
    """A zone by its name. Raises RuleError."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise RuleError(f'{name[:80]!r} is no time zone; write one such as "Europe/Berlin" or "UTC"') from None


def seconds(moment: Value) -> float:
    """Seconds since 1970 of a text (RFC 3339, section 5.6), or of what is such a number already."""
    if type(moment) in NUMBERS:
        return float(number(moment))
    written = text(moment)
    try:
        found = datetime.fromisoformat(written.strip())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise RuleError(f"{shown(moment)} is no time with its offset from UTC")
    try:
        return found.timestamp()
    except (OverflowError, ValueError, OSError):
        raise RuleError(f"{shown(moment)} is no time that can be counted") from None


def _calendar(moment: Value, zone: tzinfo | None) -> datetime:
    time = seconds(moment)
    if not 0 <= time < _END:
        raise RuleError(f"{shown(moment)} is no time from 1970 to 9999")
    return datetime.fromtimestamp(time, UTC).astimezone(zone)


def hour(moment: Value, zone: tzinfo | None = None) -> int:
    return _calendar(moment, zone).hour


def minute(moment: Value, zone: tzinfo | None = None) -> int:
    return _calendar(moment, zone).minute


def weekday(moment: Value, zone: tzinfo | None = None) -> str:
    return WEEKDAYS[_calendar(moment, zone).weekday()]


def date(moment: Value, zone: tzinfo | None = None) -> str:
    return _calendar(moment, zone).date().isoformat()
