"""Values back to text, and that the text is read as the same value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.declare import Duration, Range, Secret, Size, setting
from gateway.config.render import duration_text, range_text, size_text, toml
from gateway.config.types import read_duration, read_size


@dataclass(frozen=True)
class Entry:
    class_: str = setting("x", text="Class.")
    wait: Duration = setting(1.0, text="Wait.")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (bool, False, "false"),
        (int, 5, "5"),
        (float, 0.5, "0.5"),
        (str, 'a"b\n', '"a\\"b\\n"'),
        (Duration, 90.0, '"90s"'),
        (Duration, 0.02, '"20ms"'),
        (Duration, 0.0, '"0s"'),
        (Duration, 604_800.0, '"7d"'),
        (Size, 256 << 20, '"256MiB"'),
        (Size, 5000, '"5kB"'),
        (Size, 0, '"0B"'),
        (Secret, Secret("hush"), '""'),
        (tuple[Duration, ...], (1.0, 60.0), '["1s", "1m"]'),
        (dict[str, int], {"a": 1}, "{ a = 1 }"),
        (dict[str, Any], {}, "{}"),
        (tuple[Entry, ...], (Entry(),), '[{ class = "x", wait = "1s" }]'),
    ],
)
def test_toml(kind: Any, value: Any, text: str) -> None:
    assert toml(kind, value) == text


def test_ranges_speak_the_unit_of_the_setting() -> None:
    assert range_text(int, Range(0, 255)) == "between 0 and 255"
    assert range_text(Duration, Range(0.01, 3600)) == "between 10ms and 1h"
    assert range_text(Size, Range(0, 1 << 30)) == "between 0B and 1GiB"


@given(st.integers(0, 10**12))
def test_durations_survive_their_text(milliseconds: int) -> None:
    assert read_duration(duration_text(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 10**15 - 1))
def test_sizes_survive_their_text(size: int) -> None:
    assert read_size(size_text(size)) == size
