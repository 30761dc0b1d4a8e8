"""The content of folders replaced by renames: all of it, or as it was.

What is new is written and on the disk in ``.restore`` of each folder before anything moves. Then the old entries go to
``.restore.old`` by a rename each, and the new ones come; an error puts back what has moved. Inside the folder, since
something may be mounted at it, or the folder at something. A power cut in that moment is mended by ``mend``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from gateway.durable import on_the_disk

STAGED: Final = ".restore"
OLD: Final = ".restore.old"
KEPT: Final = ".replaced"
"""Ending of the folder beside it that keeps what was there."""


def entries(folder: Path) -> list[Path]:
    """What is in a folder, but for what this module has there."""
    return sorted(path for path in folder.iterdir() if path.name not in (STAGED, OLD)) if folder.is_dir() else []


def stage(folder: Path) -> Path:
    """An empty place for what is to come into the folder, which is made if need be. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / STAGED
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    return place


def settle(folder: Path) -> None:
    """What is staged belongs to the owner of the folder and is on the disk. Raises OSError."""
    owner = folder.stat()
    for path in sorted((folder / STAGED).rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
        if path.is_symlink():
            continue
        on_the_disk(path)
    on_the_disk(folder / STAGED)


def swap(folders: list[Path]) -> None:
    """Put what is staged in the place of what is there, the last folder last. Raises OSError; then all is as it was,
    or, where even that could not be, for ``mend`` to find."""
    done: list[tuple[Path, Path]] = []
    try:
        for folder in folders:
            (folder / OLD).mkdir(mode=0o700)
            moves = [(path, folder / OLD / path.name) for path in entries(folder)]
            moves += [(path, folder / path.name) for path in sorted((folder / STAGED).iterdir())]
            for source, target in moves:
                source.rename(target)
                done.append((source, target))
            on_the_disk(folder)
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise


def drop(folders: list[Path]) -> None:
    """Take away what is staged. What was there is never taken away here."""
    for folder in folders:
        shutil.rmtree(folder / STAGED, ignore_errors=True)
        with contextlib.suppress(OSError):
            (folder / OLD).rmdir()


def mend(folder: Path) -> None:
    """After a power cut in the middle of ``swap``: what has been moved out comes back. Raises OSError."""
    if not (folder / OLD).is_dir():
        return
    for path in sorted((folder / OLD).iterdir()):
        now = folder / path.name
        if now.is_dir() and not now.is_symlink():
            shutil.rmtree(now)
        path.replace(now)
    on_the_disk(folder)
    drop([folder])


def keep_old(folder: Path) -> None:
    """After ``swap``: what was there goes beside, into the place of what was kept there before. Raises OSError."""
    old, kept = folder / OLD, folder.with_name(folder.name + KEPT)
    for path in old.rglob("*.sock"):
        path.unlink()
    if any(old.iterdir()):
        if kept.exists():
            shutil.rmtree(kept)
        shutil.move(old, kept)
        on_the_disk(kept.parent)
    drop([folder])
