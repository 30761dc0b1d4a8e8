"""docs/rules.md says what the code does: its tables are the code's, its example passes its own cases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.rules.cases import run_cases
from gateway.rules.manual import functions_table, names_table

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("mark", "table"), [("names", names_table()), ("functions", functions_table())])
def test_tables(mark: str, table: str) -> None:
    found = re.search(rf"<!-- {mark} -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1] == table, f"put what names_table() and functions_table() give between the marks: {table}"


def test_example(rules: Any) -> None:
    text, batch = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(rules(batch).actions) == 1
    loaded = rules(text)
    results = run_cases(loaded)
    assert [result.passed for result in results] == [True, True]
    changed = rules(text.replace("85", "95"))
    failed = run_cases(changed)[0]
    assert f"FAIL boiler.toml: {failed.name}\n{failed.diff}\n" in PAGE
