"""The shipped profiles against images of their devices' registers, made with struct from the makers' maps."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from gateway import kinds
from gateway.config.load import read
from gateway.config.profile import shipped_names
from gateway.config.settings import Settings
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.points import Point

Image = dict[str, dict[int, int]]
"""Registers and bits by table and address."""


def registers(table: str, start: int, format: str, *values: Any) -> Image:
    """Values as the wire has them, highest byte first, from ``start`` on."""
    data = struct.pack(">" + format, *values)
    words = struct.unpack(f">{len(data) // 2}H", data)
    return {table: {start + offset: word for offset, word in enumerate(words)}}


def image(*parts: Image) -> Image:
    whole: Image = {}
    for part in parts:
        for table, words in part.items():
            whole.setdefault(table, {}).update(words)
    return whole


def bits(table: str, *values: int) -> Image:
    return {table: dict(enumerate(values))}


# Eastron: input registers, float32, high word first; 30001 is 0000 hex.
METER = image(
    registers("input", 0, "18f", 230.5, 231.0, 229.75, 1.5, 0.0, 10.25, 345.0, 0.0, -2355.5, 346, 0, 2356,
              -12.5, 0, 40, 0.98, 1, -1),
    registers("input", 48, "f", 11.75),
    registers("input", 52, "f", -2010.5),
    registers("input", 56, "f", 2702.0),
    registers("input", 60, "f", 27.5),
    registers("input", 62, "f", -0.74),
    registers("input", 70, "5f", 50.0, 1234.5, 8.25, 0.0, 99.0),
)  # fmt: skip
METER_VALUES = {
    "voltage_l1": 230.5, "voltage_l3": 229.75, "current_l2": 0.0, "current_l3": 10.25, "power_l3": -2355.5,
    "apparent_power_l1": 346.0, "reactive_power_l1": -12.5, "power_factor_l3": -1.0, "current": 11.75,
    "power": -2010.5, "apparent_power": 2702.0, "reactive_power": 27.5, "frequency": 50.0,
    "energy_import": 1234.5, "energy_export": 8.25, "reactive_energy_import": 0.0, "reactive_energy_export": 99.0,
}  # fmt: skip

# SunSpec: marker at 40000, common model from 40002, inverter model 113 from 40069 with its values from 40071.
COMMON = image(
    registers("holding", 40000, "4sHH32s32s16s16s32sH", b"SunS", 1, 65, b"Fronius", b"Symo 10.0-3-M", b"opt", b"1.2.3",
              b"29301234", 1),
)  # fmt: skip
FLOAT = image(
    COMMON,
    registers("holding", 40069, "HH", 113, 60),
    registers("holding", 40071, "23f", 12.5, 4.25, 4.0, 4.25, 400, 401, 399, 230.5, 231.25, 229.5, 8712.0, 49.98, 8800,
              -40.5, 99, 123456.0, 13.5, 650.25, 8778.0, 41.5, 38.0, float("nan"), float("nan")),
    registers("holding", 40117, "HHIIIIII", 4, 0, 1 << 7 | 1 << 15, 0, 0, 0, 0, 0),
)  # fmt: skip
FLOAT_VALUES = {
    "manufacturer": "Fronius", "model": "Symo 10.0-3-M", "version": "1.2.3", "serial_number": "29301234",
    "current": 12.5, "current_l3": 4.25, "voltage_l1": 230.5, "voltage_l3": 229.5, "power": 8712.0,
    "reactive_power": -40.5, "power_factor": 99.0, "energy": 123456.0, "dc_voltage": 650.25,
    "temperature_cabinet": 41.5, "temperature_heat_sink": 38.0, "state": "mppt", "ground_fault": False,
    "over_temperature": True, "hardware_test_failed": True, "internal_error": False,
}  # fmt: skip

INTEGERS = image(
    COMMON,
    registers("holding", 40069, "HH", 103, 50),
    registers("holding", 40071, "4Hh6HhhhHhhhhhhhIhHhHhhhhhhhh", 1250, 425, 400, 425, -2, 4000, 4010, 3990, 2305, 2312,
              2295, -1, 8712, 0, 4998, -2, 88, 2, -405, -1, 990, -1, 123456, 1, 1350, -2, 6502, -1, 8778, 0, 415, 380,
              -32768, -32768, -1),
    registers("holding", 40107, "HHIIIIII", 4, 0, 1 << 7 | 1 << 15, 0, 0, 0, 0, 0),
)  # fmt: skip
INTEGER_VALUES = {
    "serial_number": "29301234", "current": 12.5, "current_l3": 4.25, "voltage_l1": 230.5, "voltage_l3": 229.5,
    "power": 8712, "frequency": 49.98, "apparent_power": 8800, "reactive_power": -40.5, "power_factor": 99.0,
    "energy": 1234560, "dc_current": 13.5, "dc_voltage": 650.2, "dc_power": 8778, "temperature_cabinet": 41.5,
    "temperature_heat_sink": 38.0, "state": "mppt", "over_temperature": True, "ground_fault": False,
}  # fmt: skip

# INVT: holding registers, hexadecimal addresses as in the manual.
DRIVE = image(
    registers("holding", 0x2000, "HH", 1, 4250),
    registers("holding", 0x2100, "HHH", 1, 0b1010001, 0),
    registers("holding", 0x3000, "6Hhh", 4248, 4250, 5402, 380, 123, 1440, 455, -32),
)
DRIVE_VALUES = {
    "command": "forward", "frequency_setpoint": 42.5, "state": "forward", "ready": True, "overload_warning": True,
    "control_by": "communication", "fault": 0, "frequency": 42.48, "frequency_reference": 42.5,
    "dc_bus_voltage": 540.2, "output_voltage": 380, "output_current": 12.3, "speed": 1440, "power": 45.5,
    "torque": -3.2,
}  # fmt: skip

SENSOR = image(registers("input", 1, "hH", -153, 567), registers("holding", 0x0103, "hh", -5, 0))
SENSOR_VALUES = {
    "temperature": -15.3,
    "humidity": 56.7,
    "temperature_correction": -0.5,
    "humidity_correction": 0.0,
}

IO = image(bits("discrete", 1, 0, 0, 0, 0, 0, 0, 1), bits("coil", 0, 1, 0, 0, 0, 0, 0, 1))
IO_VALUES = {"input_1": True, "input_2": False, "input_8": True, "output_1": False, "output_2": True, "output_8": True}

CASES: dict[str, tuple[Image, dict[str, Any]]] = {
    "energy-meter": (METER, METER_VALUES),
    "sunspec-inverter-float": (FLOAT, FLOAT_VALUES),
    "sunspec-inverter": (INTEGERS, INTEGER_VALUES),
    "drive-goodrive": (DRIVE, DRIVE_VALUES),
    "temperature-humidity": (SENSOR, SENSOR_VALUES),
    "io-module": (IO, IO_VALUES),
}


def device(profile: str, folder: Path, url: str = "tcp://10.0.0.5") -> ModbusDevice:
    path = folder / "gateway.toml"
    path.write_text(f'[device.d]\nprofile = "{profile}"\nurl = "{url}"\n')
    made = read(path, Settings, kinds).value.device["d"]
    assert isinstance(made, ModbusDevice)
    return made


def words(point: ModbusPoint, held: Image) -> list[int]:
    table, address = point.place
    return [held[table][address + offset] for offset in range(point.width)]


def test_each_shipped_profile_has_a_case() -> None:
    of_other_kinds = {"board"}  # test_board_connector.py
    assert {*CASES, *of_other_kinds} == set(shipped_names())


@pytest.mark.parametrize("profile", CASES)
def test_registers_become_the_values_of_the_map(profile: str, tmp_path: Path) -> None:
    held, expected = CASES[profile]
    settings = device(profile, tmp_path)
    seen = {}
    for point in settings.point:
        raw = point.codec.decode(words(point, held))
        sample = Point(point, settings).took(raw, 0.0, 0.0)
        assert sample.quality is Quality.GOOD, sample
        seen[point.name] = sample.value
    assert {name: seen[name] for name in expected} == {
        name: pytest.approx(value, rel=1e-6) if isinstance(value, float) else value for name, value in expected.items()
    }
    assert {name: type(seen[name]) for name in expected} == {name: type(value) for name, value in expected.items()}


@pytest.mark.parametrize("profile", CASES)
def test_what_can_be_written_goes_back_to_the_same_registers(profile: str, tmp_path: Path) -> None:
    held, _ = CASES[profile]
    settings = device(profile, tmp_path)
    for point in settings.point:
        if point.write is None:
            continue
        codec, live = point.codec, Point(point, settings)
        value = live.took(codec.decode(words(point, held)), 0.0, 0.0).value
        assert codec.encode(live.to_device(value)) == words(point, held)
        assert point.write.refusal(value) is None


@pytest.mark.parametrize("profile", CASES)
def test_no_two_points_of_a_profile_are_the_same_register_unless_they_are_bits_of_it(
    profile: str, tmp_path: Path
) -> None:
    taken: dict[tuple[str, int], str] = {}
    for point in device(profile, tmp_path).point:
        for offset in range(point.width):
            place = (point.place.table, point.place.address + offset)
            assert place not in taken or point.bits is not None or point.exponent is not None, (
                point.name,
                taken[place],
            )
            taken[place] = point.name


REQUESTS = {
    "energy-meter": 1,
    "sunspec-inverter": 1,
    "sunspec-inverter-float": 1,
    "drive-goodrive": 3,
    "temperature-humidity": 2,
    "io-module": 2,
}
"""Requests for all points of a device: what the registers of its map allow."""


@pytest.mark.parametrize("profile", CASES)
def test_a_device_with_these_registers_is_read_and_written_through_its_profile(profile: str, tmp_path: Path) -> None:
    held, expected = CASES[profile]

    async def main() -> None:
        simulator = Simulator()
        unit = simulator.unit(1)
        for table, words in held.items():
            # What lies between them is there too, as in a device.
            unit.table(table).update(dict.fromkeys(range(min(words), max(words) + 1), 0) | words)
        tcp = await simulator.start()
        settings = device(profile, tmp_path, f"tcp://127.0.0.1:{tcp}")
        port = FakePort("d")
        connector = ModbusConnector("d", settings, port)
        task = asyncio.create_task(connector.run(lambda: None))
        try:
            for point, value in expected.items():
                await port.until(lambda point=point: point in port.last)  # type: ignore[misc]
                near = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
                assert (port.last[point].value, port.last[point].quality) == (near, Quality.GOOD), point
            assert connector.status()["requests_per_scan"] == REQUESTS[profile]
            for one in settings.point:
                if one.write is not None:
                    value = port.last[one.name].value
                    assert await connector.write(one.name, value) == value
            for table, words in held.items():
                assert {address: unit.table(table)[address] for address in words} == words
        finally:
            task.cancel()
            await asyncio.wait([task])
            await simulator.stop()

    run(main())
