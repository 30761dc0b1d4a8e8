"""The Modbus connector against the simulator."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import Question, Simulator, Unit
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected, Retry


def point(name: str, address: str, **fields: Any) -> ModbusPoint:
    return ModbusPoint(name=name, address=address, **fields)


class Plant:
    """A simulator, and devices on it that share one dict, as in the gateway."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        self.shared: dict[str, Any] = {}
        self.tcp_port = 0

    def device(self, *points: ModbusPoint, unit: int = 1, **fields: Any) -> tuple[ModbusConnector, FakePort]:
        fields.setdefault("poll", 0.02)
        name = f"unit{unit}"
        config = ModbusDevice(url=f"tcp://127.0.0.1:{self.tcp_port}", unit=unit, point=points, **fields)
        port = FakePort(name, shared=self.shared)
        return ModbusConnector(name, config, port), port

    @asynccontextmanager
    async def running(self, *connectors: ModbusConnector) -> AsyncIterator[None]:
        async def keep(connector: ModbusConnector) -> None:
            while True:
                with suppress(Retry):
                    await connector.run(lambda: None)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(keep(connector)) for connector in connectors]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, asyncio.CancelledError), result

    def reads(self) -> list[Question]:
        return [question for question in self.simulator.questions if question.function <= 4]


def play(main: Callable[[Plant, Unit], Any]) -> None:
    async def whole() -> None:
        plant = Plant()
        plant.tcp_port = await plant.simulator.start()
        try:
            await main(plant, plant.simulator.unit(1))
        finally:
            await plant.simulator.stop()

    run(whole())


def test_a_hundred_points_cost_one_request_a_scan() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({100 + n: n for n in range(100)})
        connector, port = plant.device(*(point(f"p{n}", f"holding:{100 + n}") for n in range(100)))
        async with plant.running(connector):
            await port.until(lambda: port.emitted >= 300)
        assert set(plant.reads()) == {Question(1, 3, 100, 100)}
        assert [port.last[f"p{n}"].value for n in range(100)] == list(range(100))
        assert connector.status()["requests_per_scan"] == 1

    play(main)


def test_every_table_and_type_at_once() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update(enumerate(struct.unpack(">9H", struct.pack(">fqhHH", 1.5, -7, -2, 0x4142, 0))))
        unit.input[10] = lambda time: 42
        unit.coil[3] = 1
        unit.discrete[65535] = 0
        connector, port = plant.device(
            point("float", "holding:0", type="float32"),
            point("long", "holding:2", type="int64"),
            point("short", "holding:6", type="int16", scale=0.5),
            point("text", "holding:7", type="string:4"),
            point("moving", "input:10"),
            point("coil", "coil:3", type="bool"),
            point("discrete", "discrete:65535", type="bool"),
        )
        async with plant.running(connector):
            await port.until(lambda: len(port.last) == 7)
        assert {name: sample.value for name, sample in port.last.items()} == {
            "float": 1.5,
            "long": -7,
            "short": -1.0,
            "text": "AB",
            "moving": 42,
            "coil": True,
            "discrete": False,
        }

    play(main)


def test_a_refused_block_is_cut_until_only_what_is_missing_is_bad() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({n: n for n in range(40) if n != 17})
        connector, port = plant.device(*(point(f"p{n}", f"holding:{n}") for n in range(40)))
        async with plant.running(connector):
            await port.until(lambda: len(port.last) == 40)
            assert {name for name in port.last if not port.good(name)} == {"p17"}
            bad = port.last["p17"]
            assert (bad.value, bad.quality, bad.reason) == (None, Quality.BAD, "exception 2, illegal data address")
            plan = connector.status()["requests_per_scan"]
            asked, emitted = connector.status()["exceptions"], port.emitted
            await port.until(lambda: port.emitted > emitted + 200)
            assert connector.status()["exceptions"] == asked, "the cuts are kept, and the missing point rests"
            assert connector.status()["requests_per_scan"] == plan <= 8
        assert sum(sample.point == "p17" for sample in port.samples) == 1
        assert all(port.last[f"p{n}"].value == n for n in range(40) if n != 17)

    play(main)


