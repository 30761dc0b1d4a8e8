"""What the documents claim is there: versions, commands, decisions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import gateway

ROOT = Path(__file__).parents[2]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9_-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    heads = re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads, "CHANGELOG.md has no version heading"
    assert heads[0] == gateway.__version__ == project["version"]


def test_every_make_command_in_the_documents_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
    unknown = [
        f"{path.name}: make {target}"
        for path in documents
        for target in re.findall(r"(?:^|`|\$ )make ([a-z0-9_-]+)", path.read_text(), re.MULTILINE)
        if target not in targets()
    ]
    assert not unknown


def test_every_target_is_phony_and_listed() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets()
    assert targets() == set(re.findall(r"^([a-z0-9_-]+):.*## ", makefile, re.MULTILINE))


def test_decisions_are_numbered_dated_and_short() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        lines = page.read_text().splitlines()
        assert lines[0].startswith(f"# {page.name[:4]} "), page.name
        assert re.match(r"\d{4}-\d\d-\d\d · (accepted|replaced by \d{4})", lines[2]), page.name
        assert len(lines) <= 40, page.name
        for word in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert word in page.read_text(), f"{page.name} has no {word}"


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
