"""How long the card lasts at the rate at which this gateway writes. Pure: bytes and seconds in, years out."""

from __future__ import annotations

from typing import Any, Final

DAY: Final = 86_400.0
YEAR: Final = 365.25 * DAY

SOONEST: Final = 3600.0
"""Seconds before which a rate says nothing: a start writes more than the hours behind it."""


def wear(written: int, seconds: float, card_bytes: int, card_cycles: int) -> dict[str, Any]:
    """``written``, ``per_day``, and the ``years`` until so many bytes are ``card_cycles`` times
    the card; None where it is too early to say, or nothing is written.

    written  in ``seconds`` since the start
    """
    per_day = written / seconds * DAY if seconds >= SOONEST else None
    years = card_bytes * card_cycles / per_day * DAY / YEAR if per_day else None
    return {
        "written": written,
        "per_day": None if per_day is None else round(per_day),
        "years": None if years is None else round(years, 1),
    }
