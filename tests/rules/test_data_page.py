"""docs/rules-data.md says what the code does: its examples pass their own cases."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli

from gateway.rules.cases import run_cases
from gateway.rules.fitting import _WORDS
from gateway.rules.load import load
from gateway.rules.look_outside import find_functions
from gateway.rules.outside import Outside

PAGE = (Path(__file__).parents[2] / "docs" / "rules-data.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)

RULES = [block for block in BLOCKS if block.startswith("[[")]


class Here:
    """Runs the functions of the page."""

    def __init__(self, text: str) -> None:
        self._functions: dict[str, Any] = {}
        exec(text, self._functions)

    def call(self, name: str, inputs: dict[str, Any], answer: Callable[[Any, str], None]) -> None:
        answer(self._functions[name.partition(".")[2]](**inputs), "")


@pytest.mark.parametrize("text", RULES, ids=[text.splitlines()[1] for text in RULES])
def test_example(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rule.toml"
    path.write_text(text)
    (function,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "convert.py").write_text(function)
    rules = load([path], Outside(functions=find_functions(tmp_path / "functions")))
    results = run_cases(rules, Here(function))
    assert [result.diff for result in results] == [""]


def test_there_are_five_of_them_and_settings() -> None:
    assert len(RULES) == 5
    settings = [tomli.loads(block) for block in BLOCKS if block not in RULES]
    assert [list(one["rules"]) for one in settings] == [["functions", "function_time", "function_memory"], ["secrets"]]


def test_every_word_of_schemas_is_named() -> None:
    assert not [word for word in _WORDS if f"`{word}`" not in PAGE]
