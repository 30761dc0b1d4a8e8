"""Sizes, places and words: what the source tree must look like whoever wrote the file."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MAX_LINES = 400
"""One idea fits in 150 lines; past this there is a second idea in the file that wants a name."""

FORBIDDEN = re.compile(r"(?<![\w.$}~-])/(?:home|root|work)/\w\w|\.\./shared\b")
"""Paths of somebody's machine: they are true nowhere else."""

TEXT = {
    ".py",
    ".pyi",
    ".pyx",
    ".md",
    ".toml",
    ".txt",
    ".json",
    ".sql",
    ".service",
    ".c",
    ".js",
    ".yaml",
    ".yml",
    ".sh",
    "",
}


def project_files() -> list[Path]:
    """What git tracks or would track; everything below the root where there is no git (an unpacked sdist)."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        hidden = {".venv", "build", "dist", "__pycache__"}
        return [p for p in ROOT.rglob("*") if p.is_file() and not hidden & set(p.relative_to(ROOT).parts)]
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


FILES = project_files()
PYTHON = [path for path in FILES if path.suffix == ".py"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    long = {name(path): lines for path in PYTHON if (lines := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long


def test_no_path_of_somebodys_machine() -> None:
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in FILES
        if path.suffix in TEXT and path.name not in ("uv.lock", "package-lock.json")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["see /" + "home/ann/x", "cd /" + "work/main", "`../" + "shared/X.md`"])
def test_the_words_are_found(line: str) -> None:
    assert FORBIDDEN.search(line)


def test_test_folders_are_no_packages() -> None:
    """Dependencies install a package called ``tests``; a folder without ``__init__`` is loaded by its path."""
    assert not [name(path) for path in PYTHON if path.is_relative_to(ROOT / "tests") and path.name == "__init__.py"]


def test_only_commands_print() -> None:
    talkers = ("gateway/cli/", "gateway/demo/")
    found = [
        f"{name(path)}:{node.lineno}"
        for path in PYTHON
        if name(path).startswith("gateway/") and not name(path).startswith(talkers)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found


def test_every_module_says_what_it_is_for() -> None:
    assert not [
        name(path)
        for path in PYTHON
        if path.stat().st_size
        and name(path).startswith("gateway/")
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
