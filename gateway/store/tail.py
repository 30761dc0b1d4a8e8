"""The newest rows in memory: what is not committed yet, and behind it as much as there is room for.

What is here is never dropped or thinned (``Changes.floor``): it leaves memory first.

An uplink that keeps up reads from here only, before a row is on the disk, and what it has acknowledged by then is
never written. Rows that have left memory are in the table, and everything before the oldest block here is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from gateway.outbound import LAST, Batch, Row
from gateway.store.block import Block
from gateway.store.rooms import Room

TAIL_BYTES: Final = 1 << 20


class Tail:
    """Blocks in order; the last one may still be filled. ``max_bytes``, ``max_rows``, ``max_age`` (seconds): of those
    that are written."""

    __slots__ = ("_blocks", "_bytes", "_rows", "max_age", "max_bytes", "max_rows")

    def __init__(self, max_bytes: int = TAIL_BYTES) -> None:
        self.max_bytes = max_bytes
        self.max_rows: float = inf
        self.max_age: float = inf
        self._blocks: deque[Block] = deque()
        self._bytes = self._rows = 0  # of written blocks

    def bound(self, rooms: Sequence[Room]) -> None:
        """Hold so little that it matters to the bounds of no class."""
        self.max_bytes = min(TAIL_BYTES, *(room.max_bytes // 8 for room in rooms))
        self.max_rows = min(inf if room.max_rows is None else room.max_rows // 8 for room in rooms)
        self.max_age = min(room.max_age for room in rooms)

    def append(self, block: Block) -> None:
        """A block that begins to gather."""
        self._blocks.append(block)

    def written(self, block: Block) -> None:
        """The block's commit is over: it may be forgotten when there is no room."""
        block.written = True
        self._bytes += block.bytes
        self._rows += block.count
        self._keep_bounds()

    def forget(self, is_done: Callable[[Block], bool]) -> None:
        """Forget the oldest blocks whose rows nobody needs any more."""
        while self._blocks and self._blocks[0].written and is_done(self._blocks[0]):
            self._forget_first()

    def floor(self, up: int) -> int:
        """From which number on rows are in memory, now that ``up`` seconds have passed since this start: what is
        older than a class may be has left it."""
        self._keep_bounds()
        while self._blocks and self._blocks[0].written and up - self._blocks[0].up > self.max_age:
            self._forget_first()
        return self._blocks[0].first if self._blocks else LAST

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

    def has(self, room: int, after: int) -> bool:
        """Whether a block that is not written may have rows of a class behind ``after``."""
        for block in reversed(self._blocks):
            if block.written or block.last <= after:
                return False
            if block.rooms >> room & 1:
                return True
        return False

    def read(self, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Batch:
        """What is here, as ``OutboxReader.read``."""
        found: list[Row] = []
        # What is before the first block, and is not read from the table, is not there.
        reached = max(after, min(upto, self._blocks[0].first - 1)) if self._blocks else after
        for block in self._blocks:
            if block.last <= after:
                continue
            if block.first > upto:
                break
            end = min(upto, block.last)
            if not block.rooms >> room & 1:
                reached = end
                continue
            rows, reached = block.rows(room, after, upto, limit - len(found), max_bytes, 0 if found else 1)
            if not found:
                found = rows
            else:
                found += rows
            # Whatever did not fit is the next to be read: nothing behind it may come first.
            if reached < end:
                break
            max_bytes -= sum([len(row.payload) for row in rows])
        return Batch(found, reached)

    def _keep_bounds(self) -> None:
        while (self._bytes > self.max_bytes or self._rows > self.max_rows) and self._blocks[0].written:
            self._forget_first()

    def _forget_first(self) -> None:
        block = self._blocks.popleft()
        self._bytes -= block.bytes
        self._rows -= block.count
