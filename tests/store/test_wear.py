"""The life of the card, projected from what was written."""

from __future__ import annotations

from gateway.cli.status import wear_line
from gateway.store.wear import wear

GIB = 1 << 30


def test_years_are_what_the_card_endures_through_what_a_day_takes() -> None:
    found = wear(GIB, 86_400, 16 * GIB, 500)
    assert found == {"written": GIB, "per_day": GIB, "years": 21.9}
    assert wear(GIB, 86_400, 32 * GIB, 500)["years"] == 43.8
    assert wear(GIB, 86_400, 16 * GIB, 1000)["years"] == 43.8


def test_nothing_is_projected_from_the_first_hour_or_from_nothing() -> None:
    assert wear(2000, 3599, GIB, 500) == {"written": 2000, "per_day": None, "years": None}
    assert wear(0, 86_400, GIB, 500) == {"written": 0, "per_day": 0, "years": None}


def test_the_line_says_what_is_known() -> None:
    assert wear_line(wear(0, 1, GIB, 500)) == "written to disk: 0.0 MiB"
    line = wear_line(wear(GIB, 86_400, 16 * GIB, 500))
    assert line == "written to disk: 1024.0 MiB  1024.0 MiB a day  the card lasts 21.9 years at that"
