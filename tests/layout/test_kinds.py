"""Each kind of device and uplink is one folder with everything about it, and one line in ``gateway/kinds.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings

ROOT = Path(__file__).parents[2]
FAMILIES = {"device": ("connectors", "connector.py"), "uplink": ("uplinks", "uplink.py")}
KINDS = [(section, kind) for section in FAMILIES for kind in kinds.names(section)]


def folder_of(section: str, kind: str) -> Path:
    """Where the settings of the kind are declared."""
    module = kinds.KINDS[section][kind][0].partition(":")[0]
    return ROOT.joinpath(*module.split(".")).parent


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_a_kind_is_a_whole_folder(section: str, kind: str) -> None:
    family, main = FAMILIES[section]
    folder = folder_of(section, kind)
    assert folder == ROOT / "gateway" / family / kind
    wanted = {"config.py", main, "README.md", "sample.toml"} | ({"sim.py"} if section == "device" else set())
    assert wanted <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("family", [family for family, _ in FAMILIES.values()])
def test_every_folder_is_a_known_kind(family: str) -> None:
    folders = {path.parent for path in (ROOT / "gateway" / family).glob("*/config.py")}
    assert folders == {folder_of(section, kind) for section, kind in KINDS if FAMILIES[section][0] == family}


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_the_sample_is_accepted(section: str, kind: str) -> None:
    loaded = read(folder_of(section, kind) / "sample.toml", Settings, kinds)
    assert kind in {used for entry, used in loaded.kinds.items() if entry.startswith(f"{section}.")}


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_the_readme_says_what_people_ask(section: str, kind: str) -> None:
    text = (folder_of(section, kind) / "README.md").read_text().lower()
    for word in ("sample.toml", "limit", "troubleshooting", "tested"):
        assert word in text, f"no {word!r}"


@pytest.mark.parametrize(("section", "kind"), [(s, k) for s in kinds.KINDS for k in kinds.names(s)])
def test_every_line_of_kinds_can_be_imported(section: str, kind: str) -> None:
    assert kinds.declaration(section, kind) is not None
    assert kinds.runner(section, kind) is not None
