"""Rows of one class of one lane on their way into parcels: gathered, then packed, then ready for the window.

Pure: time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gateway.outbound import Row
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.gather import Gathering
from gateway.uplinks.packing.parcels import Packer
from gateway.uplinks.parcel import Parcel


class Filling:
    """``maximum_packet``: bytes that the broker takes in a packet.

    ready   parcels that may be sent, the first one first; while there are some, give it no further row
    passed  number of the last row if nobody is sent it and none came behind it, to be passed by when this is empty
    """

    __slots__ = ("_gathering", "_maximum_packet", "_packer", "passed", "ready")

    def __init__(self, batch: Batch, packer: Packer, maximum_packet: int) -> None:
        self._gathering = Gathering(batch)
        self._packer = packer
        self._maximum_packet = maximum_packet
        self.ready: deque[Parcel] = deque()
        self.passed = 0

    @property
    def first(self) -> Row | None:
        """The first row that it holds."""
        return self.ready[0].rows[0] if self.ready else self._gathering.first

    @property
    def room(self) -> int:
        """How many rows should come next at most, at least one."""
        return max(self._gathering.room, 1)

    def add(self, entries: Sequence[Entry], now: float) -> None:
        """The next rows, at least one. What they have no room beside is made ready."""
        self.passed = 0
        if self._gathering.add_all(entries, now):
            return
        for entry in entries:
            if not self._gathering.add(entry, now):
                self._pack()
                self._gathering.add(entry, now)

    def pass_by(self, seq: int) -> None:
        """A row behind all that it holds is sent to nobody."""
        self.passed = seq

    def close(self, now: float, is_end: bool, factor: float = 1) -> float:
        """Make ready what is full or has waited long enough, and everything when no further row will come: 0. Else the
        seconds until then. ``factor``: how many times the wait of the settings."""
        due = self._gathering.due(factor)
        if due is None:
            return float("inf")
        if due > now and not is_end:
            return due - now
        self._pack()
        return 0.0

    def _pack(self) -> None:
        self.ready.extend(self._packer.parcels(self._gathering.take(), self._maximum_packet))
