"""The settings of a Modbus device, and the words of their errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.modbus.config import Endpoint, ModbusDevice, ModbusPoint, Place, parse_place, parse_url
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
    ]


def test_the_sample_names_every_key_that_only_this_kind_has() -> None:
    text = (FOLDER / "sample.toml").read_text()
    own = {*ModbusDevice.__dataclass_fields__, *ModbusPoint.__dataclass_fields__}
    for key in own - {*DeviceSettings.__dataclass_fields__, *PointSettings.__dataclass_fields__}:
        assert f"{key} = " in text or f"{key} =" in text or key == "point"
