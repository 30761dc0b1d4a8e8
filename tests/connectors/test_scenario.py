"""What simulated devices do over time, without time passing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config.load import read
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.points import WriteLimits
from gateway.connectors.scenario import Fail, Put, Scenario, Script, unknown
from gateway.errors import ConfigError

DEVICES = {
    "boiler": ModbusDevice(
        url="tcp://127.0.0.1:502",
        point=(
            ModbusPoint(name="temperature", address=0),
            ModbusPoint(name="setpoint", address=1, write=WriteLimits(min=0, max=90)),
        ),
    )
}


def script(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "script.toml"
    path.write_text(text)
    return read(path, Script).value


def test_without_a_script_what_nobody_writes_moves() -> None:
    scenario = Scenario(DEVICES)
    values = []
    for second in range(0, 90, 5):
        events = scenario.until(second)
        assert [(event.device, event.point) for event in events if isinstance(event, Put)] == [
            ("boiler", "temperature")
        ]
        assert isinstance(events[0], Put)
        values.append(events[0].value)
    assert len(set(values)) > 10
    assert all(isinstance(value, float) and 15 <= value <= 25 for value in values)


def test_a_point_that_holds_no_number_is_left_alone() -> None:
    scenario = Scenario(DEVICES)
    scenario.still("boiler", "temperature")
    assert scenario.until(5) == []


def test_a_value_goes_its_way_and_stays(tmp_path: Path) -> None:
    steps = 'step = [{ at = "10s", device = "boiler", point = "temperature", value = 70, to = 90, over = "20s" }]'
    scenario = Scenario(DEVICES, script(tmp_path, steps))
    assert scenario.until(9) == []
    seen = [event.value for at in (10, 15, 20, 30, 31) for event in scenario.until(at) if isinstance(event, Put)]
    assert seen == [70, 70, 75, 80, 90]


def test_a_fault_ends_by_itself(tmp_path: Path) -> None:
    steps = 'step = [{ at = "1s", device = "boiler", fault = "late", amount = 2, lasts = "5s" }]'
    scenario = Scenario(DEVICES, script(tmp_path, steps))
    faults = [event for at in (0, 1, 3, 6, 7) for event in scenario.until(at) if isinstance(event, Fail)]
    assert faults == [Fail("boiler", "late", 2), Fail("boiler", "none", 0)]


def test_a_script_begins_again(tmp_path: Path) -> None:
    steps = 'repeat = "10s"\nstep = [{ at = "2s", device = "boiler", point = "setpoint", value = 5 }]'
    scenario = Scenario(DEVICES, script(tmp_path, steps))
    times = [at for at in range(35) if any(event == Put("boiler", "setpoint", 5) for event in scenario.until(at))]
    assert times == [2, 12, 22, 32]


@pytest.mark.parametrize(("steps", "problem"), [
    ('[[step]]\nat = "1s"\ndevice = "boiler"', "must have either a fault or a point"),
    ('[[step]]\nat = "1s"\ndevice = "boiler"\npoint = "x"', "what shall the point hold"),
    ('[[step]]\nat = "1s"\ndevice = "boiler"\nfault = "mute"\nto = 3', "needs a point with a number"),
    ('[[step]]\nat = "1s"\ndevice = "boiler"\npoint = "x"\nvalue = "on"\nto = 3', "needs a point with a number"),
    ('[[step]]\nat = "1s"\ndevice = "b"\npoint = "x"\nvalue = 1\nlasts = "3s"', "is for faults"),
    ('[[step]]\nat = "1s"\ndevice = "boiler"\nfault = "sad"', "must be one of"),
    ('repeat = "5s"\n[[step]]\nat = "5s"\ndevice = "b"\nfault = "mute"', "must end before the repeat"),
    ('repeat = "5s"\n[[step]]\nat = "1s"\ndevice = "b"\nfault = "mute"\nlasts = "4s"', "must end before the repeat"),
    ("", "step"),
])  # fmt: skip
def test_a_script_that_means_nothing(tmp_path: Path, steps: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        script(tmp_path, steps)
    assert any(problem in text and text.startswith("script.toml") for text in error.value.problems)


def test_what_a_script_names_must_be_there(tmp_path: Path) -> None:
    steps = script(tmp_path, """step = [
        { at = 0, device = "pump", fault = "mute" },
        { at = 0, device = "boiler", point = "pressure", value = 1 },
    ]""")  # fmt: skip
    assert unknown(steps, DEVICES) == [
        ("step[0].device", 'no device is called "pump"; there are: boiler'),
        ("step[1].point", 'boiler has no point "pressure"; it has: temperature, setpoint'),
    ]


def test_the_script_of_the_manual(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert unknown(script(tmp_path, text), DEVICES) == []
