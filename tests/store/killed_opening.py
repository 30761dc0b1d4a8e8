"""Opens a database with salvage and kills itself at the n-th step that touches files. Started by tests.

A step is an event that the interpreter reports before it acts (PEP 578): opening, renaming, making, removing.
``killed_opening.py PATH STEP``; ends with 0 when there were fewer steps.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from gateway.store.opening import opened

EVENTS = frozenset({"open", "os.rename", "os.mkdir", "os.remove", "os.truncate", "sqlite3.connect", "os.listdir"})


def main(path: Path, step: int) -> None:
    left = step

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in EVENTS and str(path.parent) in str(arguments[0] if arguments else ""):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    with opened(path, salvage=True):
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
