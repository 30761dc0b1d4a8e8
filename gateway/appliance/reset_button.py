"""A button that is held while the board starts: 10 seconds, then let go, is a factory reset.

It must be let go again within 10 seconds more: a line that something else holds down for ever resets nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

HOLD: Final = 10.0
LET_GO: Final = 10.0
"""Seconds."""

EVERY: Final = 0.05


def line_of(settings: Path) -> int | None:
    """The line that the settings name as ``board.reset_gpio``; None without one. They need not be right otherwise: a
    machine with wrong settings is what the button is for."""
    try:
        board = tomllib.loads(settings.read_text()).get("board", {})
        line = board.get("reset_gpio")
    except (OSError, ValueError, AttributeError):
        return None
    return line if isinstance(line, int) and not isinstance(line, bool) and line >= 0 else None


def is_held(
    is_pressed: Callable[[], bool],
    now: Callable[[], float],
    sleep: Callable[[float], None],
    show: Callable[[], None],
) -> bool:
    """Whether the button is pressed now, held for ``HOLD`` and then let go. ``show``: tells that it may be let go."""
    begin, shown = now(), False
    while is_pressed():
        held = now() - begin
        if held >= HOLD + LET_GO:
            return False
        if held >= HOLD and not shown:
            show()
            shown = True
        sleep(EVERY)
    return shown
