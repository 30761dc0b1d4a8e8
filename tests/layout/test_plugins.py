"""Kinds of other packages: found by entry points, and named when they are broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from gateway import kinds
from gateway.check import cross_check
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.errors import ConfigError

CONFIG = """
from dataclasses import dataclass

from gateway.config.declare import not_empty, setting
from gateway.connectors.points import DeviceSettings, PointSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpPoint(PointSettings):
    "One value of a pump."

    register: int = setting(text="Its number.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpDevice(DeviceSettings):
    "A pump."

    host: str = setting(text="Its address.")
    point: tuple[PumpPoint, ...] = setting(text="", check=not_empty)
"""

CONNECTOR = """
from gateway.connectors.base import Connector


class PumpConnector(Connector):
    def __init__(self, name, config, port):
        self.config = config

    async def run(self, up): ...
    async def write(self, point, value): ...

    @classmethod
    def check(cls, config):
        if config.host == "nowhere":
            yield "host", "is nowhere"
"""

SETTINGS = """
[device.p1]
kind = "pump"
host = "10.0.0.5"
point = [{ name = "speed", register = 5, unit = "1/min" }]
"""


class Site:
    """A folder of packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self, *, init: str, config: str = CONFIG, connector: str = CONNECTOR, value: str = "pump_pkg:KIND"
    ) -> None:
        package = self.folder / "pump_pkg"
        package.mkdir()
        for name, text in (("__init__", init), ("config", config), ("connector", connector)):
            (package / f"{name}.py").write_text(dedent(text))
        info = self.folder / "edge_pump-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edge-pump\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[gateway.devices]\npump = {value}\n")
        importlib.invalidate_caches()

    def load(self, settings: str = SETTINGS) -> Loaded[Settings]:
        path = self.folder / "gateway.toml"
        path.write_text(settings)
        return read(path, Settings, kinds)

    def problems(self, settings: str = SETTINGS) -> list[str]:
        with pytest.raises(ConfigError) as error:
            self.load(settings)
        return error.value.problems


KIND = 'KIND = ("pump_pkg.config:PumpDevice", "pump_pkg.connector:PumpConnector")\n'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pump_pkg"]:
        del sys.modules[name]


def test_a_kind_of_another_package_is_used_like_ours(site: Site) -> None:
    site.install(init=KIND)
    loaded = site.load()
    device = loaded.value.device["p1"]
    assert type(device).__name__ == "PumpDevice" and device.point[0].name == "speed"
    assert "pump" in kinds.names("device") and "pump" not in kinds.names("uplink")
    assert kinds.runner("device", "pump").__name__ == "PumpConnector"
    assert cross_check(loaded) == []
    assert cross_check(site.load(SETTINGS.replace("10.0.0.5", "nowhere"))) == [
        "gateway.toml:4: device.p1.host: is nowhere"
    ]
    assert site.problems(SETTINGS.replace("register = 5", "register = 5, scale = 0")) == [
        "gateway.toml:5: device.p1.point[0].scale: must not be 0; every value would be the offset"
    ]


@pytest.mark.parametrize(
    ("init", "config", "value", "words"),
    [
        ("import not_there", CONFIG, "pump_pkg:KIND", "ModuleNotFoundError: No module named 'not_there'"),
        ("1 / 0", CONFIG, "pump_pkg:KIND", "ZeroDivisionError: division by zero"),
        ("KIND = 5", CONFIG, "pump_pkg:KIND", "TypeError: pump_pkg:KIND is no pair of texts"),
        ("", CONFIG, "pump_pkg:KIND", "AttributeError: module 'pump_pkg' has no attribute 'KIND'"),
        ("", CONFIG, "nothing:KIND", "ModuleNotFoundError: No module named 'nothing'"),
        (KIND, "class PumpDevice: ...", "pump_pkg:KIND", "its settings are no dataclass"),
        (KIND, CONFIG.replace("    point:", "    values:"), "pump_pkg:KIND", "its settings have no points"),
        (KIND, "raise RuntimeError('no licence')", "pump_pkg:KIND", "RuntimeError: no licence"),
    ],
)
def test_a_broken_package_is_named_with_what_is_wrong(
    site: Site, init: str, config: str, value: str, words: str
) -> None:
    site.install(init=init, config=config, value=value)
    (problem,) = site.problems()
    head = 'gateway.toml:3: device.p1.kind: kind "pump" of the package edge-pump 1.2 cannot be used: '
    assert problem.startswith(head) and words in problem


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("host: str = setting", "host: bytes = setting", "PumpDevice.host has the type <class 'bytes'>"),
        ('setting(text="Its address.")', '"x"', "PumpDevice.host is not declared with setting()"),
    ],
)
def test_settings_that_no_reader_knows_are_named(site: Site, old: str, new: str, words: str) -> None:
    site.install(init=KIND, config=CONFIG.replace(old, new))
    (problem,) = site.problems()
    assert problem.startswith(
        'gateway.toml:3: device.p1.kind: kind "pump" cannot be used: its settings are not declared'
    )
    assert words in problem


def test_a_connector_that_cannot_be_imported_is_found_by_check(site: Site) -> None:
    site.install(init=KIND, connector="import not_there")
    (problem,) = cross_check(site.load())
    assert problem.startswith('gateway.toml:3: device.p1.kind: kind "pump" of the package edge-pump 1.2 cannot be used')
    assert "not_there" in problem


def test_an_unknown_kind_lists_those_of_other_packages(site: Site) -> None:
    site.install(init=KIND)
    (problem,) = site.problems(SETTINGS.replace('"pump"', '"pmup"'))
    assert 'unknown kind "pmup"; did you mean "pump"? Known kinds: ' in problem


def test_our_own_kinds_are_not_looked_for_elsewhere(site: Site) -> None:
    """Nor can another package take the place of one."""
    site.install(init="1 / 0")
    entries = site.folder / "edge_pump-1.2.dist-info" / "entry_points.txt"
    entries.write_text("[gateway.devices]\nmodbus = pump_pkg:KIND\n")
    shape = kinds.declaration("device", "modbus")
    assert shape is not None and shape.__module__ == "gateway.connectors.modbus.config"
    assert "pump_pkg" not in sys.modules
