"""Rows that an uplink has in its hands: what each of them comes to is known when its position moves past them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from gateway.outbound import Row
from gateway.store.accounts import Outcome
from gateway.store.rooms import ROOMS


class Hands:
    """Numbers in order, by class. Bounded by what an uplink takes at a time."""

    __slots__ = ("_by_room", "_given_up")

    def __init__(self) -> None:
        self._by_room: tuple[list[int], ...] = tuple([] for _ in ROOMS)
        self._given_up: dict[int, tuple[str, float]] = {}

    def give(self, room: int, seqs: Iterable[int]) -> None:
        """It has got these of a class, in order."""
        held = self._by_room[room]
        for seq in seqs:
            if not held or seq > held[-1]:
                held.append(seq)
            else:
                at = bisect_left(held, seq)
                if held[at] != seq:
                    held.insert(at, seq)

    def give_up(self, row: Row, reason: str) -> None:
        """It will not send this one."""
        self._given_up[row.seq] = (reason, row.time)

    def take(self, room: int, after: int, upto: int) -> list[Outcome]:
        """It has done with the rows of a class behind ``after``, up to ``upto``: what became of those that it had."""
        held = self._by_room[room]
        start, end = bisect_right(held, after), bisect_right(held, upto)
        done = held[start:end]
        del held[start:end]
        if not self._given_up:
            return [(seq, "", 0.0) for seq in done]
        return [(seq, *self._given_up.pop(seq, ("", 0.0))) for seq in done]
