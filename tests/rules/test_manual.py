"""docs/rules.md says what the code does: its tables are the code's, its examples pass their own cases, no key is left
out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.config.shape import keys
from gateway.rules.action import Action, Case, Expected, Given
from gateway.rules.cases import run_cases
from gateway.rules.manual import functions_table, names_table
from gateway.rules.memory_functions import MEMORY_FUNCTIONS
from gateway.rules.model import Field, Model
from gateway.rules.step import Clear, Keep, Publish, Raise, Step, Write
from gateway.rules.trigger import At, Timeout, Trigger

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
SHAPES = [
    Action, Trigger, At, Timeout, Step, Publish, Keep, Write, Raise, Clear, Model, Field, Case, Given, Expected,
]  # fmt: skip


@pytest.mark.parametrize(("mark", "table"), [("names", names_table()), ("functions", functions_table())])
def test_tables(mark: str, table: str) -> None:
    found = re.search(rf"<!-- {mark} -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1] == table, f"put what names_table() and functions_table() give between the marks: {table}"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r'name += "(.*?)"', block)[0])
def test_an_example_passes_its_cases(rules: Any, block: str) -> None:
    loaded = rules(block)
    results = run_cases(loaded)
    assert results, "there is no case"
    assert [(result.name, result.diff) for result in results if not result.passed] == []


def test_what_the_page_shows_of_a_failing_case_is_what_is_printed(rules: Any) -> None:
    passed = run_cases(rules(BLOCKS[0]))
    assert [f"ok   boiler.toml: {result.name}\n" in PAGE for result in passed] == [True, True]
    failed = run_cases(rules(BLOCKS[0].replace("85", "95")))[0]
    assert f"FAIL boiler.toml: {failed.name}\n{failed.diff}\n" in PAGE


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_key_is_explained(shape: type) -> None:
    rows = "\n".join(line for line in PAGE.splitlines() if line.startswith(("| `", "Of `")))
    assert [key.name for key in keys(shape) if f"`{key.name}`" not in rows] == []


def test_every_function_that_remembers_is_named_as_one() -> None:
    section = PAGE[PAGE.index("### Functions that remember") :]
    names = [function.name for function in MEMORY_FUNCTIONS]
    assert [name for name in names if f"`{name}`" not in section and not name.endswith("_over")] == []
