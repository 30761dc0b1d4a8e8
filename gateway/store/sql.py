"""The named statements of ``queries/``, one file for each owner of tables, and the numbered files of ``migrations/``.

A statement begins with ``-- name: word``; the comment lines below it say what it is for. Statements live in a
file of their own, so that they can be read, tried in the ``sqlite3`` shell and reviewed as SQL.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


def parse(text: str) -> dict[str, str]:
    """Statements by name, without their comments. Raises ValueError on a repeat or an empty statement."""
    parts = _NAME.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        statement = "\n".join(lines).strip().rstrip(";")
        if name in found or not statement:
            raise ValueError(f"statement {name!r} is {'there twice' if name in found else 'empty'}")
        found[name] = statement
    return found


def migrations() -> list[tuple[int, str]]:
    """(number, script) of every migration, in order; numbers start at 1 and have no gap."""
    files = resources.files(__package__).joinpath("migrations").iterdir()
    scripts = sorted((int(file.name[:4]), file.read_text()) for file in files if file.name.endswith(".sql"))
    if [number for number, _ in scripts] != list(range(1, len(scripts) + 1)):
        raise ValueError(f"migrations must be numbered 1, 2, 3, ..., not {[number for number, _ in scripts]}")
    return scripts


def _statements() -> dict[str, str]:
    """Those of every file; a name is there once in all of them."""
    files = resources.files(__package__).joinpath("queries").iterdir()
    return parse(
        "\n".join(file.read_text() for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".sql"))
    )


SQL: Final = _statements()
