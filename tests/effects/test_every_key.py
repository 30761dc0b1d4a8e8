"""Every key of the settings has an effect: ``table.txt`` names a test that fails in a gateway that is deaf to it.

``make effects`` proves all of them, ``make test`` a few: there each takes a process of its own.
"""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from effects.declared import declared
from effects.prove import ROOT, table

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
def test_some_fail_in_a_gateway_that_is_deaf_to_the_key() -> None:
    command = [sys.executable, "-m", "effects.prove", "--keys", *list(table())[::SAMPLE]]
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
