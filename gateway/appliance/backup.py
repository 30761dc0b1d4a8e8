"""A gateway in one file: its settings and its state, taken while it runs, and put back on this machine or another.

The archive (tar, gzip) holds ``backup.json``, ``settings/`` and ``state/``. The database comes by SQLite's own copy,
so that it is one moment of a database in use; the rest are small files that are replaced whole. It holds secrets: mode
0600.

A restored database goes on with start numbers far behind those of the backup: the cloud drops repeats by ``boot:seq``,
and numbers that the old gateway has used since must not come again for other messages.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from gateway import __version__
from gateway.appliance.replace import KEPT, OLD, STAGED, drop, entries, keep_old, mend, settle, stage, swap
from gateway.durable import on_the_disk
from gateway.errors import GatewayError
from gateway.store.older_copy import COPY, leap
from gateway.store.sql import compatible_from, migrations

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
        "compatible_from": compatible_from(migrations()),
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
        left_out = (
            not {QUARANTINE, STAGED, OLD}.isdisjoint(inside)
            or path.name.endswith(LEFT_OUT)
            or path.name.startswith(f"{DATABASE}{COPY}")
        )
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

    All is unpacked inside the folders first and put in place by renames, the state last; on an error what was there is
    there again. Only a power cut between two renames leaves both; restoring again mends that.
    """
    folders = [settings.parent, state]
    if state.is_relative_to(settings.parent):
        raise GatewayError(
            f"{state}: lies in the folder of the settings, {settings.parent}; give the state one of its own"
        )
    try:
        with tarfile.open(archive, "r:gz") as tar:
            note = _note(tar.extractfile(NOTE), archive)
            for folder in folders:
                mend(folder)
            there = [folder for folder in folders if entries(folder)]
            if there and not replaces:
                raise GatewayError(f"{there[0]}: is not empty; --replace keeps it beside as {there[0].name}{KEPT}")
            made = [folder for folder in folders if not folder.exists()]
            try:
                _unpack(tar, "settings", settings.parent)
                _unpack(tar, "state", state)
                swap(folders)
            except BaseException:
                drop(folders)
                for folder in made:
                    with contextlib.suppress(OSError):
                        folder.rmdir()
                raise
    except KeyError:
        raise GatewayError(f"{archive}: is no backup of a gateway (no {NOTE} in it)") from None
    except (OSError, tarfile.TarError, sqlite3.Error, EOFError, zlib.error) as error:
        raise GatewayError(f"{archive}: was not restored: {error}") from error
    try:
        for folder in folders:
            keep_old(folder)
    except OSError as error:
        raise GatewayError(f"{archive}: is restored, but what was there could not be kept beside: {error}") from error
    return note


def _unpack(tar: tarfile.TarFile, part: str, folder: Path) -> None:
    """The members of one part, as they are to be, staged in the folder."""
    place = stage(folder)

    def inside(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        return tarfile.data_filter(member.replace(name=member.name.removeprefix(f"{part}/")), path)

    tar.extractall(place, [one for one in tar.getmembers() if one.name.startswith(f"{part}/")], filter=inside)
    if part == "state" and (place / DATABASE).exists():
        leap(place / DATABASE)
    settle(folder)


def _note(file: IO[bytes] | None, archive: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(file.read()) if file is not None else {}
        lowest, form = int(note.get("compatible_from", note["schema"])), int(note["format"])
    except (ValueError, KeyError, TypeError):
        raise GatewayError(f"{archive}: its {NOTE} cannot be read") from None
    newest = migrations()[-1][0]
    if form > FORMAT or lowest > newest:
        raise GatewayError(
            f"{archive}: was made by gateway {note.get('version')}, which is newer than {__version__}; update first"
        )
    return note
