"""What holds for every kind of device, whoever writes it: shared keys, a contract test, no I/O when it is built."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort
from contracts.rig import no_io
from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.config.shape import element, keys
from gateway.connectors.base import Connector
from gateway.connectors.points import DeviceSettings, Point, PointSettings

HERE = Path(__file__).parent
DEVICES = sorted(kinds.KINDS["device"])


def folder(kind: str) -> Path:
    return Path(inspect.getfile(settings(kind))).parent


def settings(kind: str) -> type[Any]:
    shape = kinds.declaration("device", kind)
    assert shape is not None
    return shape


@pytest.mark.parametrize("kind", DEVICES)
def test_it_passes_the_contract(kind: str) -> None:
    text = (HERE / f"test_{kind}_connector.py").read_text()
    assert "(ConnectorContract)" in text


@pytest.mark.parametrize("kind", DEVICES)
def test_it_has_the_keys_that_all_devices_and_points_have(kind: str) -> None:
    shape = settings(kind)
    assert issubclass(shape, DeviceSettings)
    (points,) = [key.type for key in keys(shape) if key.name == "point"]
    assert issubclass(element(points), PointSettings)
    for base, own in ((DeviceSettings, shape), (PointSettings, element(points))):
        assert {key.name for key in keys(base)} <= {key.name for key in keys(own)}


@pytest.mark.parametrize("kind", DEVICES)
def test_the_devices_of_its_sample_are_built_without_io(kind: str) -> None:
    loaded = read(folder(kind) / "sample.toml", Settings, kinds).value
    made = {name: device for name, device in loaded.device.items() if isinstance(device, settings(kind))}
    assert made
    shared: dict[str, Any] = {}
    for name, device in made.items():
        with no_io():
            connector = kinds.runner("device", kind)(name, device, FakePort(name, shared=shared))
        assert isinstance(connector, Connector)
        json.dumps(connector.status())


@pytest.mark.parametrize("kind", DEVICES)
def test_it_shapes_values_as_all_kinds_do(kind: str) -> None:
    """By ``Point``, and by nothing of its own: scale, names, counters, ranges."""
    modules = [importlib.import_module(f"gateway.connectors.{kind}.{path.stem}") for path in folder(kind).glob("*.py")]
    assert any(getattr(module, "Point", None) is Point for module in modules)
    assert not any(hasattr(module, "LastKnown") for module in modules)
