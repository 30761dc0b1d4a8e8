"""A device laid over its profile, and every mistake named where it stands."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.config.load import Loaded, read
from gateway.config.profile import SHIPPED, shipped_names
from gateway.config.settings import Settings
from gateway.connectors.modbus.config import ModbusDevice
from gateway.connectors.points import WriteLimits
from gateway.errors import ConfigError

PROFILE = """\
title = "A meter"
source = "https://example.org/map.pdf"
kind = "modbus"
gap = 3
poll = "5s"

[[point]]
name = "voltage"
address = "input:0"
type = "float32"
unit = "V"

[[point]]
name = "current"
address = "input:6"
type = "float32"

[[point]]
name = "setpoint"
address = "holding:9"
write = { min = 0, max = 90 }
"""

NO_ADDRESS = (
    'must be a table and a protocol address counted from 0, such as "holding:100", "input:0", "coil:3" or '
    '"discrete:7"; a bare number is a holding register'
)

DEVICE = """\
[device.m1]
profile = "meter.toml"
url = "tcp://10.0.0.5"
"""


def load(folder: Path, device: str = DEVICE, profile: str | None = PROFILE) -> Loaded[Settings]:
    if profile is not None:
        (folder / "meter.toml").write_text(profile)
    path = folder / "gateway.toml"
    path.write_text(device)
    return read(path, Settings, kinds)


def device(folder: Path, text: str = DEVICE, profile: str = PROFILE, name: str = "m1") -> ModbusDevice:
    made = load(folder, text, profile).value.device[name]
    assert isinstance(made, ModbusDevice)
    return made


def problems(folder: Path, text: str = DEVICE, profile: str | None = PROFILE) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, text, profile)
    return error.value.problems


def names(made: ModbusDevice) -> list[str]:
    return [point.name for point in made.point]


def test_a_device_has_the_keys_and_points_of_its_profile(tmp_path: Path) -> None:
    made = device(tmp_path)
    assert (made.kind, made.gap, made.poll, made.url) == ("modbus", 3, 5.0, "tcp://10.0.0.5")
    assert names(made) == ["voltage", "current", "setpoint"]
    assert made.point[2].write == WriteLimits(min=0, max=90)
    assert load(tmp_path).kinds == {"device.m1": "modbus"}


def test_keys_of_the_device_replace_those_of_the_profile(tmp_path: Path) -> None:
    made = device(tmp_path, DEVICE + 'kind = "modbus"\npoll = "1s"\ntopic = "plant/m1"\n')
    assert (made.poll, made.gap, made.topic) == (1.0, 3, "plant/m1")


def test_a_point_with_a_known_name_replaces_the_keys_it_has_and_others_are_added(tmp_path: Path) -> None:
    made = device(
        tmp_path,
        DEVICE
        + """
