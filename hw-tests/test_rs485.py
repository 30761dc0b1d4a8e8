"""A Modbus line from the board to an adapter of this PC, on which libmodbus answers. See README.md for the wires."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from hw.wiring import StartGateway, Wiring

from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.programs import modbusd
from e2e.rig.waiting import free_port, wait_until

WIRES = "an RS-485 port on the board, wired to an adapter of this PC"
UNIT = 17


@pytest.mark.parametrize("baud", [9600, 115200])
def test_values_come_over_the_line(
    wiring: Wiring, start_gateway: StartGateway, closing: ExitStack, tmp_path: Path, baud: int
) -> None:
    there, comma, here = wiring.need("--rs485", WIRES).partition(",")
    assert comma, "--rs485 is BOARD,PC: two serial ports"
    program = modbusd(tmp_path)
    with (log := tmp_path / "modbusd.log").open("wb") as output:
        device = subprocess.Popen([program, here, str(baud), "N", str(UNIT)], stdout=output, stderr=output)
    closing.callback(device.wait, 10)
    closing.callback(device.terminate)
    wait_until(lambda: "up" in log.read_text() or device.poll() is not None, 15, "the device listens")
    assert device.poll() is None, log.read_text()
    point = settings.point("level", "holding:7", type='"uint16"')
    port = free_port()
    line = f'[device.meter]\nkind = "modbus"\nurl = "serial:{there}?baud={baud}&parity=N"\nunit = {UNIT}\n'
    line += f'poll = "200ms"\ntopic = "plant/meter"\n[[device.meter.point]]\n{point}\n'
    gateway = start_gateway(settings.listener(port) + line)
    collector = Collector(port, "plant/meter/level")
    got = collector.wait(lambda got: len(got) >= 50, 60, "50 values")
    collector.close()
    assert all(json.loads(one.payload)["q"] == "good" for one in got), gateway.status()["devices"]["meter"]
