"""Finds damage in a write-ahead log, which SQLite takes for the end of the log.

SQLite reads a log up to the first frame whose checksum is wrong: that is where a power cut has torn the last
transaction. Each commit is on the disk before the next one begins, so a power cut leaves at most one commit behind
that place. When there are more, the frame was whole once, and what lies behind it was acknowledged.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from gateway.store.pages import FRAME_HEADER, LOG_HEADER, log_page_size

MOST: Final = 1
"""Commits that a power cut may leave behind the end of a log."""

_FRAMES_PLACE: Final = 16
"""Of the number of frames that count, in the index of the log, the file with the ending -shm (WAL-index format)."""


def log_problem(path: Path) -> str | None:
    """What is wrong with the log of the database at ``path``, which a connection must have open and have read.

    Raises OSError.
    """
    log = path.with_name(path.name + "-wal")
    try:
        content = log.read_bytes()
        index = path.with_name(path.name + "-shm").read_bytes()[: _FRAMES_PLACE + 4]
    except FileNotFoundError:
        return None
    head = content[:LOG_HEADER]
    if len(head) < LOG_HEADER or not any(head) or len(index) < _FRAMES_PLACE + 4:
        return None
    size = log_page_size(head)
    if size is None:
        return "the head of its log is damaged"
    (frames,) = struct.unpack_from("=I", index, _FRAMES_PLACE)
    salts = head[16:24]
    first = LOG_HEADER + frames * (FRAME_HEADER + size)
    commits = 0
    for place in range(first, len(content) - FRAME_HEADER - size + 1, FRAME_HEADER + size):
        commits += content[place + 8 : place + 16] == salts and any(content[place + 4 : place + 8])
    return f"its log is damaged behind frame {frames}" if commits > MOST else None
