"""The newest rows in memory: what is not committed yet, and behind it as much as there is room for.

An uplink that keeps up reads from here only, before a row is on the disk, and what it has acknowledged by then is
never written. Rows that have left memory are in the table, and everything before the oldest block here is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from gateway.outbound import Row
from gateway.store.block import Block

TAIL_BYTES: Final = 1 << 20


def take(rows: Iterable[Row], limit: int, max_bytes: int) -> list[Row]:
    """The first of ``rows``: at most ``limit``, about ``max_bytes`` of payload, at least one if there is one."""
    taken: list[Row] = []
    room = max_bytes
    for row in islice(rows, limit):
        room -= len(row.payload)
        if room < 0 and taken:
            break
        taken.append(row)
    return taken


class Tail:
    """Blocks in order; the last one may still be filled. ``max_bytes``: of those that are written."""

    __slots__ = ("_blocks", "_bytes", "max_bytes")

    def __init__(self, max_bytes: int = TAIL_BYTES) -> None:
        self.max_bytes = max_bytes
        self._blocks: deque[Block] = deque()
        self._bytes = 0  # of written blocks

    def append(self, block: Block) -> None:
        """A block that begins to gather."""
        self._blocks.append(block)

    def written(self, block: Block) -> None:
        """The block's commit is over: it may be forgotten when there is no room."""
        block.written = True
        self._bytes += block.bytes
        while self._bytes > self.max_bytes and self._blocks[0].written:
            self._forget_first()

    def forget(self, seq: int) -> None:
        """Rows up to ``seq`` have left the table, or nobody needs them any more."""
        while self._blocks and self._blocks[0].written and self._blocks[0].last <= seq:
            self._forget_first()

    def drop(self, seq: int) -> None:
        """Rows up to ``seq`` are not what they were: where they are is the table."""
        while self._blocks and self._blocks[0].written and self._blocks[0].first <= seq:
            self._forget_first()

    @property
    def first(self) -> int | None:
        """Number where memory begins; None when it is empty. Rows before it are in the table, if they are anywhere."""
        return self._blocks[0].first if self._blocks else None

    @property
    def pending(self) -> int:
        """Rows of the blocks whose commit is not over, settled ones too."""
        return sum(block.count for block in self._blocks if not block.written)

    @property
    def kept(self) -> int:
        """Rows of these that are not settled."""
        return sum(block.kept for block in self._blocks if not block.written)

    def read(self, after: int, limit: int, max_bytes: int) -> list[Row]:
        """Rows with ``seq > after`` that are here, as ``OutboxReader.read``."""
        found: list[Row] = []
        for block in self._blocks:
            if block.last <= after:
                continue
            rows = block.rows(after, limit - len(found), max_bytes, 0 if found else 1)
            max_bytes -= sum(len(row.payload) for row in rows)
            found += rows
            # Whatever did not fit is the next to be read: nothing behind it may come first.
            if block.has_after(rows[-1].seq if rows else after):
                break
        return found

    def _forget_first(self) -> None:
        self._bytes -= self._blocks.popleft().bytes
