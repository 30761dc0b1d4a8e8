"""Each option of a Modbus device has its effect: quirks, functions that write, broadcast, TLS, what is read alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.fakes import FakePort, passes, run
from gateway.connectors.base import Quality
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.options import Quirks, Rs485Table, Tls
from gateway.connectors.modbus.sim import Question, Simulator, Unit
from gateway.connectors.points import WriteLimits
from gateway.errors import ConfigError, Rejected, Retry

WRITABLE = {"write": WriteLimits()}


def point(name: str, address: str, **fields: Any) -> ModbusPoint:
    return ModbusPoint(name=name, address=address, **fields)


@asynccontextmanager
async def running(*connectors: ModbusConnector) -> AsyncIterator[list[str]]:
    """Keep connectors going; yields the texts of their Retry."""
    texts: list[str] = []

    async def keep(connector: ModbusConnector) -> None:
        while True:
            try:
                await connector.run(lambda: None)
            except Retry as error:
                texts.append(str(error))
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(keep(connector)) for connector in connectors]
    try:
        yield texts
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


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


def timed(simulator: Simulator) -> list[float]:
    """The moments at which questions arrive from now on, by the loop's clock."""
    loop, ask, moments = asyncio.get_running_loop(), simulator.ask, []

    def noted(identifier: int, pdu: bytes) -> Any:
        moments.append(loop.time())
        return ask(identifier, pdu)

    simulator.ask = noted  # type: ignore[method-assign]
    return moments


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


# -- serial lines and TLS ----------------------------------------------------------------------------------


def test_unit_0_of_a_line_is_everybody_and_nobody_answers(tmp_path: Path) -> None:
    async def main() -> None:
        simulator = Simulator()
        for number in (1, 2):
            simulator.unit(number).holding[5] = 0
        simulator.plug(str(tmp_path / "tty"))
        url = f"serial:{tmp_path / 'tty'}?baud=115200&parity=N"
        shared: dict[str, Any] = {}
        target = (point("setpoint", "holding:5", **WRITABLE),)
        every = ModbusConnector(
            "all",
            ModbusDevice(url=url, unit=0, turnaround=0.05, point=target),
            FakePort("all", shared=shared),
        )
        port = FakePort("one", shared=shared)
        one = ModbusConnector("one", ModbusDevice(url=url, poll=0.02, point=target), port)
        async with running(every, one):
            await port.value("setpoint", 0)
            moments = timed(simulator)
            began = asyncio.get_running_loop().time()
            assert await every.write("setpoint", 42) == 42
            await port.value("setpoint", 42)
            assert simulator.unit(2).holding[5] == 42
            after = [moment for moment in moments if moment > began]
            assert after and (after[0] - began >= 0.05 or after[1] - after[0] >= 0.04)
        assert [question for question in simulator.questions if question.unit == 0] == [Question(0, 6, 5, 42)]
        await simulator.stop()

    run(main())


def test_devices_of_one_line_must_agree_about_it() -> None:
    shared: dict[str, Any] = {}

    def make(url: str) -> ModbusConnector:
        config = ModbusDevice(url=url, point=(point("p", "holding:0"),))
        return ModbusConnector("dev", config, FakePort(shared=shared))

    make("serial:/dev/x?baud=9600")
    make("serial:/dev/x?baud=9600&parity=E")
    with pytest.raises(ConfigError, match=r"device\.dev\.url: must have 9600 8E1 rtu as other devices on /dev/x"):
        make("serial:/dev/x?baud=19200")


def test_echo_and_rs485_reach_the_port(tmp_path: Path) -> None:
    async def main() -> None:
        simulator = Simulator()
        simulator.unit(1).holding[0] = 5
        simulator.plug(str(tmp_path / "tty"))
        url = f"serial:{tmp_path / 'tty'}?baud=115200&parity=N"
        target = (point("p", "holding:0"),)
        port = FakePort()
        refused = ModbusConnector("dev", ModbusDevice(url=url, rs485=Rs485Table(), point=target), port)
        with pytest.raises(Retry, match="cannot switch to RS-485"):
            await refused.run(lambda: None)
        table = Rs485Table(
            rts_on_send=False, delay_before_send=0.001, delay_after_send=0.002, receive_while_sending=True
        )
        assert table.port_settings == (False, 0.001, 0.002, True)
        # Without an echo the setting does no harm: what is not the echo is looked at.
        heard = ModbusConnector("dev", ModbusDevice(url=url, poll=0.02, echo=True, point=target), FakePort())
        async with running(heard):
            port = heard._port  # type: ignore[assignment]
            await port.value("p", 5)
        await simulator.stop()

    run(main())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, the device's certificate for 127.0.0.1, and the gateway's."""
    folder = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, host in (("device", "127.0.0.1"), ("other", "plc.example"), ("gateway", "gateway.example")):
        made = authority.issue_cert(host)
        made.private_key_pem.write_to_path(folder / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    return folder


@pytest.mark.parametrize(
    ("server", "fields", "words"),
    [
        ("device", {"cert": "gateway.pem", "key": "gateway.key"}, ""),
        ("other", {"cert": "gateway.pem", "key": "gateway.key", "check_name": False}, ""),
        ("other", {"cert": "gateway.pem", "key": "gateway.key"}, "not accepted: IP address mismatch"),
        ("device", {"ca": None}, "not accepted: "),
        ("device", {}, "certificate required|connection lost|no answer|did not answer"),
    ],
)
def test_tls_with_certificates_of_both_sides(pki: Path, server: str, fields: dict[str, Any], words: str) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / f"{server}.pem", pki / f"{server}.key")
        context.load_verify_locations(pki / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        simulator = Simulator()
        simulator.unit(1).holding.update({n: n for n in range(125)})
        tcp_port = await simulator.start(tls=context)
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # refused clients of the server
        files = {name: value if isinstance(value, bool) or value is None else str(pki / value)
                 for name, value in ({"ca": "ca.pem"} | fields).items()}  # fmt: skip
        port = FakePort()
        config = ModbusDevice(
            url=f"tls://127.0.0.1:{tcp_port}",
            tls=Tls(**files),
            poll=0.02,
            timeout=1.0,
            point=tuple(point(f"p{n}", f"holding:{n}") for n in range(120)),
        )
        async with running(ModbusConnector("dev", config, port)) as texts:
            if words:
                for _ in range(1000):
                    if texts:
                        break
                    await asyncio.sleep(0.01)
            else:
                await port.value("p119", 119)
        if words:
            assert any(part in texts[0] for part in words.split("|")), texts
            assert not port.emitted or all(sample.value is None for sample in port.samples)
        with suppress(ConnectionError):
            await simulator.stop()
        await passes(100)  # the server's end of a handshake that failed

    run(main())


def test_certificates_that_cannot_be_read_are_retry() -> None:
    async def main() -> None:
        config = ModbusDevice(url="tls://127.0.0.1:9", tls=Tls(ca="/nonexistent.pem"), point=(point("p", "holding:0"),))
        with pytest.raises(Retry, match="cannot use the certificates"):
            await ModbusConnector("dev", config, FakePort()).run(lambda: None)

    run(main())
