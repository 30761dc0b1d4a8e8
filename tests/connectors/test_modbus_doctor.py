"""Looking at simulated servers and at a serial line on a pseudo-terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.fakes import run
from gateway.connectors.found import toml_of
from gateway.connectors.modbus import doctor
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.modbus.solve import parse_shown, solve
from gateway.errors import Retry


@asynccontextmanager
async def simulator() -> AsyncIterator[tuple[Simulator, int]]:
    device = Simulator()
    port = await device.start()
    try:
        yield device, port
    finally:
        await device.stop()


async def _no_sleep(seconds: float) -> None:
    pass


def _silent(text: str) -> None:
    pass


async def _found(target: str, **more: Any) -> list[Any]:
    return [one async for one in doctor.scan(target, _silent, sleep=_no_sleep, **more)]


def test_who_answers_on_a_network() -> None:
    async def scene() -> None:
        async with simulator() as (device, port):
            device.unit(3).holding[0] = 17
            device.unit(5)
            device.unit(9).is_mute = True
            found = await _found(f"tcp://127.0.0.1:{port}", units=(1, 3, 5, 9))
            assert [(one.address, one.note) for one in found] == [
                (f"127.0.0.1:{port} unit 3", "holding:0 is 17"),
                (f"127.0.0.1:{port} unit 5", "answers exception 2, illegal data address"),
            ]
            assert (
                toml_of("meter", found[:1])
                == f'[device.meter]\nkind = "modbus"\nurl = "tcp://127.0.0.1:{port}"\nunit = 3\n'
            )

    run(scene())


def test_nobody_is_there() -> None:
    with pytest.raises(Retry, match="127.0.0.1:1"):
        run(_found("tcp://127.0.0.1:1"))


def test_lines_are_tried_in_the_usual_order() -> None:
    urls = doctor._urls("serial:/dev/ttyS1")
    assert urls[:2] == ["serial:/dev/ttyS1?baud=9600&parity=E", "serial:/dev/ttyS1?baud=9600&parity=N"]
    assert len(urls) == 21
    assert doctor._urls("serial:/dev/ttyS1?baud=300&stop=2") == [
        f"serial:/dev/ttyS1?baud=300&parity={parity}&stop=2" for parity in "ENO"
    ]


def test_an_image_leaves_out_what_is_not_there() -> None:
    async def scene() -> None:
        async with simulator() as (device, port):
            unit = device.unit(1)
            unit.input.update({address: address * 2 for address in (*range(30), *range(50, 200))})
            config = ModbusDevice(url=f"tcp://127.0.0.1:{port}", point=(ModbusPoint(name="x", address=0),))
            image = await doctor.image(config, ("input", "holding"), 0, 210, _silent, sleep=_no_sleep)
            assert image == {"input": unit.input, "holding": {}}

    run(scene())


def test_from_the_display_to_a_point() -> None:
    async def scene() -> None:
        async with simulator() as (device, port):
            unit = device.unit(1)
            unit.input.update(dict.fromkeys(range(40), 0))
            unit.input.update({12: 2305, 13: 4998})
            config = ModbusDevice(url=f"tcp://127.0.0.1:{port}", point=(ModbusPoint(name="x", address=0),))
            image = await doctor.image(config, ("input",), 0, 40, _silent, sleep=_no_sleep)
            (fits,) = solve(doctor.numbers(image), [parse_shown("230.5")])
            assert toml_of("m", [doctor.point_of(fits[0], "voltage")]) == (
                '\n[[device.m.point]]\nname = "voltage"\naddress = "input:12"\ntype = "uint16"\n'
                "scale = 0.1  # 230.5 the display shows 230.5\n"
            )

    run(scene())
