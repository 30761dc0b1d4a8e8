"""Numbers whose power of ten stands in the device."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.fakes import FakePort, run
from gateway.clock import Clock
from gateway.config.reader import Reader
from gateway.connectors.base import Quality
from gateway.connectors.modbus.codec import make_codec
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.exponent import Powered
from gateway.connectors.modbus.sim import Simulator, simulate
from gateway.errors import Rejected


def powered(at: int = 0, exponent: int = 1, absent: tuple[float, ...] = ()) -> Powered:
    return Powered(make_codec("int16"), at, exponent, absent)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([2301, 0xFFFF], 230.1),
        ([2301, 0], 2301),
        ([2301, 2], 230100),
        ([0xFFFF, 0xFFFE], -0.01),
        ([0, 0xFFF6], 0.0),
        ([3, 0xFFFF], 0.3),
    ],
)
def test_the_number_is_multiplied_and_is_the_nearest_float(words: list[int], value: float) -> None:
    back = powered().decode(words)
    assert back == value and type(back) is type(value)


@pytest.mark.parametrize("exponent", [0x8000, 11, 0xFFF5])
def test_an_exponent_that_means_nothing_makes_no_value(exponent: int) -> None:
    with pytest.raises(ValueError, match="says that its exponent is"):
        powered().decode([5, exponent])


def test_what_is_absent_is_said_before_the_exponent() -> None:
    with pytest.raises(ValueError, match="the device says -32768: it has no value"):
        powered(absent=(-32768,)).decode([0x8000, 0xFFFF])
    with pytest.raises(ValueError, match="it has no value"):
        powered(absent=(-32768,)).decode([0x8000, 0x8000])


@given(st.integers(-32768, 32767), st.integers(-10, 10), st.booleans())
def test_the_number_comes_back_wherever_its_exponent_stands(number: int, exponent: int, is_before: bool) -> None:
    at, place = (3, 0) if is_before else (0, 4)
    codec = powered(at, place)
    words = [7] * codec.width
    words[place] = exponent & 0xFFFF
    words[at] = number & 0xFFFF
    assert codec.number(codec.decode(words), exponent) == [number & 0xFFFF]


def test_it_cannot_be_written() -> None:
    with pytest.raises(Rejected, match="its exponent stands in the device"):
        powered().encode(5)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"exponent": "input:5"}, "exponent: must be a register of the same table as holding:9"),
        ({"exponent": "holding:9"}, "exponent: must be another register than the number"),
        ({"exponent": "holding:10", "type": "int32"}, "exponent: must be another register"),
        ({"exponent": 11, "type": "float32"}, "exponent: has no effect on float32"),
        ({"exponent": 11, "write": {}}, "write: has no effect on a value whose exponent stands in the device"),
        ({"exponent": "x"}, "exponent: must be a table and a protocol address"),
    ],
)
def test_exponents_that_mean_nothing_are_refused(fields: dict[str, Any], problem: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, None)
    reader.section(ModbusPoint, {"name": "p", "address": "holding:9", **fields}, ())
    (found,) = reader.problems
    assert f"{found[0][-1]}: {found[1]}".startswith(problem)


def test_number_and_exponent_are_read_in_one_request_and_change_together() -> None:
    async def main() -> None:
        simulator = Simulator()
        tcp = await simulator.start()
        unit = simulator.unit(1)
        unit.holding.update({100: 2301, 101: 9, 102: 9, 103: 0xFFFF})
        points = (ModbusPoint(name="v", address="holding:100", exponent="holding:103"),)
        config = ModbusDevice(url=f"tcp://127.0.0.1:{tcp}", poll=0.01, gap=0, point=points)
        port = FakePort()
        task = asyncio.create_task(ModbusConnector("dev", config, port).run(lambda: None))
        await port.value("v", 230.1)
        unit.holding.update({100: 23010, 103: 0xFFFE})
        await port.until(lambda: port.emitted > 20)
        unit.holding[103] = 0x8000
        await port.quality("v", Quality.BAD)
        assert {sample.value for sample in port.samples} == {230.1, None}
        assert {(question.address, question.count) for question in simulator.questions} == {(100, 4)}
        task.cancel()
        await asyncio.wait([task])
        await simulator.stop()

    run(main())


def test_the_simulation_gives_points_that_share_an_exponent_as_many_decimals_as_fit() -> None:
    points = (
        ModbusPoint(name="v", address="holding:100", exponent="holding:103"),
        ModbusPoint(name="w", address="holding:101", type="int16", exponent="holding:103"),
        ModbusPoint(name="x", address="holding:110", exponent="holding:109"),
    )
    config = ModbusDevice(url="tcp://127.0.0.1:9", point=points)
    simulation = simulate({"dev": config}, Clock())
    simulation.set("dev", "v", 12.345)
    simulation.set("dev", "x", 0.5)
    assert [simulation.get("dev", name) for name in "vwx"] == [12.345, 0, 0.5]
    simulation.set("dev", "w", -2301.5)
    assert [simulation.get("dev", name) for name in "vwx"] == [12.3, -2301.5, 0.5]
    simulation.set("dev", "v", 5_000_000)
    assert [simulation.get("dev", name) for name in "vwx"] == [5_000_000, -2300, 0.5]
    with pytest.raises(Rejected, match="is too large"):
        simulation.set("dev", "v", 1e16)
