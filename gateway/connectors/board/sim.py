"""A simulated board: a folder with the files of sys and proc that the points of the settings need.

The settings say in which folder (``root``). Free space is that of the file system where the folder lies.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.clock import Clock
from gateway.connectors.board.address import Place
from gateway.connectors.board.config import BoardDevice, BoardPoint
from gateway.connectors.board.readings import SECTOR, Board, NotTold
from gateway.errors import Rejected
from gateway.message import Value

MEMORY_KIB: Final = 512 * 1024
BRIGHTEST: Final = 255
_REBOOT: Final = 3.0
_FAULTS: Final = ("none", "exception", "reboot")


class Tree:
    """The folder of one board."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._values: dict[Place, Value] = {}
        self._zones: dict[str, int] = {}

    def make(self) -> None:
        """Write everything. Raises OSError."""
        for folder in ("sys/class/thermal", "sys/class/hwmon", "sys/class/leds", "sys/block", "proc"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for place, value in self._values.items():
            self._write(place, value)

    def remove(self) -> None:
        """Take the board away: sys and proc of the folder, and nothing else in it."""
        for name in ("sys", "proc"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def set(self, place: Place, value: Value) -> None:
        """What a reading of ``place`` finds. Raises Rejected."""
        if place.quantity.startswith("free"):
            raise Rejected("free space is that of the file system of the folder")
        self._values[place] = value
        if (self.root / "sys").is_dir():
            self._write(place, value)

    def _write(self, place: Place, value: Value) -> None:
        if isinstance(value, str) or not isinstance(value, int | float):
            raise Rejected(f"{place} is a number")
        number, which = value, place.which
        match place.quantity:
            case "temperature":
                zone = f"sys/class/thermal/thermal_zone{self._zones.setdefault(which, len(self._zones))}"
                self._put(f"{zone}/type", which or "cpu-thermal")
                self._put(f"{zone}/temp", str(round(number * 1000)))
            case "under_voltage":
                self._put("sys/class/hwmon/hwmon0/name", "rpi_volt")
                self._put("sys/class/hwmon/hwmon0/in0_lcrit_alarm", str(int(number)))
            case "throttled":
                self._put("sys/devices/platform/soc/soc:firmware/get_throttled", f"{int(number):x}")
            case "wear":
                tenths = min(round(number / 10), 11)
                self._put(f"sys/block/{which or 'mmcblk0'}/device/life_time", f"0x01 0x{max(tenths, 1):02x}")
            case "written":
                disk = f"sys/block/{which or 'mmcblk0'}"
                (self.root / disk / "device").mkdir(parents=True, exist_ok=True)
                self._put(f"{disk}/stat", f"0 0 0 0 0 0 {int(number) // SECTOR} 0 0 0 0")
            case "memory":
                self._memory(int(number) // 1024)
            case "memory_percent":
                self._memory(round(MEMORY_KIB * (1 - number / 100)))
            case "load":
                self._put("proc/loadavg", f"{number:.2f} {number:.2f} {number:.2f} 1/100 1")
            case "uptime":
                self._put("proc/uptime", f"{number:.2f} 0.00")
            case "led":
                if not 0 <= number <= BRIGHTEST:
                    raise Rejected(f"the LED {which} has brightness 0 to {BRIGHTEST}")
                self._put(f"sys/class/leds/{which}/max_brightness", str(BRIGHTEST))
                self._put(f"sys/class/leds/{which}/brightness", str(int(number)))
                self._put(f"sys/class/leds/{which}/trigger", "[none] timer default-on")

    def _memory(self, available_kib: int) -> None:
        self._put("proc/meminfo", f"MemTotal: {MEMORY_KIB} kB\nMemAvailable: {available_kib} kB")

    def _put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


class BoardSimulation:
    """All boards of one settings file; one folder is one board."""

    connections = 0

    def __init__(self, devices: Mapping[str, BoardDevice], clock: Clock) -> None:
        self._devices = devices
        self.trees = {config.root: Tree(Path(config.root)) for config in devices.values()}
        self._points: dict[tuple[str, str], BoardPoint] = {
            (name, point.name): point for name, config in devices.items() for point in config.point
        }
        self._coming: set[asyncio.TimerHandle] = set()

    async def start(self) -> None:
        for name, config in self._devices.items():
            if config.root == "/":
                raise OSError(f"device.{name} is this machine itself: set its root to a folder to simulate a board")
        for (device, _), point in self._points.items():
            if not point.place.quantity.startswith("free"):
                self._tree(device).set(point.place, 0)
        for tree in self.trees.values():
            tree.make()

    async def stop(self) -> None:
        for handle in self._coming:
            handle.cancel()
        self._coming.clear()
        for tree in self.trees.values():
            tree.remove()

    def set(self, device: str, point: str, value: Value) -> None:
        found = self._points[device, point]
        shape = found.shape()
        self._tree(device).set(found.place, shape.raw(value))

    def get(self, device: str, point: str) -> Value:
        found = self._points[device, point]
        shape = found.shape()
        try:
            return shape.value(shape.part(Board(self._tree(device).root).read(found.place)))
        except NotTold as error:
            raise Rejected(str(error)) from error

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        """exception: nothing of it can be read; reboot: gone for ``amount`` seconds."""
        if kind not in _FAULTS:
            raise ValueError(f"a board has the faults {', '.join(_FAULTS)}, not {kind}")
        tree = self._tree(device)
        if kind == "none":
            tree.make()
            return
        tree.remove()
        if kind == "exception":
            for name in ("sys", "proc"):
                (tree.root / name).mkdir(parents=True, exist_ok=True)
            return
        self._coming.add(asyncio.get_running_loop().call_later(amount or _REBOOT, tree.make))

    def _tree(self, device: str) -> Tree:
        return self.trees[self._devices[device].root]


def simulate(devices: Mapping[str, BoardDevice], clock: Clock) -> BoardSimulation:
    """All boards of one settings file."""
    return BoardSimulation(devices, clock)
