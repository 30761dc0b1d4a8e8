"""docs/lot.md: every example passes its own cases, every statement has a row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.rules.cases import run_cases

PAGE = (Path(__file__).parents[2] / "docs" / "lot.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
STATEMENTS = [
    "ON TOPIC",
    "ON CHANGE",
    "ON EVERY",
    "ON START",
    "ON CONNECT",
    "ON DISCONNECT",
    "ON SUBSCRIBE",
    "INPUT",
    "SET",
    "PUBLISH TOPIC",
    "PUBLISH MODEL",
    "KEEP TOPIC",
    "KEEP ENV",
    "IF",
    "SWITCH",
    "LOOP",
    "CALL ACTION",
    "CALL PYTHON",
    "RETURN",
    "TRIGGER",
    "CONTAINS",
    "STARTS_WITH",
    "ENDS_WITH",
    "EQUALS",
    "RANDOM",
    "TIMESTAMP",
    "GET TOPIC",
    "GET JSON",
    "GET ENV",
    "FILTER",
    "SPLIT",
    "REPLACE",
    "TRIM",
    "AND_THEN",
    "PAYLOAD AS BYTES",
    "TOPIC POSITION",
    "DEFINE MODEL",
    "COLLAPSED",
    "FROM Parent",
    "AS TRIGGER",
    "ADD ",
    "STORE IN",
    "WITH FORMAT",
    "MQTT_BRIDGE",
    "OVERLOAD_POLICY",
    "ADD TAG",
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r'name += "(.*?)"', block)[0])
def test_an_example_passes_its_cases(rules: Any, block: str) -> None:
    results = run_cases(rules(block))
    assert results, "there is no case"
    assert [(result.name, result.diff) for result in results if not result.passed] == []


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_statement_has_a_row(statement: str) -> None:
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| ")]
    assert any(statement in row for row in rows)