[[device.m1.point]]
name = "setpoint"
write = { min = 0, max = 50 }
[[device.m1.point]]
name = "extra"
address = "holding:70"
[[device.m1.point]]
name = "voltage"
deadband = "2%"
""",
    )
    assert names(made) == ["voltage", "current", "setpoint", "extra"]
    assert made.point[2].write == WriteLimits(min=0, max=50) and made.point[2].address == "holding:9"
    assert (made.point[0].deadband, made.point[0].unit) == ("2%", "V")


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ('only = ["voltage"]', ["voltage"]),
        ('only = ["*t*"]', ["voltage", "current", "setpoint"]),
        ('only = ["v*", "c*"]\nwithout = ["current"]', ["voltage"]),
        ('without = ["setpoint"]', ["voltage", "current"]),
        ("only = []\nwithout = []", []),
    ],
)
def test_only_and_without_choose_points(keys: str, left: list[str], tmp_path: Path) -> None:
    if left:
        assert names(device(tmp_path, DEVICE + keys)) == left
    else:
        assert "device.m1" in problems(tmp_path, DEVICE + keys)[0]


def test_one_profile_serves_fifty_devices_and_is_read_once(tmp_path: Path) -> None:
    text = "\n".join(
        f'[device.m{n}]\nprofile = "meter.toml"\nurl = "tcp://10.0.0.5"\nunit = {n}\n' for n in range(1, 51)
    )
    loaded = load(tmp_path, text).value
    assert len(loaded.device) == 50
    assert {len(one.point) for one in loaded.device.values()} == {3}
    overridden = text + '[[device.m7.point]]\nname = "voltage"\nunit = "mV"\n'
    units = [one.point[0].unit for one in load(tmp_path, overridden).value.device.values()]  # type: ignore[attr-defined]
    assert units.count("V") == 49 and units.count("mV") == 1


def test_a_mistake_in_a_profile_is_named_once_with_its_file_and_line(tmp_path: Path) -> None:
    wrong = PROFILE.replace('"input:6"', '"inptu:6"').replace("max = 90", "max = -1").replace("gap = 3", "gap = 300")
    twice = DEVICE + DEVICE.replace("m1", "m2")
    assert problems(tmp_path, twice, wrong) == [
        "meter.toml:4: gap: must be between 0 and 124, not 300",
        f'meter.toml:15: point[1].address: {NO_ADDRESS}, not "inptu:6"',
        "meter.toml:21: point[2].write.max: must be at least min, which is 0",
    ]


def test_a_mistake_in_the_device_is_named_where_it_stands(tmp_path: Path) -> None:
    text = DEVICE + (
        'tpic = 1\nunit = 300\n[[device.m1.point]]\nname = "extra"\n'
        '[[device.m1.point]]\nname = "setpoint"\nscale = 0\nunit = 5\n'
    )
    assert problems(tmp_path, text) == [
        'gateway.toml:4: device.m1.tpic: unknown key; did you mean "topic"?',
        "gateway.toml:5: device.m1.unit: must be between 0 and 255, not 300",
        'gateway.toml:6: device.m1.point[0].address: required key is missing; for example: address = "holding:100"',
        "gateway.toml:10: device.m1.point[1].scale: must not be 0; every value would be the offset",
        "gateway.toml:11: device.m1.point[1].unit: expected text, found number 5; put it in quotes",
    ]


def test_what_later_checks_find_is_located_too(tmp_path: Path) -> None:
    loaded = load(tmp_path, DEVICE + '[[device.m1.point]]\nname = "current"\nunit = "A"\n')
    place = loaded.source.problem
    assert place("device.m1.point[0].address", "x") == "meter.toml:9: point[0].address: x"
    assert place("device.m1.point[1].unit", "x") == "gateway.toml:6: device.m1.point[0].unit: x"
    assert place("device.m1.point[1].type", "x") == "meter.toml:16: point[1].type: x"
    assert place("device.m1.url", "x") == "gateway.toml:3: device.m1.url: x"
    assert loaded.source.line("device.m1.point[1].type") == 16


def test_devices_that_share_topics_are_found_through_their_profile(tmp_path: Path) -> None:
    text = DEVICE + 'topic = "a"\n' + DEVICE.replace("m1", "m2") + 'topic = "a"\nonly = ["voltage"]\n'
    assert problems(tmp_path, text) == [
        'meter.toml:8: point[0].name: publishes to "a/voltage", as device.m1.point[0] does'
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('profile = "nope.toml"', "device.m1.profile: no such file: "),
        ('profile = "energy-metr"', '"energy-metr" comes with the gateway; did you mean "energy-meter"?'),
        ('profile = "../energy-meter"', 'no profile "../energy-meter" comes with the gateway'),
        ("profile = 5", "must be the name of a profile"),
        ('profile = ""', "must be the name of a profile"),
        ('profile = "meter.toml"\nkind = "opc"', 'device.m1.kind: must be "modbus", as in its profile meter.toml'),
        ('profile = "meter.toml"\nonly = ["voltag"]', 'only[0]: "voltag" is no point of the profile meter.toml; did'),
        ('profile = "meter.toml"\nwithout = ["x*"]', 'without[0]: "x*" is no point of the profile meter.toml'),
        ('profile = "meter.toml"\nwithout = "x"', "device.m1.without: expected a list"),
        ('profile = "meter.toml"\npoint = 5', "device.m1.point: expected a list"),
    ],
)  # fmt: skip
def test_a_profile_that_cannot_be_used_is_an_error_of_the_device(text: str, words: str, tmp_path: Path) -> None:
    found = problems(tmp_path, '[device.m1]\nurl = "tcp://10.0.0.5"\n' + text)
    assert len(found) == 1 and words in found[0] and found[0].startswith("gateway.toml:")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("kind = modbus", "meter.toml:1: not valid TOML"),
        ('kind = "modbsu"', 'meter.toml:1: kind: unknown kind "modbsu"; did you mean "modbus"?'),
        ('title = "x"', "gateway.toml:1: device.m1.kind: required key is missing"),
        ('kind = "modbus"\npoint = "x"', "meter.toml:2: point: expected a list"),
        ('kind = "modbus"\npoint = [5]', "meter.toml:2: point[0]: expected a table"),
        ('kind = "modbus"\ntypo = 5\n[[point]]\nname="a"\naddress=1', "meter.toml:2: typo: unknown key"),
        ('kind = "modbus"\n[[point]]\naddress=1', "meter.toml:2: point[0].name: required key is missing"),
    ],
)
def test_a_profile_that_means_nothing_is_an_error_of_the_profile(profile: str, words: str, tmp_path: Path) -> None:
    assert words in problems(tmp_path, DEVICE, profile)[0]


@pytest.mark.parametrize("key", ["only", "without"])
def test_choosing_without_a_profile_has_no_effect_and_says_so(key: str, tmp_path: Path) -> None:
    text = f'[device.m1]\nkind = "modbus"\nurl = "tcp://h"\n{key} = ["a"]\npoint = [{{ name = "a", address = 1 }}]\n'
    assert problems(tmp_path, text) == [f"gateway.toml:4: device.m1.{key}: has no effect without a profile"]


def test_paths_in_a_profile_start_where_the_settings_are(tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "m.toml").write_text(PROFILE)
    assert len(load(tmp_path, DEVICE.replace("meter", "profiles/m"), None).value.device["m1"].point) == 3


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_profile_says_what_it_is_and_loads(name: str, tmp_path: Path) -> None:
    data: dict[str, Any] = tomllib.loads((SHIPPED / f"{name}.toml").read_text())
    assert data["title"] and data["source"].startswith("https://")
    url = "" if data["kind"] == "board" else 'url = "tcp://10.0.0.5"\n'
    made = load(tmp_path, f'[device.m1]\nprofile = "{name}"\n{url}', None)
    assert len(made.value.device["m1"].point) == len(data["point"])


def test_the_profiles_that_were_promised_are_there() -> None:
    wanted = {
        "energy-meter",
        "sunspec-inverter",
        "sunspec-inverter-float",
        "drive-goodrive",
        "temperature-humidity",
        "io-module",
    }
    assert wanted <= set(shipped_names())


@pytest.mark.slow
def test_the_wheel_has_the_profiles(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv, which builds the wheel, is not there")
    command = [str(uv), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {f"gateway/profiles/{name}.toml" for name in shipped_names()} <= packed
