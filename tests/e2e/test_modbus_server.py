"""A running gateway that reads one Modbus device and is another: mbpoll reads what was read, and writes through."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.waiting import free_port
from gateway.connectors.modbus.sim import Simulator

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("mbpoll") is None, reason="needs mbpoll")]


async def mbpoll(port: int, *arguments: str) -> str:
    """Run mbpoll once with addresses counted from 0; its output."""
    process = await asyncio.create_subprocess_exec(
        "mbpoll", "-m", "tcp", "-p", str(port), "-a", "1", "-0", "-1", "-o", "1", "127.0.0.1", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    return output.decode()


def test_values_come_through_and_writes_go_through(start_gateway: StartGateway) -> None:
    async def main() -> None:
        simulator = Simulator()
        holding = simulator.unit(1).holding
        holding[7] = 215
        device = await simulator.start()
        server = free_port()
        point = settings.point("level", "holding:7", type='"int16"', scale="0.1", write="{ min = 0, max = 90 }")
        text = settings.listener(free_port()) + settings.modbus("tank", device, [point])
        text += (
            f'[listener.scada]\nkind = "modbus"\nbind = "127.0.0.1:{server}"\n'
            '[[listener.scada.register]]\ntopic = "plant/tank/level"\naddress = "holding:0"\n'
            'type = "int16"\nscale = 0.01\nwrite = true\n'
        )
        gateway = await asyncio.to_thread(start_gateway, text)

        async def until(shown: str) -> None:
            for _ in range(100):
                said = await mbpoll(server, "-t", "4", "-r", "0")
                if shown in said:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(said)

        try:
            await until("[0]: \t2150")
            await mbpoll(server, "-t", "4", "-r", "0", "6050")
            await until("[0]: \t6050")
            assert holding[7] == 605
            await mbpoll(server, "-t", "4", "-r", "0", "9500")  # 95, which the point's own limits refuse
            await until("[0]: \t6050")
            assert holding[7] == 605
            simulator.unit(1).exception = 4
            await until("Slave device or server failure")
        finally:
            await asyncio.to_thread(gateway.stop)
            await simulator.stop()

    asyncio.run(main())
