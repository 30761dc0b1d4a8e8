"""The settings of a Modbus device, and the words of their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint, Place, parse_place
from gateway.connectors.modbus.endpoint import Endpoint, parse_url
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.errors import ConfigError

FOLDER = Path(kinds.__file__).parent / "connectors" / "modbus"


def problems(tmp_path: Path, point: str = "", device: str = "") -> list[str]:
    """What the loader says of a device with these lines."""
    if "address" not in point:
        point += '\naddress = "holding:0"'
    text = '[device.d]\nkind = "modbus"\ntopic = "d"\n'
    text += device if "url" in device else device + '\nurl = "tcp://h"\n'
    text += f'\n[[device.d.point]]\nname = "p"\n{point}\n'
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    try:
        read(file, Settings, kinds)
    except ConfigError as error:
        return [problem.partition("device.d.")[2] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("holding:100", Place("holding", 100)),
        ("input:0", Place("input", 0)),
        ("coil:3", Place("coil", 3)),
        ("discrete:65535", Place("discrete", 65535)),
        ("7", Place("holding", 7)),
        (7, Place("holding", 7)),
    ],
)
def test_addresses(text: str | int, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tcp://10.0.0.5:1502", Endpoint("10.0.0.5", 1502)),
        ("tcp://plc", Endpoint("plc", 502)),
        ("tcp://[::1]:5020/", Endpoint("::1", 5020)),
    ],
)
def test_urls(text: str, endpoint: Endpoint) -> None:
    assert parse_url(text) == endpoint
    assert str(Endpoint("::1", 502)) == "[::1]:502"


LINE = "serial:/dev/serial/by-id/usb-X"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("tls://plc", Endpoint("plc", 802, "tls")),
        ("rtu+tcp://10.0.0.6:4001", Endpoint("10.0.0.6", 4001, "rtu+tcp", "rtu")),
        (LINE, Endpoint("", 0, "serial", "rtu", "/dev/serial/by-id/usb-X", 19_200, "E", 1, 8)),
        (f"{LINE}?baud=9600&parity=n&stop=2", Endpoint("", 0, "serial", "rtu", LINE[7:], 9600, "N", 2, 8)),
        (f"{LINE}?framing=ascii", Endpoint("", 0, "serial", "ascii", LINE[7:], 19_200, "E", 1, 7)),
        (f"{LINE}?framing=ascii&bits=8", Endpoint("", 0, "serial", "ascii", LINE[7:], 19_200, "E", 1, 8)),
    ],
)
def test_urls_of_every_transport(text: str, endpoint: Endpoint) -> None:
    assert parse_url(text) == endpoint


def test_the_silence_between_frames_is_that_of_the_standard() -> None:
    assert parse_url(f"{LINE}?baud=9600").gap == pytest.approx(0.00401, abs=1e-5)
    assert parse_url(f"{LINE}?baud=1200").gap == pytest.approx(0.0321, abs=1e-4)
    assert parse_url(f"{LINE}?baud=38400").gap == parse_url("rtu+tcp://h:1").gap == 0.00175


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ('url = "rtu+tcp://h"', "url: needs a port"),
        ('url = "serial:dev/x"', 'url: must be like "tcp://10.0.0.5:502"'),
        (f'url = "{LINE}?baud=9"', "url: baud must be a number between 110 and 4000000, not '9'"),
        (f'url = "{LINE}?parity=even"', "url: parity must be N (none), E (even) or O (odd), not 'EVEN'"),
        (f'url = "{LINE}?stop=3"', "url: stop must be 1 or 2, not '3'"),
        (f'url = "{LINE}?bits=7"', "url: bits must be 8, or with framing=ascii 7, not '7'"),
        (f'url = "{LINE}?framing=tcp"', "url: framing must be rtu or ascii, not 'tcp'"),
        (f'url = "{LINE}?speed=9600"', 'url: has no option "speed"'),
        ('framing = "ascii"', "framing: has no effect; it is for serial lines"),
        (f'url = "{LINE}?framing=rtu"\nframing = "ascii"', 'framing: must be "rtu", as in the url'),
        (f'url = "{LINE}"\nunit = 248', "unit: must be between 0 and 247 on a serial line, not 248"),
        (f'url = "{LINE}"\nunit = 0', "point[0].write: is missing or has bits"),
        ("echo = true", "echo: has no effect; it is for serial lines"),
        ("rs485 = {}", "rs485: has no effect"),
        ('url = "rtu+tcp://h:1"\nrs485 = {}', "rs485: has no effect"),
        ("tls = {}", "tls: has no effect; use a url that begins with tls://"),
        ("turnaround = -1", "turnaround: must not be negative"),
        ('quirks = { bit_write = "x" }', 'quirks.bit_write: must be one of "mask", "read_modify_write"'),
        ("quirks = { pause = 1 }", "quirks.pause: unknown key"),
    ],
)
def test_what_does_not_fit_the_transport_is_named(device: str, words: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, device=device)
    assert problem.startswith(words), problem


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    (tmp_path / "c.pem").touch()
    (problem,) = problems(tmp_path, device='url = "tls://h"\ntls = { cert = "c.pem" }')
    assert problem.startswith("tls.cert: needs key beside it")
    (problem,) = problems(tmp_path, device='url = "tls://h"\ntls = { ca = "none.pem" }')
    assert problem.startswith("tls.ca: ")


def test_framing_is_the_url_s_or_the_key_s() -> None:
    def framing(url: str, key: Any = None) -> str:
        return ModbusDevice(url=url, framing=key, point=(ModbusPoint(name="p", address=0),)).endpoint.framing

    assert framing(LINE) == "rtu" and framing(LINE, "ascii") == framing(f"{LINE}?baud=9600", "ascii") == "ascii"
    assert framing("rtu+tcp://h:1", "rtu") == "rtu" and framing("tcp://h") == "mbap"


@pytest.mark.parametrize("text", ["http://x", "tcp://", "tcp:host", "tcp://h:0", "tcp://h:99999", "tcp://h:1/x", ""])
def test_wrong_urls_say_what_they_must_be(text: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, device=f'url = "{text}"')
    assert problem.startswith('url: must be like "tcp://10.0.0.5:502"')


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ('address = "holding:70000"', 'address: must be between 0 and 65535, not "holding:70000"'),
        ("address = 70000", "address: must be between 0 and 65535, not 70000"),
        ('address = "holdng:1"', "address: must be a table and a protocol address counted from 0"),
        ('address = "coil:1"\ntype = "uint16"', 'type: must be "bool": coil:1 is a single bit'),
        ('type = "bool"', 'type: "bool" is for coils and discrete inputs'),
        ('address = "holding:65535"\ntype = "int32"', "address: int32 takes 2 registers and runs over the last one"),
        ('address = "input:0"\nwrite = {}', "write: input:0 cannot be written"),
        ('address = "discrete:0"\ntype = "bool"\nwrite = {}', "write: discrete:0 cannot be written"),
        ('type = "string:4"\nscale = 0.1', "scale: scale and offset have no meaning for string:4"),
        ('type = "int8"', "type: must be one of bool, int16"),
        ('order = "ACBD"', "order: "),
        ("scale = 0", "scale: must not be 0"),
        ("deadband = -1", "deadband: must be a number of at least 0"),
        ("write = { min = 5, max = 1 }", "write.max: must be at least min"),
    ],
)
def test_a_wrong_point_is_named_with_its_reason(point: str, words: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, point)
    assert problem.startswith(f"point[0].{words}")


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("unit = 256", "unit: must be between 0 and 255, not 256"),
        ("max_words = 126", "max_words: must be between 1 and 125, not 126"),
        ('timeout = "0s"', "timeout: must be between 10ms and 1m"),
        ("stale_after = 0", "stale_after: must be between 1 and 1000, not 0"),
    ],
)
def test_a_wrong_device_is_named_with_its_reason(device: str, words: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, device=device)
    assert problem.startswith(words)


def test_names_are_used_once_and_values_fit_into_a_request() -> None:
    def point(name: str, **fields: Any) -> ModbusPoint:
        return ModbusPoint(name=name, address="holding:0", **fields)

    device = ModbusDevice(url="tcp://h", max_words=2, point=(point("a"), point("a"), point("b", type="float64")))
    assert list(DeviceSettings.problems(device)) == [("point[1].name", '"a" is the name of point[0] too')]
    assert list(device.problems()) == [
        ("max_words", "must be at least 4, to read the float64 of b in one piece"),
    ]


def test_a_command_topic_is_no_point() -> None:
    file_problem = ModbusPoint.__dataclass_fields__["name"].metadata["setting"].check("set")
    assert "commands arrive" in file_problem


def test_the_sample_is_right(tmp_path: Path) -> None:
    loaded = read(FOLDER / "sample.toml", Settings, kinds).value
    device = loaded.device["boiler"]
    assert isinstance(device, ModbusDevice)
    assert device.endpoint == Endpoint("10.0.0.5", 502)
    assert [(point.name, point.place, point.width) for point in device.point] == [
        ("temperature", Place("holding", 100), 1),
        ("energy", Place("input", 20), 2),
        ("pump", Place("coil", 3), 1),
        ("door", Place("holding", 110), 1),
    ]
    meter = loaded.device["meter"]
    assert isinstance(meter, ModbusDevice)
    assert (meter.endpoint.line, meter.endpoint.is_line) == ("9600 8N1 rtu", True)


def test_the_sample_names_every_key_that_only_this_kind_has() -> None:
    text = (FOLDER / "sample.toml").read_text()
    own = {*ModbusDevice.__dataclass_fields__, *ModbusPoint.__dataclass_fields__}
    for key in own - {*DeviceSettings.__dataclass_fields__, *PointSettings.__dataclass_fields__}:
        assert f"{key} = " in text or f"{key} =" in text or key == "point"
