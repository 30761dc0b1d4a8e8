"""Modbus devices on serial lines and in TLS: broadcast, what devices of a line agree about, certificates."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from connectors.fakes import FakePort, passes, run
from connectors.modbus_rig import point, running, timed
from gateway.config.declare import File
from gateway.connectors.modbus.config import ModbusDevice
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.options import Rs485Table, Tls
from gateway.connectors.modbus.sim import Question, Simulator
from gateway.connectors.points import WriteLimits
from gateway.errors import ConfigError, Retry

WRITABLE = {"write": WriteLimits()}


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

    def make(url: str, **fields: Any) -> ModbusConnector:
        config = ModbusDevice(url=url, point=(point("p", "holding:0"),), **fields)
        return ModbusConnector("dev", config, FakePort(shared=shared))

    make("serial:/dev/x?baud=9600")
    make("serial:/dev/x?baud=9600&parity=E")
    with pytest.raises(ConfigError, match=r"device\.dev\.url: must have 9600 8E1 rtu as other devices on /dev/x"):
        make("serial:/dev/x?baud=19200")
    with pytest.raises(ConfigError, match=r"device\.dev\.echo: must be that of the other devices on /dev/x"):
        make("serial:/dev/x?baud=9600", echo=True)
    shared.clear()
    make("tls://h", tls=Tls(check_name=False))
    with pytest.raises(ConfigError, match=r"device\.dev\.tls: must be that of the other devices on h:802"):
        make("tls://h")


def test_a_line_that_runs_is_changed_by_a_reload(tmp_path: Path) -> None:
    """The new device is there before the old one ends, which has the port until then."""

    async def main() -> None:
        simulator = Simulator()
        simulator.unit(1).holding[0] = 5
        simulator.plug(str(tmp_path / "tty"))
        shared: dict[str, Any] = {}

        def make(baud: int) -> tuple[ModbusConnector, FakePort]:
            url = f"serial:{tmp_path / 'tty'}?baud={baud}&parity=N"
            port = FakePort(shared=shared)
            return ModbusConnector(
                "dev", ModbusDevice(url=url, poll=0.02, point=(point("p", "holding:0"),)), port
            ), port

        old, old_port = make(9600)
        async with running(old):
            await old_port.value("p", 5)
            new, new_port = make(115_200)
            with pytest.raises(Retry, match="in use by another program"):
                await new.run(lambda: None)
        async with running(new):
            await new_port.value("p", 5)
        await simulator.stop()

    run(main())


def test_echo_and_rs485_reach_the_port(tmp_path: Path) -> None:
    async def main() -> None:
        simulator = Simulator()
        simulator.unit(1).holding[0] = 5
        simulator.plug(str(tmp_path / "tty"))
        url = f"serial:{tmp_path / 'tty'}?baud=115200&parity=N"
        target = (point("p", "holding:0"),)
        port = FakePort()
        refused = ModbusConnector("dev", ModbusDevice(url=url, rs485=Rs485Table(), point=target), port)
        with pytest.raises(Retry, match="does not know RS-485"):
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
        files: Any = {name: value if isinstance(value, bool) or value is None else str(pki / value)
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
        config = ModbusDevice(
            url="tls://127.0.0.1:9", tls=Tls(ca=File("/nonexistent.pem")), point=(point("p", "holding:0"),)
        )
        with pytest.raises(Retry, match="cannot use the certificates"):
            await ModbusConnector("dev", config, FakePort()).run(lambda: None)

    run(main())


def test_what_is_not_configured_is_not_loaded() -> None:
    """No Modbus: nothing of it. A Modbus device: neither pymodbus nor pyserial before its connection is opened."""
    program = """
import sys
import gateway.parts
from gateway import kinds
loaded = {name.split(".")[0] for name in sys.modules} | set(sys.modules)
assert not {"pymodbus", "serial"} & loaded
assert not any(name.startswith("gateway.connectors.modbus.") for name in loaded)
kinds.runner("device", "modbus")
assert not {"pymodbus", "serial"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.slow
def test_a_mute_unit_on_a_line_leaves_the_good_one_four_fifths_of_its_polls(tmp_path: Path) -> None:
    async def main() -> None:
        simulator = Simulator()
        simulator.unit(1).holding.update({n * 100: n for n in range(10)})
        simulator.unit(4).is_mute = True
        simulator.plug(str(tmp_path / "tty"))
        url, shared = f"serial:{tmp_path / 'tty'}?baud=115200&parity=N", {}  # type: tuple[str, dict[str, Any]]
        points = tuple(point(f"p{n}", f"holding:{n * 100}") for n in range(10))
        devices = []
        for unit in (1, 4):
            config = ModbusDevice(url=url, unit=unit, poll=0.1, timeout=0.1, point=points)
            devices.append(ModbusConnector(f"unit{unit}", config, FakePort(f"unit{unit}", shared=shared)))
        good, mute = devices
        async with running(good, mute):
            for _ in range(60):
                await asyncio.sleep(0.1)
            scans = good.status()["scans"]
        assert scans["due"] >= 58 and scans["done"] >= 0.8 * scans["due"], scans
        assert mute.status()["breaker"] == "open"
        await simulator.stop()

    run(main())
