"""Back to the first day: settings, state, keys and secrets of this machine are forgotten; the programs stay.

Only a mark is set here. The initramfs removes what ``/data`` holds at the next start, before anything uses it, and
the mark last: a power cut in the middle means that it begins again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.durable import on_the_disk, write_whole

REQUEST: Final = "factory-reset"
"""A file of this name on the boot partition or on a stick asks for it."""

MARK: Final = "data/factory-reset"


def requested(source: Path) -> bool:
    """Whether somebody has put the file there; some PCs add an ending."""
    return any((source / name).is_file() for name in (REQUEST, f"{REQUEST}.txt"))


def mark(machine: Path) -> None:
    """The next start forgets everything. Raises OSError."""
    write_whole(machine / MARK, "")


def take_back(source: Path) -> None:
    """The request has been heard. Raises OSError when the source cannot be written: it would be heard for ever."""
    for name in (REQUEST, f"{REQUEST}.txt"):
        (source / name).unlink(missing_ok=True)
    on_the_disk(source)
