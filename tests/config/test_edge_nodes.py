"""Names of Sparkplug edge nodes that depend on several sections."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError

NODE = """[uplink.{name}]
kind = "sparkplug"
url = "mqtt://{host}"
group = "G"
forward = [{{ filter = "#" }}]
"""
DEVICE = """[device.{name}]
kind = "modbus"
url = "tcp://127.0.0.1:1"
{points}
"""
POINT = """[[device.{device}.point]]
name = "{name}"
address = "holding:{address}"
"""


def settings(folder: Path, text: str) -> Settings:
    file = folder / "gateway.toml"
    file.write_text(text)
    return read(file, Settings, kinds).value


def test_the_name_of_the_gateway_must_be_a_level(tmp_path: Path) -> None:
    name = '[gateway]\nname = "hall 1/4"\n'
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, name + NODE.format(name="a", host="h"))
    (problem,) = caught.value.problems
    assert 'uplink.a: has the name of the gateway, "hall 1/4"' in problem
    assert problem.endswith("it holds '/'; give it a node")
    settings(tmp_path, name + NODE.format(name="a", host="h") + 'node = "n"\n')


@pytest.mark.parametrize(
    ("host", "node", "good"),
    [("h", "", False), ("other", "", True), ("h", 'node = "n"\n', True), ("h", 'node = "site"\n', False)],
)
def test_a_node_is_there_once_at_a_broker(tmp_path: Path, host: str, node: str, good: bool) -> None:
    text = '[gateway]\nname = "site"\n' + NODE.format(name="a", host="h") + NODE.format(name="b", host=host) + node
    if good:
        settings(tmp_path, text)
        return
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)
    assert "uplink.b: is the same edge node at the same broker as uplink.a" in "".join(caught.value.problems)


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    points = POINT.format(device="pump", name="speed", address=1) + POINT.format(device="pump", name="Speed", address=2)
    other = POINT.format(device="PUMP", name="x", address=3)
    devices = DEVICE.format(name="pump", points=points) + DEVICE.format(name="PUMP", points=other)
    assert [*settings(tmp_path, devices).warnings()] == [], "no host sees them"
    found = [*settings(tmp_path, devices + NODE.format(name="a", host="h")).warnings()]
    assert [key for key, _ in found] == ["device.PUMP", "device.pump.point[1].name"]
    assert found[0][1].startswith('differs from device "pump" only in case')
