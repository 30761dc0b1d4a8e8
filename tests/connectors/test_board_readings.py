"""What is read from the files of a board, and when somebody is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.connectors.board.address import parse_place
from gateway.connectors.board.care import ALARMS, COOLER, SUPPLY_HOLD, Care
from gateway.connectors.board.readings import Board, NotTold


def put(root: Path, files: dict[str, str]) -> Board:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return Board(root)


RASPBERRY = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
    "sys/class/thermal/thermal_zone0/temp": "48312",
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/class/hwmon/hwmon1/name": "rpi_volt",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
    "sys/block/loop0/stat": "1 1 1 1 1 1 1 1",
    "sys/block/mmcblk0/device/type": "SD",
    "sys/block/mmcblk0/stat": "1035 222 64970 1077 410 1300 20480 917 0 1704 1994 0 0 0 0 0 0",
    "proc/meminfo": "MemTotal:         440992 kB\nMemFree:           90000 kB\nMemAvailable:     330744 kB",
    "proc/loadavg": "0.52 0.21 0.08 1/164 1512",
    "proc/uptime": "35213.27 138803.72",
    "sys/class/leds/ACT/brightness": "0",
    "sys/class/leds/ACT/max_brightness": "255",
}
FIRMWARE_ONLY = {
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "1",
}
EMMC = {
    "sys/class/thermal/thermal_zone2/type": "gpu",
    "sys/class/thermal/thermal_zone2/temp": "51000",
    "sys/class/thermal/thermal_zone10/type": "cpu",
    "sys/class/thermal/thermal_zone10/temp": "-5500",
    "sys/class/hwmon/hwmon0/name": "other",
    "sys/block/mmcblk0/device/type": "SD",
    "sys/block/mmcblk1/device/life_time": "0x02 0x09",
    "sys/block/mmcblk1/stat": "0 0 0 0 0 0 3",
}


@pytest.mark.parametrize(
    ("files", "address", "value"),
    [
        (RASPBERRY, "temperature", 48.312),
        (RASPBERRY, "temperature:cpu-thermal", 48.312),
        (RASPBERRY, "under_voltage", True),
        (RASPBERRY, "throttled", 0x50005),
        (RASPBERRY, "written", 20480 * 512),
        (RASPBERRY, "written:loop0", 512),
        (RASPBERRY, "memory", 330744 * 1024),
        (RASPBERRY, "memory_percent", 25.0),
        (RASPBERRY, "load", 0.52),
        (RASPBERRY, "load:15", 0.08),
        (RASPBERRY, "uptime", 35213.27),
        (RASPBERRY, "led:ACT", 0),
        (EMMC, "temperature", 51.0),  # 2 is before 10
        (EMMC, "temperature:cpu", -5.5),
        (EMMC, "temperature:thermal_zone10", -5.5),
        (EMMC, "wear", 90.0),  # the worse of both kinds of cells
        (EMMC, "wear:mmcblk1", 90.0),
        (EMMC, "written:mmcblk1", 1536),
        # A Raspberry whose kernel has only the number of the firmware.
        (FIRMWARE_ONLY, "under_voltage", True),
        ({"sys/block/mmcblk0/device/life_time": "0x01 0x0b"}, "wear", 100.0),
    ],
)  # fmt: skip
def test_what_the_files_say(tmp_path: Path, files: dict[str, str], address: str, value: object) -> None:
    assert put(tmp_path, files).read(parse_place(address)) == value


@pytest.mark.parametrize(
    ("files", "address", "words"),
    [
        (RASPBERRY, "temperature:gpu", "no thermal zone gpu"),
        (RASPBERRY, "wear", "SD cards do not"),
        (EMMC, "under_voltage", "does not watch its supply"),
        (EMMC, "throttled", "No such file"),
        (EMMC, "memory", "No such file"),
        (RASPBERRY, "written:sda", "no disk sda"),
        (RASPBERRY, "led:PWR", "No such file"),
        ({"sys/class/thermal/thermal_zone0/temp": "hot"}, "temperature", "invalid literal"),
        ({"proc/loadavg": "0.5"}, "load:15", "load:15"),
        ({"proc/meminfo": "MemFree: 1 kB"}, "memory", "MemAvailable"),
        ({"sys/block/mmcblk0/device/life_time": "0x00 0x00"}, "wear", "does not say how worn it is"),
        ({}, "free:/nowhere", "No such file"),
        ({}, "under_voltage", "does not watch its supply"),
        ({}, "temperature", "no thermal zone"),
        ({}, "wear", "SD cards do not"),
        ({}, "written", "no disk"),
    ],
)
def test_what_is_not_told_has_a_reason(tmp_path: Path, files: dict[str, str], address: str, words: str) -> None:
    with pytest.raises(NotTold, match=words):
        put(tmp_path, files).read(parse_place(address))


def test_free_space_is_what_the_gateway_may_fill(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    board, found = Board(tmp_path), os.statvfs(tmp_path)
    free = board.read(parse_place("free:/data"))
    assert isinstance(free, int) and abs(free - found.f_bavail * found.f_frsize) < 1 << 30
    percent = board.read(parse_place("free_percent:/data"))
    assert isinstance(percent, float) and 0 <= percent <= 100


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("heat", "must be one of"),
        ("uptime:x", "nothing behind it"),
        ("led", "led has name of an LED behind a colon"),
        ("free:data", "whole path"),
        ("free:/data/../etc", "whole path"),
        ("temperature:", "behind a colon"),
        ("temperature:../../etc", "no name of a thermal zone"),
        ("led:..", "no name of an LED"),
        ("load:2", "1, 5 or 15"),
    ],
)
def test_wrong_addresses_are_refused_in_words(address: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_place(address)


def test_an_led_is_not_lit_more_than_it_can_and_no_file_is_made(tmp_path: Path) -> None:
    board = put(tmp_path, {"sys/class/leds/ACT/max_brightness": "1"})
    with pytest.raises(ValueError, match="0 to 1"):
        board.light("ACT", 2)
    with pytest.raises(FileNotFoundError):
        board.light("ACT", 1)
    assert not (tmp_path / "sys/class/leds/ACT/brightness").exists()


def standing(care: Care) -> list[str]:
    found = care.alarms()
    assert tuple(found) == ALARMS
    return [name for name, text in found.items() if text is not None]


def test_heat_rings_once_around_its_limit() -> None:
    care = Care(80, 10, 80)
    seen = []
    for celsius in (79.9, 80, 79, 80 - COOLER + 0.1, 80 - COOLER, 79.9):
        care.temperature("", celsius)
        seen.append(standing(care))
    assert seen == [[], *[["over_temperature"]] * 3, [], []]


def test_each_zone_and_file_system_counts_for_itself() -> None:
    care = Care(80, 10, 80)
    care.temperature("cpu", 90)
    care.temperature("gpu", 20)
    care.space("/data", 9)
    care.space("/", 50)
    assert standing(care) == ["over_temperature", "low_space"]
    text = care.alarms()["low_space"]
    assert text is not None and "/data" in text
    care.space("/data", 11.9)
    assert "low_space" in standing(care)
    care.space("/data", 12)
    care.temperature("cpu", 20)
    assert standing(care) == []


def test_under_voltage_is_over_when_it_has_not_come_back_for_a_while() -> None:
    care = Care(None, None, None)
    care.under_voltage(True, 100)
    care.under_voltage(False, 100 + SUPPLY_HOLD - 1)
    assert standing(care) == ["under_voltage"]
    care.under_voltage(False, 100 + SUPPLY_HOLD)
    assert standing(care) == []


def test_without_a_limit_there_is_no_alarm() -> None:
    care = Care(None, None, None)
    care.temperature("", 200)
    care.space("/", 0)
    care.wear("", 100)
    assert standing(care) == []


def test_worn_flash_is_told() -> None:
    care = Care(None, None, 80)
    care.wear("", 70)
    assert standing(care) == []
    care.wear("", 80)
    assert standing(care) == ["flash_wear"]
