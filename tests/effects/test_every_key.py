"""Every key of the settings has an effect: ``table.txt`` names a test that fails in a gateway that is deaf to it.

``make effects`` proves all of them, ``make test`` a few: there each takes a process of its own.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from effects.declared import declared
from effects.prove import ROOT, failing, table

ELSEWHERE = {"config.board.Board.reset_gpio"}
"""Read by ``gateway reset`` out of the file, which may be wrong otherwise: ``tests/appliance/test_reset_button.py``."""

SAMPLE = 60
"""One in so many is proven here."""


def test_every_key_has_a_test() -> None:
    keys = {name for name, one in declared().items() if not one.required} - ELSEWHERE
    assert sorted(keys - table().keys()) == []
    assert sorted(table().keys() - keys) == []


@functools.cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_is_there() -> None:
    gone = []
    for test in table().values():
        file, *names = test.partition("[")[0].split("::")
        path = ROOT / file
        if not path.is_file() or (names[-1] not in functions(path) and "contracts" not in path.parts):
            gone.append(test)
    assert gone == []


@pytest.mark.slow
@pytest.mark.parametrize("key", list(table())[::SAMPLE])
def test_it_fails_in_a_gateway_that_is_deaf_to_the_key(key: str) -> None:
    assert failing(key, [table()[key]]) is not None
