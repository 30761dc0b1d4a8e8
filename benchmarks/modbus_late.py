"""Late answers on a serial line: how many values of other registers does a client take?

    PYTHONPATH=. python -m benchmarks.modbus_late

The device is a simulated unit on a pseudo-terminal, whose registers say which they are; every thirtieth answer comes
after its time limit, by up to six of them. pymodbus is asked in a plain loop, as its examples do, without repeats; the
gateway with its bus. Both get the same questions: ten blocks of three registers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from pathlib import Path
from typing import Final

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient
from pymodbus.exceptions import ModbusException

from gateway.clock import Clock
from gateway.connectors.modbus.bus import Bus, Terms
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.dialer import Dialer
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.sim import Simulator, Unit
from gateway.errors import Retry

READS: Final = 3000
LIMIT: Final = 0.02
BLOCKS: Final = [50 * n for n in range(10)]


class Lateness:
    """Makes every thirtieth answer late."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._chance = random.Random(9)

    def next(self) -> None:
        chance = self._chance
        self._unit.delay = LIMIT * chance.choice((1.2, 1.8, 3, 6)) if chance.random() < 1 / 30 else 0.0


async def with_pymodbus(path: str, late: Lateness) -> tuple[int, int, int]:
    client = AsyncModbusSerialClient(
        path, framer=FramerType.RTU, baudrate=115_200, parity="N", timeout=LIMIT, retries=0, reconnect_delay=0.01
    )
    good = wrong = missed = 0
    for number in range(READS):
        address = BLOCKS[number % len(BLOCKS)]
        late.next()
        try:
            if not client.connected:
                await client.connect()
            answer = await client.read_holding_registers(address, count=3, device_id=1)
        except ModbusException:
            missed += 1
            continue
        if answer.isError() or len(answer.registers) != 3:
            missed += 1
        elif answer.registers == [1000 + address + at for at in range(3)]:
            good += 1
        else:
            wrong += 1
    client.close()
    return good, wrong, missed


async def with_the_gateway(path: str, late: Lateness) -> tuple[int, int, int]:
    url = f"serial:{path}?baud=115200&parity=N"
    config = ModbusDevice(url=url, timeout=LIMIT, point=(ModbusPoint(name="p", address=0),))
    bus = Bus(config.endpoint, Clock(), Dialer(config), random=lambda: 0.0)
    good = wrong = missed = 0
    terms = Terms(1, LIMIT)
    async with bus.member(terms) as member:
        for number in range(READS):
            address = BLOCKS[number % len(BLOCKS)]
            late.next()
            bus.breaker(1).answered()  # the breaker would ask only now and then
            try:
                words = await member.read("holding", address, 3)
            except (Timeout, DeviceError, Retry):
                missed += 1
                continue
            if words == [1000 + address + at for at in range(3)]:
                good += 1
            else:
                wrong += 1
    return good, wrong, missed


async def main() -> None:
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
    print(f"{READS} reads of 3 registers, every thirtieth answer late\n")
    print(f"{'way':16}{'right':>8}{'wrong':>8}{'missed':>8}{'seconds':>9}")
    for way, run in (("pymodbus loop", with_pymodbus), ("this gateway", with_the_gateway)):
        with tempfile.TemporaryDirectory() as folder:
            simulator = Simulator()
            unit = simulator.unit(1)
            unit.holding.update({n: 1000 + n for n in range(600)})
            path = str(Path(folder) / "tty")
            simulator.plug(path)
            started = time.monotonic()
            good, wrong, missed = await run(path, Lateness(unit))
            print(f"{way:16}{good:>8}{wrong:>8}{missed:>8}{time.monotonic() - started:>9.1f}", flush=True)
            await simulator.stop()


if __name__ == "__main__":
    asyncio.run(main())
