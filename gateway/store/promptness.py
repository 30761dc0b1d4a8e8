"""Whether the cloud answers faster than it is worth to bother the disk.

One row at a time is followed from its arrival to its acknowledgement by every uplink. Time is passed in.
"""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 0.05
"""Seconds that a message somebody waits for may wait for the cloud's acknowledgement instead of the disk, while the
cloud has been answering within that time."""


class Promptness:
    """``is_prompt``: the last row that was followed was acknowledged within PATIENCE."""

    __slots__ = ("_seq", "_since", "is_prompt")

    def __init__(self) -> None:
        self.is_prompt = False
        self._seq: int | None = None
        self._since = 0.0

    def arrived(self, seq: int, now: float) -> None:
        """A row has come; it is followed if none is."""
        if self._seq is None:
            self._seq, self._since = seq, now
        elif now - self._since > PATIENCE:
            self.is_prompt = False

    def acknowledged(self, seq: int, now: float) -> None:
        """Every uplink has the rows up to ``seq``."""
        if self._seq is not None and seq >= self._seq:
            self.is_prompt = now - self._since <= PATIENCE
            self._seq = None
