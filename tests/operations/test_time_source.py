"""Whether the machine's clock is synchronised, as the kernel and systemd-timesyncd say."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from gateway.time_source import TimeSource


def kernel(answer: int, maxerror: int = 0) -> Any:
    def adjtimex(found: Any) -> int:
        timex = found._obj
        assert timex.modes == 0, "it only asks"
        timex.maxerror = maxerror
        return answer

    return adjtimex


@pytest.mark.parametrize(
    ("ask", "folder", "file", "expected"),
    [
        (kernel(0, 2_000), False, False, True),
        (kernel(5, 2_000), False, False, True),  # chrony without rtcsync leaves STA_UNSYNC set
        (kernel(5, 16_000_000), False, False, False),
        (kernel(5, 16_000_000), True, True, True),
        (kernel(-1), True, True, True),
        (kernel(-1), True, False, False),
        (kernel(-1), False, False, None),  # a sandbox that does not let us ask
        (None, False, False, None),
    ],
)
def test_who_is_believed(ask: Any, folder: bool, file: bool, expected: bool | None, tmp_path: Path) -> None:
    timesync = tmp_path / "timesync"
    if folder:
        timesync.mkdir()
    if file:
        (timesync / "synchronized").touch()
    source = TimeSource(timesync / "synchronized")
    source._ask = ask
    assert source.is_synchronised() is expected


def test_this_machine_answers_as_adjtimex_does(tmp_path: Path) -> None:
    """The layout of the structure: the state of the clock and its greatest error make sense together."""
    room = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None).adjtimex(room)
    said = TimeSource(tmp_path / "none" / "synchronized").is_synchronised()
    if state < 0:
        assert said is None
    elif state < 5:
        assert said is True
    else:
        assert said in (True, False)
