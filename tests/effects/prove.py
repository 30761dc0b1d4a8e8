"""``python -m effects.prove``: does each key have an effect that a test sees?

For each key of ``table.txt`` its test is run in a gateway that is deaf to the key, and must fail. Prints what does not
hold; exit status 1 then. ``--keys``: only these; ``--jobs``: so many at a time.

    PYTHONPATH=.:tests python -m effects.prove --jobs 2

``--found FOLDER`` looks for tests instead: it takes what ``effects.watch`` has found (``EFFECTS_FOUND``), tries the
tests of each key that the table lacks, those that see the fewest other keys first, and prints lines for the table.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import pytest

from effects.declared import declared

ROOT: Final = Path(__file__).parents[2]
TABLE: Final = Path(__file__).with_name("table.txt")
MOST: Final = 16
"""Tests that are tried for a key."""

SECONDS: Final = 60


def table() -> dict[str, str]:
    """Each key's test, as pytest names it."""
    lines = TABLE.read_text().splitlines() if TABLE.is_file() else []
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


def failing(key: str, tests: Sequence[str]) -> str | None:
    """The first of the tests that fails in a gateway that is deaf to a key, and passes in one that is not; None without
    one."""
    return next((test for test in tests if not _passes(key, test) and _passes(None, test)), None)


def _passes(ignored: str | None, test: str) -> bool:
    """Whether a test passes: in a process of its own, which has loaded by now what takes long."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os.environ.pop("EFFECTS_IGNORED", None)
            if ignored is not None:
                os.environ["EFFECTS_IGNORED"] = ignored
            signal.alarm(SECONDS)
            code = pytest.main(["-q", "-x", "--tb=no", "-p", "effects.watch", "-p", "no:cacheprovider", test])
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what a test that was ended has started
    # 5: a test that is skipped here shows nothing.
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 5)


def candidates(folder: Path) -> dict[str, list[str]]:
    """The tests that have seen each key, those that have seen the fewest others first."""
    keys_of: dict[str, set[str]] = defaultdict(set)
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            key, tab, test = line.partition("\t")
            if tab:  # the rest of a name with a line feed in it
                keys_of[test.partition("[")[0]].add(key)
    found: dict[str, list[str]] = defaultdict(list)
    for test in sorted(keys_of, key=lambda test: (len(keys_of[test]), test)):
        for key in keys_of[test]:
            found[key].append(test)
    return found


def _proof(asked: tuple[str, list[str]]) -> str | None:
    return failing(*asked)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m effects.prove", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", nargs="+", help="only these")
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time (1)")
    parser.add_argument("--found", type=Path, metavar="FOLDER", help="look for tests")
    options = parser.parse_args()
    known = table()
    os.chdir(ROOT)
    everything = declared()
    if options.found is None:
        asked = {key: [known[key]] for key in options.keys or known}
    else:
        seen = candidates(options.found)
        wanted = options.keys or [key for key, one in everything.items() if not one.required and key not in known]
        asked = {key: seen.get(key, [])[:MOST] for key in wanted}
    missing = 0
    with get_context("fork").Pool(options.jobs) as pool:
        results = pool.imap(_proof, asked.items())
        for (key, tests), test in zip(asked.items(), results, strict=True):
            if test is None:
                missing += 1
                sys.stdout.write(f"# {key}: {'no test sees it' if tests else 'no test sets it'}\n")
            elif options.found is not None:
                sys.stdout.write(f"{key} {test}\n")
            sys.stdout.flush()
    sys.stderr.write(f"{len(asked) - missing} of {len(asked)} keys have a test that fails without them\n")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
