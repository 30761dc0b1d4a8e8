"""docs/devices.md: its examples are right, and it names every key that all devices have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from gateway import kinds
from gateway.check import cross_check
from gateway.config.load import read
from gateway.config.profile import shipped_names
from gateway.config.settings import Settings
from gateway.config.shape import keys
from gateway.connectors.points import DeviceSettings, PointSettings, WriteLimits

PAGE = (Path(__file__).parents[2] / "docs" / "devices.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
FILES = {match[1]: block for block in BLOCKS if (match := re.match(r"# (\S+\.toml)\n", block))}
SETTINGS = [block for block in BLOCKS if block not in FILES.values()]


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: block.splitlines()[0])
def test_an_example_is_accepted(block: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    path = tmp_path / "gateway.toml"
    path.write_text(block)
    loaded = read(path, Settings, kinds)
    assert cross_check(loaded) == []
    assert len(loaded.value.device) == len(tomli.loads(block)["device"])


def test_the_profile_of_the_page_is_used_by_an_example() -> None:
    assert list(FILES) == ["valve.toml"]
    assert any('"valve.toml"' in block for block in SETTINGS)


@pytest.mark.parametrize("shape", [DeviceSettings, PointSettings, WriteLimits], ids=lambda shape: shape.__name__)
def test_every_key_is_explained(shape: type) -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith("| `"))
    missing = [key.name for key in keys(shape) if f"`{key.name}`" not in rows]
    # The name needs no row, and write has a table of its own.
    assert set(missing) <= ({"name", "poll", "write"} if shape is PointSettings else set())


def test_every_shipped_profile_is_listed() -> None:
    assert [name for name in shipped_names() if f"| `{name}` |" not in PAGE] == []
