"""How far long work is: one line on the terminal that is written over; nothing where nobody looks."""

from __future__ import annotations

import sys
from typing import Final, TextIO

WIDTH: Final = 40


class Progress:
    """``show`` while the work goes on, ``end`` after it. ``what``: the word behind the numbers, such as ``purged``.

    Silent unless standard error is a terminal and standard output is not the same one full of data.
    """

    def __init__(self, what: str, out: TextIO | None = None, is_shown: bool | None = None) -> None:
        self._what = what
        self._out = out or sys.stderr
        self._is_shown = self._out.isatty() if is_shown is None else is_shown
        self._has_shown = False

    def show(self, done: int, total: int) -> None:
        """So much is done, of so much as was there at the start."""
        self.say(f"{done} of {max(done, total)} {self._what}")

    def say(self, text: str) -> None:
        """What is being done, where nobody knows how much there is."""
        if self._is_shown:
            self._has_shown = True
            self._out.write(f"\r{text[:WIDTH]:<{WIDTH}}")
            self._out.flush()

    def end(self) -> None:
        """Leave the line clean for what follows."""
        if self._has_shown:
            self._out.write("\r" + " " * WIDTH + "\r")
            self._out.flush()
