"""Whether this machine's clock is synchronised: asked of the kernel, and of systemd-timesyncd.

Every NTP client tells the kernel how wrong the clock may be, and the kernel lets that grow while nobody does, and sets
it to 16 s when the clock is set by hand: less means synchronised. That is the criterion of ``timedatectl`` too; the
flag STA_UNSYNC is not looked at, since chrony leaves it set where the kernel must not write to the battery clock.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from typing import Any, Final

UNKNOWN_ERROR: Final = 16_000_000
"""Microseconds: NTP_PHASE_LIMIT of the kernel."""

TIMESYNC: Final = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches it when it has set the clock."""


class _Timex(ctypes.Structure):
    """The beginning of ``struct timex``, adjtimex(2), and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_char * 512),
    )


def _adjtimex() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)


class TimeSource:
    """Asks the machine; ``is_synchronised`` takes microseconds."""

    def __init__(self, timesync: Path = TIMESYNC) -> None:
        self._ask = _adjtimex()
        self._timesync = timesync

    def is_synchronised(self) -> bool | None:
        """None: it cannot be known here, as where the kernel may not be asked."""
        found = _Timex()
        if self._ask is not None and self._ask(ctypes.byref(found)) >= 0:
            if found.maxerror < UNKNOWN_ERROR:
                return True
            known = True
        else:
            known = False
        if self._timesync.exists():
            return True
        # The folder is there while timesyncd runs: then it would have said so.
        return False if known or self._timesync.parent.is_dir() else None
