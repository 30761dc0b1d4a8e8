"""A gateway in one file: its settings and its state, taken while it runs, and put back on this machine or another.

The archive (tar, gzip) holds ``backup.json``, ``settings/`` and ``state/``. The database comes by SQLite's own copy,
so that it is one moment of a database in use; the rest are small files that are replaced whole. It holds secrets: mode
0600.

A restored database goes on with start numbers far behind those of the backup: the cloud drops repeats by ``boot:seq``,
and numbers that the old gateway has used since must not come again for other messages.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from gateway import __version__
from gateway.durable import on_the_disk
from gateway.errors import GatewayError
from gateway.store.older_copy import COPY, leap
from gateway.store.sql import migrations

DATABASE: Final = "gateway.db"
NOTE: Final = "backup.json"
FORMAT: Final = 1

LEFT_OUT: Final = (".lock", ".sock", ".reserve", ".new", "-wal", "-shm", "-journal")
"""Endings of what is of this process or this disk, and comes by itself."""

QUARANTINE: Final = "quarantine"
"""Folder of damaged databases: for people, and large."""


def back_up(settings: Path, state: Path, target: Path) -> dict[str, Any]:
    """Write the archive ``target``, whole or not at all. ``settings``: the settings file; what lies in its folder comes
    along. Says what it holds. Raises GatewayError."""
    note = {
        "format": FORMAT,
        "version": __version__,
        "schema": migrations()[-1][0],
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "settings": settings.name,
    }
    fresh = target.with_name(f".{target.name}.new")
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file, tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
                _add_text(tar, NOTE, json.dumps(note))
                for path in _files(settings.parent, state):
                    tar.add(path, f"settings/{path.relative_to(settings.parent)}", recursive=False)
                for path in _files(state):
                    if path.name == DATABASE and path.parent == state:
                        copy = Path(scratch) / DATABASE
                        _copy(path, copy)
                        tar.add(copy, f"state/{DATABASE}", recursive=False)
                    else:
                        tar.add(path, f"state/{path.relative_to(state)}", recursive=False)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(target)
        on_the_disk(target.parent)
    except (OSError, sqlite3.Error) as error:
        fresh.unlink(missing_ok=True)
        raise GatewayError(f"{target}: no backup was made: {error}") from error
    return {**note, "file": str(target), "bytes": target.stat().st_size}


def _files(folder: Path, but: Path | None = None) -> Iterator[Path]:
    """Plain files below a folder that belong into a backup, in order; ``but``: not what is below this one."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if but is not None and path.is_relative_to(but):
            continue
        left_out = QUARANTINE in inside or path.name.endswith(LEFT_OUT) or f"{DATABASE}{COPY}" in path.name
        if path.is_file() and not path.is_symlink() and not left_out:
            yield path


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), 0o600
    tar.addfile(member, io.BytesIO(text.encode()))


def _copy(database: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


def restore(archive: Path, settings: Path, state: Path, replaces: bool) -> dict[str, Any]:
    """Put a backup in the folder of ``settings`` and in ``state``. Nothing may run there. Raises GatewayError.

    replaces  what is there may go; it is kept beside, in folders that end in ``.replaced``

    All is unpacked beside first and put in place by renames, the state last.
    """
    try:
        if state.is_relative_to(settings.parent):
            raise GatewayError(
                f"{state}: lies in the folder of the settings, {settings.parent}; give the state one of its own"
            )
        with tarfile.open(archive, "r:gz") as tar, tempfile.TemporaryDirectory(dir=_parent(state)) as scratch:
            note = _note(tar.extractfile(NOTE), archive)
            there = [folder for folder in (settings.parent, state) if folder.is_dir() and any(folder.iterdir())]
            if there and not replaces:
                raise GatewayError(f"{there[0]}: is not empty; --replace keeps it beside as {there[0].name}.replaced")
            tar.extractall(scratch, filter="data")
            parts = {settings.parent: Path(scratch) / "settings", state: Path(scratch) / "state"}
            if (parts[state] / DATABASE).exists():
                leap(parts[state] / DATABASE)
            for folder, part in parts.items():
                part.mkdir(exist_ok=True)
                _put(part, folder)
    except KeyError:
        raise GatewayError(f"{archive}: is no backup of a gateway (no {NOTE} in it)") from None
    except (OSError, tarfile.TarError, sqlite3.Error, EOFError) as error:
        raise GatewayError(f"{archive}: was not restored: {error}") from error
    return note


def _parent(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.parent


def _note(file: IO[bytes] | None, archive: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(file.read()) if file is not None else {}
        schema, form = int(note["schema"]), int(note["format"])
    except (ValueError, KeyError, TypeError):
        raise GatewayError(f"{archive}: its {NOTE} cannot be read") from None
    newest = migrations()[-1][0]
    if form > FORMAT or schema > newest:
        raise GatewayError(
            f"{archive}: was made by gateway {note.get('version')}, which is newer than {__version__}; update first"
        )
    return note


def _put(part: Path, folder: Path) -> None:
    """Files of ``part`` into ``folder``, as its owner's; what was there goes beside. A folder that something is mounted
    at stays, and its files are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder.stat()
    old = folder.with_name(folder.name + ".replaced")
    shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(folder, old, symlinks=True, ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in sorted(part.rglob("*")):
        target = folder / path.relative_to(part)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            shutil.copy2(path, target)
            on_the_disk(target)
        if os.geteuid() == 0:
            os.chown(target, owner.st_uid, owner.st_gid)
    on_the_disk(folder)
    if not any(old.iterdir()):
        old.rmdir()
