"""What may be copied, and what is pure: the imports of the decoder and of the packers."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[2] / "gateway"
PACKERS = sorted((GATEWAY / "uplinks" / "packing").glob("*.py"))
NO_WORLD = {"asyncio", "socket", "sqlite3", "threading", "time", "random", "os", "select", "subprocess", "ssl"}


def imported(path: Path) -> set[str]:
    """Top names of all that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_decoder_needs_nothing_but_the_standard_library() -> None:
    assert imported(GATEWAY / "unpack.py") <= sys.stdlib_module_names


@pytest.mark.parametrize("path", PACKERS, ids=lambda path: path.name)
def test_packers_know_no_clock_and_no_world(path: Path) -> None:
    assert not imported(path) & NO_WORLD
