"""Alarms of what watches the machine beside us, kept where the gateway finds them again after its own restart.

One file for each, named as the alarm, with its text. The folder is root's and in memory: the gateway can only read it,
and after a restart of the machine whoever told an alarm tells it again.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

from gateway.durable import write_whole

FOLDER: Final = Path("/run/gateway-alarms")

MOST: Final = 16
"""Files that are read."""

MAX_TEXT: Final = 1000

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def keep(folder: Path, name: str, text: str | None) -> None:
    """Let the gateway find it at its next start, or not any more when there is no text. Raises OSError."""
    if text is None:
        (folder / name).unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / name, text, 0o644)


def read(folder: Path) -> dict[str, str | None]:
    """By name; none where there is no such folder. What is no alarm is left out."""
    found: dict[str, str | None] = {}
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir())[:MOST]:
            with contextlib.suppress(OSError, ValueError):
                text = path.read_text()[:MAX_TEXT].strip()
                if text and NAME.fullmatch(path.name):
                    found[path.name] = text
    return found