def test_a_gap_that_does_not_exist_is_cut_out() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 1, 1: 2, 5: 3})
        connector, port = plant.device(*(point(f"p{n}", f"holding:{n}") for n in (0, 1, 5)))
        async with plant.running(connector):
            await port.until(lambda: port.emitted >= 9)
        assert plant.reads()[:3] == [Question(1, 3, 0, 6), Question(1, 3, 0, 2), Question(1, 3, 5, 1)]
        assert all(port.good(name) for name in port.last)

    play(main)


def test_a_mute_unit_goes_stale_and_comes_back_while_the_connection_stands() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 5
        connector, port = plant.device(point("p", "holding:0"), timeout=0.02)
        async with plant.running(connector):
            await port.value("p", 5)
            unit.is_mute = True
            await port.quality("p", Quality.STALE)
            assert port.last["p"].value == 5
            assert "not answer" in port.last["p"].reason
            count = port.emitted
            await asyncio.sleep(0.1)
            assert port.emitted == count
            assert connector.status()["state"] == "mute"
            unit.is_mute = False
            await port.quality("p", Quality.GOOD)
            assert connector.status()["state"] == "up"
            assert connector.status()["timeouts"] >= 2

    play(main)


def test_a_unit_that_never_answered_is_bad_and_has_no_value() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.is_mute = True
        connector, port = plant.device(point("p", "holding:0"), timeout=0.02)
        async with plant.running(connector):
            await port.quality("p", Quality.BAD)
            assert port.last["p"].value is None

    play(main)


def test_busy_is_a_missed_poll_and_never_a_value() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 5
        connector, port = plant.device(point("p", "holding:0"))
        async with plant.running(connector):
            await port.value("p", 5)
            unit.exception = 6
            await port.quality("p", Quality.STALE)
            assert (port.last["p"].value, port.last["p"].reason) == (5, "exception 6, device busy")
            unit.exception = 4
            await port.quality("p", Quality.BAD)
            assert port.last["p"].value is None

    play(main)


def test_nan_is_bad_and_its_neighbours_are_good() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update({0: 0x7FC0, 1: 0, 2: 7})
        connector, port = plant.device(point("nan", "holding:0", type="float32"), point("p", "holding:2"))
        async with plant.running(connector):
            await port.value("p", 7)
            assert (port.last["nan"].quality, port.last["nan"].value) == (Quality.BAD, None)

    play(main)


def test_nonsense_from_one_unit_is_no_value_and_its_neighbour_lives() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 1
        unit.garbage = b"\x00\x01\x00\x00\x00\x05\x01\x63\x02\x00\x2a"
        plant.simulator.unit(2).holding[0] = 2
        sick, sick_port = plant.device(point("p", "holding:0"), timeout=0.05)
        well, well_port = plant.device(point("p", "holding:0"), unit=2)
        async with plant.running(sick, well):
            await well_port.until(lambda: well_port.emitted >= 30)
            assert all(sample.value == 2 for sample in well_port.samples)
            assert all(sample.value is None for sample in sick_port.samples)
            unit.garbage = None
            await sick_port.value("p", 1)

    play(main)


WRITABLE = {"write": WriteLimits()}


@pytest.mark.parametrize(
    ("address", "fields", "value", "function", "stored"),
    [
        ("holding:0", {"type": "int16"}, -5, 6, [65531, 9, 9, 9]),
        ("holding:0", {"type": "uint16"}, 0, 6, [0, 9, 9, 9]),
        ("holding:0", {"type": "float32", "order": "CDAB"}, 1.5, 16, [0, 0x3FC0, 9, 9]),
        ("holding:0", {"type": "int64", "order": "DCBA"}, -2, 16, [0xFEFF, 0xFFFF, 0xFFFF, 0xFFFF]),
        ("coil:0", {"type": "bool"}, False, 5, [0]),
        ("coil:0", {"type": "bool"}, True, 5, [1]),
    ],
)
def test_writes_of_every_shape(
    address: str, fields: dict[str, Any], value: Any, function: int, stored: list[int]
) -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding.update(dict.fromkeys(range(4), 9))
        unit.coil[0] = 1 if value is False else 0
        connector, port = plant.device(point("p", address, **fields, **WRITABLE))
        async with plant.running(connector):
            await port.until(lambda: "p" in port.last)
            back = await connector.write("p", value)
            assert back == value and type(back) is type(value)
            table = unit.coil if address.startswith("coil") else unit.holding
            assert [table[n] for n in range(len(stored))] == stored
            assert [q.function for q in plant.simulator.questions if q.function > 4] == [function]

    play(main)


