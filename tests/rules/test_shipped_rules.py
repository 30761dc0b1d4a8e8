"""rules/*.toml: every shipped file passes its cases, and has its section in docs/shipped-rules.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.rules.cases import run_cases
from gateway.rules.load import load, shipped_rules
from gateway.store.routes import routes_of

PAGE = (Path(__file__).parents[2] / "docs" / "shipped-rules.md").read_text(encoding="utf-8")
FILES = sorted(shipped_rules().glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_stands_alone_and_passes_its_cases(path: Path) -> None:
    results = run_cases(load([path]))
    assert len(results) >= 2
    assert [(result.name, result.diff) for result in results if not result.passed] == []


def test_all_of_them_together() -> None:
    assert all(result.passed for result in run_cases(load(FILES)))


def test_each_has_a_section() -> None:
    assert sorted(re.findall(r"^## (\S+)$", PAGE, re.MULTILINE)) == [path.name for path in FILES]


def test_the_settings_of_the_page_give_the_classes(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "gateway.toml"
    path.write_text(block)
    settings = read(path, Settings, kinds).value
    forward = settings.uplink["cloud"].forward
    assert {entry.filter: entry.class_ for entry in forward} == {"up/alarm/#": "alarm", "up/telemetry/#": "telemetry"}
    assert set(routes_of({"cloud": forward})) == {"up/alarm/#", "up/telemetry/#"}
