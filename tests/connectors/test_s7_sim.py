"""The simulated S7 controllers of a settings file, their faults, and the doctor's look at them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import run
from gateway import kinds
from gateway.clock import Clock, FixedClock
from gateway.config.load import read as read_settings
from gateway.config.settings import Settings
from gateway.connectors.base import Quality
from gateway.connectors.found import Found
from gateway.connectors.points import WriteLimits
from gateway.connectors.s7 import doctor
from gateway.connectors.s7.client import Client, Timeout, connect
from gateway.connectors.s7.config import S7Device, S7Point
from gateway.connectors.s7.messages import DeviceError, Extent
from gateway.connectors.s7.sim import S7Simulation, simulate
from gateway.connectors.simulation import Simulation
from gateway.errors import Rejected, Retry

POINTS = (
    S7Point(name="level", address="DB1.DBD4", type="real", scale=0.5, write=WriteLimits()),
    S7Point(name="run", address="DB1.DBX10.3"),
    S7Point(name="state", address="MW0", type="int", values={"0": "off", "1": "on"}),
    S7Point(name="part", address="MW2", bits="4..7"),
    S7Point(name="order", address="DB2.DBB0", type="string:10"),
    S7Point(name="wide", address="DB3.DBB0", type="wstring:10"),
    S7Point(name="at", address="DB3.DBB40", type="date_and_time"),
)


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def device(port: int = 0, **fields: Any) -> S7Device:
    return S7Device(url=f"s7://127.0.0.1:{port or free_port()}?slot=1", point=POINTS, timeout=1.0, **fields)


def with_simulation(main: Callable[[S7Device, S7Simulation], Awaitable[None]], clock: Clock | None = None) -> None:
    async def whole() -> None:
        config = device()
        simulation = simulate({"d": config}, clock or Clock())
        await simulation.start()
        try:
            await main(config, simulation)
        finally:
            await simulation.stop()

    run(whole())


VALUES = {
    "level": 35.5,
    "run": True,
    "state": "on",
    "part": 9,
    "order": "A-17",
    "wide": "Ω 1",
    "at": "2026-11-26T07:30:00.123",
}


def test_what_is_set_is_read_and_got() -> None:
    async def main(config: S7Device, simulation: S7Simulation) -> None:
        for name, value in VALUES.items():
            simulation.set("d", name, value)
        assert {name: simulation.get("d", name) for name in VALUES} == VALUES
        samples = await doctor.read(config, [])
        assert {sample.point: sample.value for sample in samples} == VALUES
        with pytest.raises(Rejected):
            simulation.set("d", "order", "more than ten letters")
        with pytest.raises(KeyError):
            simulation.set("d", "none", 1)

    with_simulation(main)


def test_it_is_a_simulation() -> None:
    simulation: Simulation = simulate({"d": device(9)}, Clock())
    with pytest.raises(ValueError, match="none, mute, late, garbage, exception, reboot, not fire"):
        simulation.fault("d", "fire")


def test_devices_of_one_url_are_one_controller() -> None:
    one = device(9)
    assert len(simulate({"a": one, "b": one, "c": device(10)}, Clock()).simulators) == 2


async def word(client: Client, timeout: float = 0.05) -> bytes | DeviceError:
    return (await client.read([Extent("M", 0, 0, 2)], timeout))[0]


def test_faults() -> None:
    clock = FixedClock()

    async def main(config: S7Device, simulation: S7Simulation) -> None:
        simulation.set("d", "state", "on")
        client = await connect(config.endpoint, 480, 1.0)
        simulation.fault("d", "mute")
        with pytest.raises(Timeout):
            await word(client)
        simulation.fault("d", "late", 0.1)
        with pytest.raises(Timeout):
            await word(client)
        assert await word(client, 1.0) == b"\0\1"
        simulation.fault("d", "exception", 0x0A)
        assert isinstance(await word(client), DeviceError)
        simulation.fault("d", "exception", 0x8104)
        with pytest.raises(DeviceError, match="PUT/GET"):
            await word(client)
        simulation.fault("d", "none")
        assert await word(client) == b"\0\1"
        simulation.fault("d", "garbage")
        with pytest.raises(Retry, match="not ISO transport"):
            await word(client)
        client.close()
        simulation.fault("d", "reboot", 5)
        with pytest.raises(Retry):
            await connect(config.endpoint, 480, 1.0)
        clock.advance(6)
        client = await connect(config.endpoint, 480, 1.0)
        assert await word(client) == b"\0\0"
        simulation.set("d", "order", "0123456789")
        client.close()
        await asyncio.sleep(0)

    with_simulation(main, clock)


def test_the_doctor_reads_once_and_says_what_is_bad() -> None:
    async def main(config: S7Device, simulation: S7Simulation) -> None:
        simulation.simulators[config.endpoint.host, config.endpoint.port].memory.areas.pop(("DB", 2))
        good, bad = await doctor.read(config, ["level", "order"])
        assert (good.quality, good.value) == (Quality.GOOD, 0.0)
        assert bad.quality is Quality.BAD and "does not exist" in bad.reason
        with pytest.raises(KeyError):
            await doctor.read(config, ["none"])

    with_simulation(main)


def test_the_doctor_lists_blocks_and_what_stands_in_one(tmp_path: Path) -> None:
    async def main(config: S7Device, simulation: S7Simulation) -> None:
        simulation.set("d", "level", 35.65)
        blocks = [(found.address, found.note) async for found in doctor.browse(config)]
        assert blocks == [("DB1", "11 bytes"), ("DB2", "12 bytes"), ("DB3", "48 bytes")]
        points = [found async for found in doctor.browse(config, "DB1")]
        assert [point.address for point in points] == ["DB1.DBD0", "DB1.DBD4", "DB1.DBW8", "DB1.DBB10"]
        assert (points[1].value, points[1].settings["type"]) == (71.3, "real")
        with pytest.raises(Rejected, match='"DB0" is no data block'):
            [found async for found in doctor.browse(config, "DB0")]
        with pytest.raises(DeviceError):
            [found async for found in doctor.browse(config, "DB9")]
        endpoint = Found("device", config.url, settings={"kind": "s7", "url": config.url})
        path = tmp_path / "gateway.toml"
        path.write_text(doctor.profile_of([endpoint, *points], "press"))
        made: Any = read_settings(path, Settings, kinds).value.device["press"]
        assert [one.address for one in made.point] == [found.address for found in points]
        assert "71.3" in path.read_text()

    with_simulation(main)


def test_the_doctor_finds_a_controller_and_goes_on_when_nobody_is_there() -> None:
    async def main(config: S7Device, simulation: S7Simulation) -> None:
        said: list[str] = []
        host, port = config.endpoint.host, config.endpoint.port
        (found,) = [found async for found in doctor.scan(f"{host}:{port}", said.append)]
        assert found.settings == {"kind": "s7", "url": f"s7://{host}:{port}?rack=0&slot=1"}
        assert found.name == "simulated" and "CPU simulated by edge-gateway" in found.note
        simulator = simulation.simulators[host, port]
        simulator.is_refusing = True

        async def sleep(seconds: float) -> None:
            assert seconds > 0

        assert [found async for found in doctor.scan(f"{host}:{port}", said.append, sleep=sleep)] == []
        assert sum("refuses" in line for line in said) == len(doctor.PLACES)
        await simulation.stop()
        accepted = simulator.accepted
        assert [found async for found in doctor.scan(f"{host}:{port}", said.append)] == []
        assert "Connection refused" in said[-1] and simulator.accepted == accepted

    with_simulation(main)


def test_a_net_is_looked_through_address_by_address_but_no_large_one() -> None:
    assert [host for host, _ in doctor._hosts("10.0.0.0/30")] == ["10.0.0.1", "10.0.0.2"]
    with pytest.raises(ValueError, match="at most 256 addresses, not 65536"):
        doctor._hosts("10.0.0.0/16")
