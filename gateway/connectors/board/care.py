"""Which alarms stand for what the board says. Pure; each has a band, so that a value at its limit rings once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OVER_TEMPERATURE: Final = "over_temperature"
UNDER_VOLTAGE: Final = "under_voltage"
LOW_SPACE: Final = "low_space"
FLASH_WEAR: Final = "flash_wear"
ALARMS: Final = (OVER_TEMPERATURE, UNDER_VOLTAGE, LOW_SPACE, FLASH_WEAR)

COOLER: Final = 5.0
"""Degrees below the limit at which a board is no longer hot."""

MORE: Final = 1.2
"""Times the limit at which a file system has room again."""

SUPPLY_HOLD: Final = 600.0
"""Seconds without under-voltage until it is over: a supply that is too weak drops again and again for moments."""


class Care:
    """Told what was read, says what is wrong. A limit of None is no limit."""

    def __init__(self, hot: float | None, low_space: float | None, worn: float | None) -> None:
        self._hot, self._low_space, self._worn = hot, low_space, worn
        self._zones: dict[str, str] = {}
        self._full: dict[str, str] = {}
        self._wear: dict[str, str] = {}
        self._low_until: float | None = None

    def temperature(self, zone: str, celsius: float) -> None:
        """A reading of a zone; "" is the first one."""
        if self._hot is None:
            return
        if celsius >= self._hot or (zone in self._zones and celsius > self._hot - COOLER):
            where = f" at {zone}" if zone else ""
            self._zones[zone] = f"{celsius:g} Cel{where}; the limit is {self._hot:g}"
        else:
            self._zones.pop(zone, None)

    def under_voltage(self, is_low: bool, now: float) -> None:
        """What the board says of its supply, at the monotonic time ``now``."""
        if is_low:
            self._low_until = now + SUPPLY_HOLD
        elif self._low_until is not None and now >= self._low_until:
            self._low_until = None

    def space(self, path: str, percent: float) -> None:
        """How much of the file system of ``path`` is free."""
        if self._low_space is None:
            return
        if percent < self._low_space or (path in self._full and percent < min(self._low_space * MORE, 100)):
            self._full[path] = f"{percent:g} % free at {path}; the limit is {self._low_space:g} %"
        else:
            self._full.pop(path, None)

    def wear(self, disk: str, percent: float) -> None:
        """How much of the life of a flash is used up."""
        if self._worn is not None and percent >= self._worn:
            self._wear[disk] = f"{percent:g} % of the life of the flash is used up; make a backup and replace it"
        else:
            self._wear.pop(disk, None)

    def alarms(self) -> Mapping[str, str | None]:
        """The text of each alarm that stands, None for the others."""
        return {
            OVER_TEMPERATURE: _first(self._zones),
            UNDER_VOLTAGE: None if self._low_until is None else "the supply of the board was too low; see its cable",
            LOW_SPACE: _first(self._full),
            FLASH_WEAR: _first(self._wear),
        }


def _first(texts: Mapping[str, str]) -> str | None:
    return next(iter(texts.values()), None)
