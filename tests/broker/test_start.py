"""Where to begin to read, as people say it."""

from __future__ import annotations

import pytest

from gateway.broker.start import parse_start
from gateway.clock import iso_time
from gateway.errors import Refused


@pytest.mark.parametrize(
    ("start", "after"), [("first", 0), ("next", 9), ("last", 8), ("1", 0), ("5", 4), ("9", 8), ("99", 9)]
)
def test_an_offset(start: str, after: int) -> None:
    assert parse_start(start, 9) == (after, None)


def test_nothing_said() -> None:
    assert parse_start("", 9) == (None, None)
    assert parse_start("last", 0) == (0, None)


@pytest.mark.parametrize("time", [1_700_000_000.0, 1_700_000_000.12349, 1_700_000_000.12351, 1_700_000_000.9996])
@pytest.mark.parametrize("form", ["time={:.3f}", "ms", "iso"])
def test_the_time_that_a_message_was_shown_with_finds_it(time: float, form: str) -> None:
    shown = {"ms": f"time={round(time * 1000)}", "iso": f"time={iso_time(time)}"}.get(form, form.format(time))
    _, found = parse_start(shown, 9)
    assert found is not None
    assert time - 0.0011 < found <= time


@pytest.mark.parametrize("start", ["0", "-1", "middle", "time=", "time=never", "time=-1", "time=inf", "time=nan"])
def test_what_means_nothing_is_refused(start: str) -> None:
    with pytest.raises(Refused):
        parse_start(start, 9)
