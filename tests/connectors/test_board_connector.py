"""The board as a device: its points, what happens to one alone, and its alarms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from connectors.fakes import FakePort, run
from gateway import kinds
from gateway.clock import Clock
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.base import Quality
from gateway.connectors.board.config import BoardDevice, BoardPoint
from gateway.connectors.board.connector import BoardConnector
from gateway.connectors.board.sim import BoardSimulation, simulate
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected


def device(root: Path, *addresses: str, hot: float = 80, low_space: float = 10) -> BoardDevice:
    points = tuple(
        BoardPoint(
            name=address.replace(":", "_").replace("/", "_"),
            address=address,
            write=WriteLimits() if address.startswith("led") else None,
        )
        for address in addresses
    )
    return BoardDevice(poll=0.01, root=str(root), point=points, hot=hot, low_space=low_space)


@asynccontextmanager
async def living(config: BoardDevice) -> AsyncIterator[tuple[BoardConnector, FakePort, BoardSimulation]]:
    simulation, port = simulate({"dev": config}, Clock()), FakePort()
    await simulation.start()
    connector = BoardConnector("dev", config, port)
    task = asyncio.create_task(connector.run(lambda: None))
    try:
        yield connector, port, simulation
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await simulation.stop()


def test_one_thing_that_is_not_told_spoils_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with living(device(tmp_path, "temperature", "uptime")) as (connector, port, simulation):
            simulation.set("dev", "temperature", 48.5)
            simulation.set("dev", "uptime", 12)
            await port.value("temperature", 48.5)
            (tmp_path / "proc/uptime").unlink()
            await port.quality("uptime", Quality.BAD)
            assert "No such file" in port.last["uptime"].reason
            simulation.set("dev", "temperature", 50)
            await port.value("temperature", 50)
            assert connector.status()["state"] == "up"

    run(main())


def test_alarms_follow_what_is_read(tmp_path: Path) -> None:
    async def main() -> None:
        # Nobody has a file system of which every byte is free.
        config = device(tmp_path, "temperature", "under_voltage", "wear", "free_percent:/", low_space=100, hot=70)
        async with living(config) as (connector, port, simulation):
            await port.until(lambda: connector.alarms()["low_space"] is not None)
            assert connector.alarms()["over_temperature"] is None
            for point, value in (("temperature", 71), ("under_voltage", 1), ("wear", 90)):
                simulation.set("dev", point, value)
            await port.until(lambda: all(text is not None for text in connector.alarms().values()))
            simulation.set("dev", "temperature", 20)
            await port.until(lambda: connector.alarms()["over_temperature"] is None)
            assert set(connector.status()["alarms"]) == {"under_voltage", "low_space", "flash_wear"}

    run(main())


def test_an_led_without_the_right_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with living(device(tmp_path, "led:ACT")) as (connector, port, simulation):
            await port.value("led_ACT", 0)
            assert await connector.write("led_ACT", 1) == 1

            def refused(name: str, brightness: int) -> None:
                raise PermissionError(13, "Permission denied")

            monkeypatch.setattr(connector._board, "light", refused)
            with pytest.raises(Rejected, match="ReadWritePaths"):
                await connector.write("led_ACT", 0)

    run(main())


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ('address = "uptime"\nwrite = {}', "uptime cannot be written"),
        ('address = "load"\nbits = 1', "has no effect on load"),
        ('address = "under_voltage"\nscale = 2', "has no effect on under_voltage"),
        ('address = "free:x"', "whole path"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(tmp_path: Path, point: str, words: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(f'[device.b]\nkind = "board"\n[[device.b.point]]\nname = "x"\n{point}\n')
    with pytest.raises(Exception, match=words):
        read(file, Settings, kinds)


def test_the_profile_is_a_whole_board(tmp_path: Path) -> None:
    file, root = tmp_path / "gateway.toml", tmp_path / "root"
    (root / "var/lib/gateway").mkdir(parents=True)
    file.write_text(f'[device.b]\nprofile = "board"\nroot = "{root}"\n')
    found = read(file, Settings, kinds).value.device["b"]
    assert isinstance(found, BoardDevice)
    values = {"temperature": 48.5, "under_voltage": False, "wear": 30, "written": 512, "memory_used": 25, "load": 0.5}
    values |= {"uptime": 100}

    async def main() -> None:
        async with living(found) as (_, port, simulation):
            for point, value in values.items():
                simulation.set("dev", point, value)
            await port.until(lambda: set(port.last) == {point.name for point in found.point})
            assert {name: port.last[name].value for name in values} == values
            assert all(sample.quality is Quality.GOOD for sample in port.last.values())

    run(main())


def test_this_machine_itself_is_not_simulated() -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="root"):
            await simulate({"dev": BoardDevice(point=())}, Clock()).start()

    run(main())
