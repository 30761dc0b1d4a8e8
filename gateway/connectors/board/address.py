"""What a point of the board can be: a quantity, and which one of its kind. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

QUANTITIES: Final = {
    "temperature": "name of a thermal zone",
    "under_voltage": "",
    "throttled": "",
    "free": "a path",
    "free_percent": "a path",
    "wear": "a disk such as mmcblk0",
    "written": "a disk such as mmcblk0",
    "memory": "",
    "memory_percent": "",
    "load": "1, 5 or 15 minutes",
    "uptime": "",
    "led": "name of an LED",
}
"""Every quantity, and what may stand behind its colon."""

_NEEDED: Final = ("free", "free_percent", "led")
WHOLE: Final = ("throttled", "free", "written", "memory", "led")
"""Quantities that are whole numbers."""

_LOADS: Final = ("1", "5", "15")


class Place(NamedTuple):
    """``which`` is empty for the one that the board has, or has first."""

    quantity: str
    which: str

    def __str__(self) -> str:
        return f"{self.quantity}:{self.which}" if self.which else self.quantity


def parse_place(text: str) -> Place:
    """The place behind ``temperature``, ``free:/data`` or ``led:ACT``. Raises ValueError with what it must be."""
    quantity, colon, which = text.partition(":")
    if quantity not in QUANTITIES:
        raise ValueError(f'must be one of {", ".join(QUANTITIES)}, not "{quantity}"')
    what = QUANTITIES[quantity]
    if colon and not what:
        raise ValueError(f"{quantity} has nothing behind it")
    if (colon and not which) or (quantity in _NEEDED and not colon):
        raise ValueError(f"{quantity} has {what} behind a colon: {quantity}:...")
    if quantity == "load" and which and which not in _LOADS:
        raise ValueError(f"the load is of 1, 5 or 15 minutes, not {which}")
    if quantity.startswith("free"):
        if not which.startswith("/") or ".." in which.split("/"):
            raise ValueError("must be a whole path, as in free:/data")
    elif which and not re.fullmatch(r"[\w:.+-]*\w[\w:.+-]*", which):
        # It becomes a part of a path below /sys.
        raise ValueError(f'"{which}" is no {what}')
    return Place(quantity, which)
