"""Whether the cloud answers faster than it is worth to bother the disk.

One row at a time is followed from its arrival to its acknowledgement by every uplink. Time is passed in.
"""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 0.05
"""Seconds that a message somebody waits for may wait for the cloud's acknowledgement instead of the disk, while the
cloud has been answering within that time."""


class Promptness:
    """``is_prompt``: the last row that was followed was acknowledged within PATIENCE.

    followed  number and class of the row that is followed
    """

    __slots__ = ("_since", "followed", "is_prompt")

    def __init__(self) -> None:
        self.is_prompt = False
        self.followed: tuple[int, int] | None = None
        self._since = 0.0

    def arrived(self, seq: int, room: int, now: float) -> None:
        """A row has come; it is followed if none is, or if that has taken too long."""
        if self.followed is not None:
            if now - self._since <= PATIENCE:
                return
            self.is_prompt = False
        self.followed, self._since = (seq, room), now

    def acknowledged(self, now: float) -> None:
        """Every uplink has the row that is followed."""
        self.is_prompt = now - self._since <= PATIENCE
        self.followed = None
