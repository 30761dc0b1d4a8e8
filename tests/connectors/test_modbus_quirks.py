"""Each option of a Modbus device has its effect: quirks, functions that write, what is read alone or together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from connectors.modbus_rig import point, running, timed
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.options import Quirks
from gateway.connectors.modbus.sim import Question, Simulator, Unit
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected, Retry

WRITABLE = {"write": WriteLimits()}


class Plant:
    """A simulator on TCP, and devices on it."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        self.tcp_port = 0

    def device(self, *points: ModbusPoint, **fields: Any) -> tuple[ModbusConnector, FakePort]:
        config = ModbusDevice(url=f"tcp://127.0.0.1:{self.tcp_port}", point=points, **{"poll": 0.02} | fields)
        port = FakePort()
        return ModbusConnector("dev", config, port), port

    def functions(self) -> list[int]:
        return [question.function for question in self.simulator.questions if question.function > 4]


def play(main: Callable[[Plant, Unit], Any]) -> None:
    async def whole() -> None:
        plant = Plant()
        plant.tcp_port = await plant.simulator.start()
        try:
            await main(plant, plant.simulator.unit(1))
        finally:
            await plant.simulator.stop()

    run(whole())


def test_pause_after_connect_and_between_requests() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 1, 100: 2, 200: 3})
        quirks = Quirks(pause_after_connect=0.1, pause_between_requests=0.03)
        connector, port = plant.device(*(point(f"p{n}", f"holding:{n}") for n in (0, 100, 200)), quirks=quirks)
        moments, began = timed(plant.simulator), asyncio.get_running_loop().time()
        async with running(connector):
            await port.until(lambda: port.emitted >= 6)
        assert moments[0] - began >= 0.1
        assert all(after - before >= 0.029 for before, after in pairwise(moments))

    play(main)


def test_one_request_per_point() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({n: n for n in range(5)})
        points = [point(f"p{n}", f"holding:{n}") for n in range(5)]
        connector, port = plant.device(*points, quirks=Quirks(one_request_per_point=True))
        async with running(connector):
            await port.until(lambda: len(port.last) == 5)
        assert set(plant.simulator.questions) == {Question(1, 3, n, 1) for n in range(5)}

    play(main)


def test_close_after_gather_lets_others_in() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 1
        connector, port = plant.device(point("p", "holding:0"), quirks=Quirks(close_after_gather=True))
        async with running(connector) as texts:
            await port.until(lambda: port.emitted >= 4)
            assert plant.simulator.accepted >= 4
            assert texts == [], "it closes by itself and is no lost connection"

    play(main)


@pytest.mark.parametrize(
    ("ways", "type", "value", "functions"),
    [
        ("auto", "uint16", 7, [6]),
        ("auto", "uint32", 7, [16]),
        ("single", "uint16", 7, [6]),
        ("single", "uint32", 70_000, [6, 6]),
        ("block", "uint16", 7, [16]),
    ],
)
def test_functions_that_write_registers(ways: Any, type: str, value: int, functions: list[int]) -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 0, 1: 0})
        connector, port = plant.device(
            point("p", "holding:0", type=type, **WRITABLE), quirks=Quirks(write_registers=ways)
        )
        async with running(connector):
            await port.value("p", 0)
            assert await connector.write("p", value) == value
        assert plant.functions() == functions

    play(main)


def test_where_6_is_unknown_16_comes_in_and_for_5_15() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0], unit.coil[0] = 0, 0
        unit.unknown = {5, 6}
        connector, port = plant.device(
            point("p", "holding:0", **WRITABLE), point("c", "coil:0", type="bool", **WRITABLE)
        )
        async with running(connector):
            await port.value("p", 0)
            assert await connector.write("p", 7) == 7
            assert await connector.write("c", True) is True
        assert plant.functions() == [6, 16, 5, 15]

    play(main)


BITS = (
    point("low", "holding:0", bits=0, **WRITABLE),
    point("mode", "holding:0", bits="4..7", values={"1": "auto", "2": "hand"}, **WRITABLE),
    point("wide", "holding:2", type="uint32", order="CDAB", bits="12..19", **WRITABLE),
)


def test_bits_are_written_in_the_device_and_the_others_stay() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 0xFF1E, 2: 0x0FFF, 3: 0xFFF0})
        connector, port = plant.device(*BITS)
        async with running(connector):
            await port.value("mode", "auto")
            assert await connector.write("low", True) is True
            assert await connector.write("mode", "hand") == "hand"
            assert unit.holding[0] == 0xFF2F
            assert await connector.write("wide", 0xA5) == 0xA5
            assert [unit.holding[n] for n in (2, 3)] == [0x5FFF, 0xFFFA]
            with pytest.raises(Rejected, match='must be one of "auto", "hand"'):
                await connector.write("mode", 3)
        assert plant.functions() == [22, 22, 22, 22]

    play(main)


def test_a_device_without_function_22_says_what_to_set_and_then_it_works() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 0x00F0, 2: 0, 3: 0})
        unit.unknown = {22}
        strict, port = plant.device(*BITS)
        async with running(strict):
            await port.value("low", False)
            with pytest.raises(Rejected, match='bit_write = "read_modify_write"'):
                await strict.write("low", True)
        assert unit.holding[0] == 0x00F0
        plant.simulator.questions.clear()
        lenient, port = plant.device(*BITS, quirks=Quirks(bit_write="read_modify_write"))
        async with running(lenient):
            await port.value("low", False)
            assert await lenient.write("low", True) is True
        assert unit.holding[0] == 0x00F1
        assert plant.functions() == [6]

    play(main)


def test_a_bit_that_the_device_does_not_keep_is_found_out() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 0, 2: 0, 3: 0})
        unit.frozen.add(0)
        connector, port = plant.device(*BITS)
        async with running(connector):
            await port.value("low", False)
            with pytest.raises(Retry, match="the device keeps False"):
                await connector.write("low", True)

    play(main)


def test_what_a_device_taught_is_kept_when_it_comes_back() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({n: n for n in range(40) if n != 17})
        connector, port = plant.device(*(point(f"p{n}", f"holding:{n}") for n in range(40)))
        async with running(connector):
            await port.until(lambda: len(port.last) == 40)
            await plant.simulator.stop()
            await port.quality("p0", Quality.STALE)
            before = connector.status()["exceptions"]
            await plant.simulator.start(port=plant.tcp_port)
            await port.quality("p0", Quality.GOOD)
            assert connector.status()["exceptions"] == before
            assert connector.status()["not_read"] == ["holding:17"]
            assert connector.status()["requests_per_scan"] == 2

    play(main)


def test_points_of_several_rates_are_read_together_when_they_are_due_together() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({n: n for n in range(4)})
        connector, port = plant.device(point("fast", "holding:0"), point("slow", "holding:3", poll=60.0))
        async with running(connector):
            await port.until(lambda: port.emitted >= 6)
        assert list(plant.simulator.questions)[:2] == [Question(1, 3, 0, 4), Question(1, 3, 0, 1)]

    play(main)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, [(0, 10)]),
        ({"gap": 7}, [(0, 1), (9, 1)]),
        ({"max_words": 9}, [(0, 1), (9, 1)]),
    ],
)
def test_gap_and_max_words_bound_a_request(fields: dict[str, Any], asked: list[tuple[int, int]]) -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({n: n for n in range(10)})
        connector, port = plant.device(point("a", "holding:0"), point("b", "holding:9"), **fields)
        async with running(connector):
            await port.until(lambda: len(port.last) == 2)
        assert [(one.address, one.count) for one in plant.simulator.questions][: len(asked)] == asked

    play(main)
