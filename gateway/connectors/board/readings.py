"""What the kernel says of the board, below a folder that is ``/`` but in tests. Blocking, and some microseconds each.

Documentation/ABI of Linux: sysfs-class-thermal, sysfs-class-hwmon, sysfs-class-led, sysfs-block (stat: the 7th field
is sectors of 512 bytes that were written), and for eMMC Documentation/driver-api/mmc/mmc-dev-attrs.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.connectors.board.address import Place
from gateway.message import Value

SECTOR: Final = 512
WORN_OUT: Final = 0x0B
"""JEDEC eMMC 5.0, DEVICE_LIFE_TIME_EST: 1 to 10 are tenths of the life that were used up, 11 is more than all of it."""

LOADS: Final = {"1": 0, "5": 1, "15": 2}


class NotTold(Exception):
    """The board does not say this; the text is why, for people."""


class Board:
    """Reads one quantity at a time. ``root`` is the folder with sys and proc."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._leds = root / "sys/class/leds"

    @property
    def is_there(self) -> bool:
        """Whether there is something to read at all."""
        return (self._root / "sys").is_dir() and (self._root / "proc").is_dir()

    def read(self, place: Place) -> Value:
        """The value in the unit of the quantity. Raises NotTold."""
        try:
            return _READ[place.quantity](self, place.which)
        except (OSError, ValueError, IndexError, KeyError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise NotTold(f"{place}: {text}") from error

    def light(self, name: str, brightness: int) -> None:
        """Set an LED. Raises OSError, and ValueError for one brighter than it can be."""
        folder = self._leds / name
        most = self._number(folder / "max_brightness")
        if brightness > most:
            raise ValueError(f"the LED {name} has brightness 0 to {most}")
        # Never made anew: below /sys it is there, or there is no such LED.
        handle = os.open(folder / "brightness", os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(handle, "w") as file:
            file.write(f"{brightness}\n")

    # -- quantities ----------------------------------------------------------------------------------------

    def _temperature(self, which: str) -> Value:
        for zone in self._folders("sys/class/thermal", "thermal_zone"):
            if not which or which in (zone.name, self._text(zone / "type")):
                return self._number(zone / "temp") / 1000
        raise NotTold(f"no thermal zone {which}".rstrip())

    def _under_voltage(self, which: str) -> Value:
        for monitor in self._folders("sys/class/hwmon", "hwmon"):
            if self._text(monitor / "name") == "rpi_volt":
                return bool(self._number(monitor / "in0_lcrit_alarm"))
        try:
            return bool(self._throttled("") & 1)
        except OSError:
            raise NotTold("this board does not watch its supply") from None

    def _throttled(self, which: str) -> int:
        return int(self._text(self._root / "sys/devices/platform/soc/soc:firmware/get_throttled"), 16)

    def _free(self, which: str) -> Value:
        found = os.statvfs(self._root / which.lstrip("/"))
        return found.f_bavail * found.f_frsize

    def _free_percent(self, which: str) -> Value:
        found = os.statvfs(self._root / which.lstrip("/"))
        # As df does: what only root may fill is not there.
        usable = found.f_blocks - found.f_bfree + found.f_bavail
        return round(100 * found.f_bavail / usable, 2) if usable else 0.0

    def _wear(self, which: str) -> Value:
        for disk in self._folders("sys/block", which or "mmcblk"):
            if (disk / "device/life_time").exists():
                used = max(int(text, 16) for text in self._text(disk / "device/life_time").split())
                if used == 0:
                    raise NotTold(f"{disk.name} does not say how worn it is")
                return 10.0 * used if used < WORN_OUT else 100.0
        raise NotTold("no flash here says how worn it is; SD cards do not")

    def _written(self, which: str) -> Value:
        for disk in self._folders("sys/block", which or ""):
            # Without a name: what is a disk of its own, and no loop device, memory or slot of squashfs.
            if which or (disk / "device").exists():
                return int(self._text(disk / "stat").split()[6]) * SECTOR
        raise NotTold(f"no disk {which}".rstrip())

    def _memory(self, which: str) -> Value:
        return self._memory_table()["MemAvailable"]

    def _memory_percent(self, which: str) -> Value:
        table = self._memory_table()
        return round(100 * (1 - table["MemAvailable"] / table["MemTotal"]), 1)

    def _load(self, which: str) -> Value:
        return float(self._text(self._root / "proc/loadavg").split()[LOADS[which or "1"]])

    def _uptime(self, which: str) -> Value:
        return float(self._text(self._root / "proc/uptime").split()[0])

    def _led(self, which: str) -> Value:
        return self._number(self._leds / which / "brightness")

    # -- files ---------------------------------------------------------------------------------------------

    def _memory_table(self) -> dict[str, int]:
        """/proc/meminfo in bytes."""
        table = {}
        for line in self._text(self._root / "proc/meminfo").splitlines():
            name, _, rest = line.partition(":")
            table[name] = int(rest.split()[0]) * 1024
        return table

    def _folders(self, below: str, start: str) -> Iterator[Path]:
        """Entries that begin so, in the order of their names and numbers: hwmon2 before hwmon10."""
        folder = self._root / below
        found = [path for path in folder.iterdir() if path.name.startswith(start)] if folder.is_dir() else []
        return iter(sorted(found, key=lambda path: (len(path.name), path.name)))

    def _text(self, path: Path) -> str:
        return path.read_text("ascii", "replace").strip()

    def _number(self, path: Path) -> int:
        return int(self._text(path))


_READ: Final[Mapping[str, Callable[[Board, str], Value]]] = {
    "temperature": Board._temperature,
    "under_voltage": Board._under_voltage,
    "throttled": Board._throttled,
    "free": Board._free,
    "free_percent": Board._free_percent,
    "wear": Board._wear,
    "written": Board._written,
    "memory": Board._memory,
    "memory_percent": Board._memory_percent,
    "load": Board._load,
    "uptime": Board._uptime,
    "led": Board._led,
}
