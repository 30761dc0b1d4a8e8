"""The load of a serial line, against times measured on the wire and counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.endpoint import parse_url
from gateway.connectors.modbus.load import bus_loads, cost, problems

LINE = "serial:/dev/ttyS1?baud=9600&parity=E"


def device(count: int, unit: int = 1, url: str = LINE, **more: Any) -> ModbusDevice:
    points = tuple(ModbusPoint(name=f"p{index}", address=index) for index in range(count))
    return ModbusDevice(url=url, unit=unit, point=points, **more)


def test_reading_sixty_registers_at_9600() -> None:
    # 8 characters there, 125 back, 11 bits each: 152.4 ms; two silences of 3.5 characters; the device thinks.
    assert cost(parse_url(LINE), "holding", 60) == pytest.approx(133 * 11 / 9600 + 2 * 3.5 * 11 / 9600 + 0.010)


def test_bits_are_packed_and_ascii_takes_twice_as_long() -> None:
    rtu, ascii_ = parse_url(LINE), parse_url(LINE + "&framing=ascii")
    assert cost(rtu, "coil", 16) == pytest.approx(15 * 11 / 9600 + 7 * 11 / 9600 + 0.010)
    assert cost(ascii_, "holding", 1) == pytest.approx((2 * 13 + 6) * 10 / 9600 + 7 * 10 / 9600 + 0.010)


def test_the_devices_of_one_line_add_up() -> None:
    devices = {"a": device(40), "b": device(40, unit=2, poll=0.5), "c": device(4, url="tcp://10.0.0.5")}
    (load,) = bus_loads(devices)
    single = cost(load.endpoint, "holding", 40)
    assert load.devices == ("a", "b")
    assert load.share == pytest.approx(single / 1.0 + single / 0.5)
    assert load.single == pytest.approx(40 * cost(load.endpoint, "holding", 1) * 3)
    # 422.5 %: which way that is rounded, summing decides, and that differs between versions of Python.
    shown = f"37% of its time for 2 devices, {load.single:.0%} if each point were asked for by itself"
    assert str(load) == f"/dev/ttyS1 9600 8E1 rtu: {shown}"
    assert list(problems(devices)) == []


def test_a_line_that_will_not_keep_its_polls_is_named() -> None:
    ((name, text),) = problems({"a": device(100, poll=0.2)})
    assert name == "a"
    assert "131% of its time" in text
    assert "poll less often" in text


def test_points_of_other_rates_and_pauses_count() -> None:
    points = (ModbusPoint(name="fast", address=0), ModbusPoint(name="slow", address=1, poll=10.0))
    plain = ModbusDevice(url=LINE, point=points)
    one = cost(parse_url(LINE), "holding", 1)
    assert bus_loads({"a": plain})[0].share == pytest.approx(one + one / 10)


def test_all_units_at_once_are_not_polled() -> None:
    assert bus_loads({"all": device(1, unit=0)})[0].share == 0
