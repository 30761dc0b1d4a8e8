"""Recordings as files: JSON lines, compressed by zlib, in ``blackbox/NAME/`` of the state folder.

The first line tells of the file, each other one of a message. A file is whole or not there: it is written under another
name, synced, and renamed.
"""

from __future__ import annotations

import base64
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.blackbox.ring import Recorded, Recording
from gateway.clock import iso_time
from gateway.durable import on_the_disk
from gateway.errors import GatewayError

SUFFIX: Final = ".jsonl.zz"
PARTIAL: Final = ".partial"
_CHUNK: Final = 64 << 10
_NAME: Final = re.compile(r"[^/\0]{1,200}\.jsonl\.zz")


def write(folder: Path, name: str, recording: Recording, keep: int) -> Path:
    """Write a recording and delete the oldest files beyond ``keep``. Raises OSError. Not for the loop's thread."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for stale in folder.glob(f"*{PARTIAL}"):
        stale.unlink(missing_ok=True)  # of a gateway that was killed while it wrote
    stamp = re.sub(r"[^0-9]", "", iso_time(recording.time))[:17]
    path = folder / f"{stamp}{SUFFIX}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stamp}-{number}{SUFFIX}"
    partial = path.with_suffix(PARTIAL)
    try:
        with partial.open("wb") as out:
            packer = zlib.compressobj(6)
            for line in _lines(name, recording):
                out.write(packer.compress(line))
            out.write(packer.flush())
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
        on_the_disk(folder)
    finally:
        partial.unlink(missing_ok=True)
    for old in files(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def files(folder: Path) -> list[Path]:
    """The files of one black box, oldest first."""
    return sorted((path for path in folder.glob(f"*{SUFFIX}")), key=lambda path: (path.name[:17], len(path.name), path))


def _lines(name: str, recording: Recording) -> Iterator[bytes]:
    head = {
        "blackbox": name,
        "cause": recording.cause,
        "time": iso_time(recording.time),
        "messages": len(recording.rows),
        "dropped": recording.dropped,
    }
    yield _line(head)
    for row in recording.rows:
        yield _line(_row(row))


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _row(row: Recorded) -> dict[str, Any]:
    message = row.message
    told: dict[str, Any] = {"time": iso_time(row.time), "topic": message.topic, "qos": message.qos}
    if message.retain:
        told["retain"] = True
    told["source"] = message.source
    try:
        told["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        told["base64"] = base64.b64encode(message.payload).decode()
    return told


def read(path: Path) -> Iterator[str]:
    """The lines of a file, one after the other: a file may be larger than memory. Raises GatewayError."""
    unpacker, rest = zlib.decompressobj(), b""
    try:
        with path.open("rb") as stored:
            while chunk := stored.read(_CHUNK):
                while chunk:
                    *lines, rest = (rest + unpacker.decompress(chunk, _CHUNK)).split(b"\n")
                    yield from [line.decode("utf-8", "replace") for line in lines]
                    chunk = unpacker.unconsumed_tail
    except OSError as error:
        raise GatewayError(f"{path}: {error.strerror}") from None
    except zlib.error:
        raise GatewayError(f"{path}: is no file of a black box") from None
    if rest or not unpacker.eof:
        raise GatewayError(f"{path}: ends in the middle")


def find(state: Path, given: str) -> Path:
    """The file of this name below the state folder, or at this path. Raises GatewayError."""
    path = Path(given)
    if path.is_file():
        return path
    if _NAME.fullmatch(path.name):
        for found in (state / "blackbox").glob("*/*"):
            if found.name == path.name and given in (found.name, f"{found.parent.name}/{found.name}"):
                return found
    raise GatewayError(f"there is no file {given}; see gateway blackbox list")
