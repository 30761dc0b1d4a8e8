"""The tables of docs/rules.md, written from the tables that the code works with; a test compares them."""

from __future__ import annotations

from gateway.message import dump_json
from gateway.rules.frame import NAMES
from gateway.rules.functions import FUNCTIONS


def names_table() -> str:
    """Every built-in name, as Markdown."""
    rows = [f"| `{name.name}` | {name.text} | `{name.example}` |" for name in NAMES.values()]
    return "\n".join(["| name | what it is | example |", "|---|---|---|", *rows])


def functions_table() -> str:
    """Every function, as Markdown."""
    rows = [
        f"| `{function.usage}` | {function.text} | `{function.example}` | `{dump_json(function.result).decode()}` |"
        for function in FUNCTIONS.values()
    ]
    return "\n".join(["| function | what it gives | example | result |", "|---|---|---|---|", *rows])
