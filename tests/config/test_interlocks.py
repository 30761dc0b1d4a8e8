"""Interlocks between devices are checked when the settings are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError

SETTINGS = """\
[device.press]
kind = "modbus"
url = "tcp://10.0.0.9"
[[device.press.point]]
name = "start"
address = "coil:1"
type = "bool"
write = { when = WHEN }

[device.pump]
kind = "modbus"
url = "tcp://10.0.0.9"
unit = 2
point = [{ name = "pressure", address = "input:0" }]
"""


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ('"pump/pressure > 80"', None),
        ('"press/start == false"', None),
        ('"pmp/pressure > 80"', 'there is no device "pmp"'),
        ('"pump/presure > 80"', 'device "pump" has no point "presure"'),
        ('["pump/pressure > 80", "door == closed"]', '"door" is no point of this device'),
        ('["pump/pressure > 80", "pump/x == 1"]', 'device "pump" has no point "x"'),
        ('"pump/pressure"', 'must be like "door == closed"'),
    ],
)
def test_the_point_that_a_write_depends_on_must_be_there(when: str, problem: str | None, tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS.replace("WHEN", when))
    if problem is None:
        assert len(read(path, Settings, kinds).value.device) == 2
        return
    with pytest.raises(ConfigError) as error:
        read(path, Settings, kinds)
    (found,) = error.value.problems
    assert found.startswith("gateway.toml:8: device.press.point[0].write.when: ") and problem in found


def test_a_device_with_mistakes_of_its_own_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS.replace("WHEN", '"pump/pressure > 80"').replace("unit = 2", "unit = 300"))
    with pytest.raises(ConfigError) as error:
        read(path, Settings, kinds)
    assert [problem.split(":")[1] for problem in error.value.problems] == ["13"]
