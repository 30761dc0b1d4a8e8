"""The named statements of ``queries/``, one file for each owner of tables, and the numbered files of ``migrations/``.

A statement begins with ``-- name: word``; the comment lines below it say what it is for. Statements live in a
file of their own, so that they can be read, tried in the ``sqlite3`` shell and reviewed as SQL.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

_COMPATIBLE: Final = re.compile(r"^-- compatible_from: *(\d+) *$", re.MULTILINE)
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


def compatible_from(scripts: list[tuple[int, str]]) -> int:
    """The lowest format of a program that can work with a database after these migrations.

    A migration that such programs need not know says so in a comment of its file, ``-- compatible_from: 14``: it only
    adds tables, or columns with a default, and what a program of that format writes and leaves out is right for a newer
    one. One that says nothing can be read by programs that know it. Raises ValueError for what cannot be.
    """
    lowest = 0
    for number, script in scripts:
        declared = _COMPATIBLE.search(script)
        mine = int(declared[1]) if declared else number
        if not 0 < mine <= number:
            raise ValueError(f"migration {number}: compatible_from must be 1 to {number}, not {mine}")
        lowest = max(lowest, mine)
    return lowest


def _statements() -> dict[str, str]:
    """Those of every file; a name is there once in all of them."""
    files = resources.files(__package__).joinpath("queries").iterdir()
    return parse(
        "\n".join(file.read_text() for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".sql"))
    )


SQL: Final = _statements()
