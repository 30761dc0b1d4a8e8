"""The pages of a database file as its committed log leaves them, read without SQLite.

SQLite gives up a whole branch of a table at its first broken page, and the whole file at a broken first page.
Here every page stands for itself. The log is taken as SQLite takes it: frames up to the last commit before the
first one whose checksum is wrong (SQLite file format, section 4). Where more commits lie behind that one than a power
cut leaves (``log_damage``), their whole frames count too. Nothing is written.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

HEADER_BYTES: Final = 100
"""Of the first page; its b-tree begins behind it."""

LOG_HEADER: Final = 32
FRAME_HEADER: Final = 24
_LOG_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""First word of a log: the byte order of its checksums."""


class Log(NamedTuple):
    """What the log adds: its page size, the place of the newest committed copy of each page, pages of the file."""

    page_size: int
    places: dict[int, int]
    pages: int


class Pages:
    """``pages[n]`` is page ``n``, counted from 1; IndexError beyond the end.

    path      the database; its log lies beside it. Either may be missing, short or nonsense
    fallback  page size when neither says it
    with_log  False: as if there were no log
    """

    def __init__(self, path: Path, fallback: int, *, with_log: bool = True) -> None:
        self._stack = ExitStack()
        self._file = _opened(self._stack, path)
        self._log = _whole(path.with_name(path.name + "-wal")) if with_log else b""
        log = read_log(self._log)
        self._places = log.places
        head = _read(self._file, 0, HEADER_BYTES)
        self.size = page_size(head) or log.page_size or fallback
        if log.page_size != self.size:
            self._places = {}
        elif page_size(head) is None and 1 in log.places:
            head = self._log[log.places[1] : log.places[1] + HEADER_BYTES]
        self.head = head if page_size(head) else b""
        self.usable = self.size - (self.head[20] if self.head else 0)
        length = os.fstat(self._file).st_size if self._file is not None else 0
        self.count = max(log.pages if self._places else 0, -(-length // self.size), *self._places, 0)

    def __getitem__(self, number: int) -> bytes:
        if not 0 < number <= self.count:
            raise IndexError(number)
        place = self._places.get(number)
        if place is not None:
            return self._log[place : place + self.size]
        # A file that was cut off in the middle of a page: what is left of it may hold whole rows.
        return _read(self._file, (number - 1) * self.size, self.size).ljust(self.size, b"\0")

    @property
    def in_log(self) -> int:
        """Pages that come from the log."""
        return len(self._places)

    def close(self) -> None:
        """Give the files back."""
        self._stack.close()


def page_size(head: bytes) -> int | None:
    """The page size in a file's header; None when it is no header (section 1.3)."""
    if len(head) < HEADER_BYTES or head[:16] != b"SQLite format 3\0":
        return None
    size = int.from_bytes(head[16:18], "big")
    size = 65536 if size == 1 else size
    return size if size >= 512 and size & (size - 1) == 0 else None


def read_log(log: bytes) -> Log:
    """What is committed in a log; nothing when it is none."""
    size = log_page_size(log[:LOG_HEADER])
    if size is None:
        return Log(0, {}, 0)
    magic, salts, *sums = struct.unpack(">I12x8sII", log[:LOG_HEADER])
    order = _LOG_MAGIC[magic]
    seed = (sums[0], sums[1])
    committed: dict[int, int] = {}
    gathered: dict[int, int] = {}
    behind: dict[int, int] = {}
    pages = pages_behind = commits_behind = 0
    is_whole = True
    for place in range(LOG_HEADER, len(log) - FRAME_HEADER - size + 1, FRAME_HEADER + size):
        number, after, frame_salts, *sums = struct.unpack(">II8sII", log[place : place + FRAME_HEADER])
        content = place + FRAME_HEADER
        # Each checksum goes on from the one before: as it stands there, where that frame is broken.
        is_right = frame_salts == salts and tuple(sums) == _checksum(
            order, log[content : content + size], *_checksum(order, log[place : place + 8], *seed)
        )
        is_whole = is_whole and is_right
        seed = (sums[0], sums[1])
        if not is_right:
            continue
        gathered[number] = content
        if after and is_whole:
            committed.update(gathered)
            gathered.clear()
            pages = after
        elif after:
            behind.update(gathered)
            gathered.clear()
            pages_behind = after
            commits_behind += 1
    if commits_behind > 1:
        return Log(size, committed | behind, pages_behind)
    return Log(size, committed, pages)


def log_page_size(head: bytes) -> int | None:
    """The page size in the head of a log; None when it is no head (section 4.1)."""
    if len(head) < LOG_HEADER:
        return None
    magic, _version, size, *_, first, second = struct.unpack(">IIII8sII", head)
    order = _LOG_MAGIC.get(magic)
    if order is None or size < 512 or size > 65536 or size & (size - 1):
        return None
    return size if _checksum(order, head[: LOG_HEADER - 8], 0, 0) == (first, second) else None


def _checksum(order: str, data: bytes, first: int, second: int) -> tuple[int, int]:
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _opened(stack: ExitStack, path: Path) -> int | None:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    stack.callback(os.close, file)
    return file


def _read(file: int | None, place: int, length: int) -> bytes:
    """What the disk gives; nothing where it cannot be read. A mapped file would end the process there (SIGBUS)."""
    try:
        return os.pread(file, length, place) if file is not None else b""
    except OSError:
        return b""


def _whole(path: Path) -> bytes:
    """A log up to where it can be read. It is a few megabytes long."""
    content = bytearray()
    with ExitStack() as stack:
        file = _opened(stack, path)
        while part := _read(file, len(content), 1 << 20):
            content += part
    return bytes(content)
