"""What one transaction does to the outbox, gathered on the loop and written by the thread."""

from __future__ import annotations

from gateway.outbound import LAST
from gateway.store.accounts import add, count_block
from gateway.store.block import Block
from gateway.store.drops import Drops
from gateway.store.position import Position
from gateway.store.switch import Switch
from gateway.store.ways import Handed


class Changes:
    """What one transaction does to the outbox.

    block      the rows; None when there are none
    must       there is something beside rows that must be written
    positions  of the uplinks
    tallies    added to the books
    floor      rows from here on are in memory, and are not dropped or thinned
    handed     rows that were given to uplinks from memory
    marks      by uplink, what its last ledger said
    switch     the uplinks are others from some row of these on
    """

    __slots__ = (
        "_is_counted", "block", "drops", "floor", "handed", "marks", "must", "positions", "switch", "tallies",
    )  # fmt: skip

    def __init__(self, tallies: dict[str, int]) -> None:
        self.block: Block | None = None
        self.must = False
        self.positions: dict[str, Position] = {}
        self.floor = LAST
        self.handed: Handed = {}
        self.drops = Drops()
        self.tallies = tallies
        self.marks: dict[str, str] = {}
        self.switch: Switch | None = None
        self._is_counted = False

    def count(self) -> None:
        """Count the rows into the books, once."""
        if self.block is None or self._is_counted:
            return
        self._is_counted = True
        add(self.tallies, "stored", self.block.count)
        count_block(self.block, self.tallies, self.drops)
        self.must = self.must or bool(self.drops.by)
