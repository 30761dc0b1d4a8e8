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
def test_what_a_simulator_puts_there_is_read(number: int, exponent: int, is_before: bool) -> None:
    codec = powered(at=3, exponent=0) if is_before else powered(at=0, exponent=4)
    before = [7] * codec.width
    before[0 if is_before else 4] = exponent & 0xFFFF
    value = codec.decode([*before[:3], number & 0xFFFF] if is_before else [number & 0xFFFF, *before[1:]])
    after = codec.put(before, value)
    assert codec.decode(after) == value
    assert [word for at, word in enumerate(after) if at != (3 if is_before else 0)] == [
        word for at, word in enumerate(before) if at != (3 if is_before else 0)
    ]


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


def test_the_simulation_has_it_too() -> None:
    points = (ModbusPoint(name="v", address="holding:100", exponent="holding:103"),)
    config = ModbusDevice(url="tcp://127.0.0.1:9", point=points)
    simulation = simulate({"dev": config}, Clock())
    simulation.set("dev", "v", 42)
    assert simulation.get("dev", "v") == 42
