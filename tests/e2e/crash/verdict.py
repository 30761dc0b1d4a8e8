"""What a rig of many rounds says: lines of progress, and at the end that a promise was broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from e2e.crash.ledger import Ledger

SHOWN = 5
"""Problems that are shown with their history."""


class Failed(AssertionError):
    """What was promised was not kept."""


def judge(ledger: Ledger, intro: str, more: Callable[[], str] = str) -> None:
    """Raise Failed when there are problems; ``intro`` and ``more`` stand around their number."""
    problems = ledger.problems
    if problems:
        told = [f"{intro}, round {ledger.round}: {len(problems)} problems{more()}"]
        for text, key in problems[:SHOWN]:
            told += [text, ledger.story(key)]
        raise Failed("\n".join(told))


def say(line: str) -> None:
    """One line of progress."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def told(run: Callable[[], str], folder: Path) -> int:
    """Run a rig in a folder and say what came of it; the exit code of the command."""
    try:
        say(run())
    except Failed as error:
        say(f"FAILED: {error}\nfiles in {folder}")
        return 1
    return 0