def test_a_device_that_keeps_its_value_is_found_out() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 5
        unit.frozen.add(0)
        connector, port = plant.device(point("p", "holding:0", **WRITABLE))
        async with plant.running(connector):
            await port.value("p", 5)
            with pytest.raises(Retry, match="the device keeps 5"):
                await connector.write("p", 6)

    play(main)


def test_what_the_device_refuses_for_good_is_rejected_and_the_rest_is_retry() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 5
        connector, port = plant.device(point("p", "holding:0", **WRITABLE), timeout=0.05, poll=60.0)
        async with plant.running(connector):
            await port.value("p", 5)
            unit.exception = 3
            with pytest.raises(Rejected, match="illegal data value"):
                await connector.write("p", 6)
            unit.exception = 6
            with pytest.raises(Retry, match="device busy"):
                await connector.write("p", 6)
            unit.exception = None
            unit.is_mute = True
            with pytest.raises(Retry, match="may have been written"):
                await connector.write("p", 6)

    play(main)


def test_a_scaled_value_is_rounded_to_a_step_and_the_answer_says_to_which() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        unit.holding[0] = 0
        connector, port = plant.device(point("p", "holding:0", type="int16", scale=0.1, **WRITABLE))
        async with plant.running(connector):
            await port.value("p", 0)
            assert await connector.write("p", 71.34) == 71.3

    play(main)


def test_devices_of_one_endpoint_share_one_connection_and_each_comes_back() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        devices = []
        for number in (1, 2, 3):
            plant.simulator.unit(number).holding[0] = number
            devices.append(plant.device(point("p", "holding:0"), unit=number))
        async with plant.running(*(connector for connector, _ in devices)):
            for number, (_, port) in enumerate(devices, 1):
                await port.value("p", number)
            assert plant.simulator.accepted == 1
            await plant.simulator.stop()
            for _, port in devices:
                await port.quality("p", Quality.STALE)
            await plant.simulator.start(port=plant.tcp_port)
            for _, port in devices:
                await port.quality("p", Quality.GOOD)
            assert plant.simulator.connections == 1

    play(main)


@pytest.mark.slow
def test_a_mute_unit_beside_a_good_one_costs_it_less_than_a_twentieth() -> None:
    async def main(plant: Plant, unit: Unit) -> None:
        plant.simulator.unit(4).is_mute = True
        unit.holding.update({n * 100: n for n in range(10)})
        points = [point(f"p{n}", f"holding:{n * 100}") for n in range(10)]
        good, _ = plant.device(*points, poll=0.1, timeout=0.1)
        mute, mute_port = plant.device(*points, unit=4, poll=0.1, timeout=0.1)
        other = Plant()
        other.simulator.unit(1).holding.update(unit.holding)
        other.tcp_port = await other.simulator.start()
        elsewhere, _ = other.device(*points, poll=0.1, timeout=0.1)
        async with plant.running(good, mute, elsewhere):
            await asyncio.sleep(6)
            apart = elsewhere.status()["scans"]
            assert apart["done"] >= apart["due"] - 1 and apart["late"] == 0, "another bus notices nothing"
            scans = good.status()["scans"]
            assert scans["due"] >= 58
            assert scans["done"] >= 0.95 * scans["due"], scans
            assert {sample.quality for sample in mute_port.samples} == {Quality.BAD}
            lost = [question for question in plant.simulator.questions if question.unit == 4]
            assert len(lost) <= 8
        await other.simulator.stop()

    play(main)
