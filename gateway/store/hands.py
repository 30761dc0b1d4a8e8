"""Rows that an uplink has in its hands: what each of them comes to is known when its position moves past them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from gateway.outbound import Row
from gateway.store.accounts import Outcome
from gateway.store.rooms import ROOMS


class Hands:
    """Numbers in order, by class. Bounded by what an uplink takes at a time."""

    __slots__ = ("_by_room", "_given_up")

    def __init__(self) -> None:
        self._by_room: tuple[list[int], ...] = tuple([] for _ in ROOMS)
        self._given_up: dict[int, tuple[str, float]] = {}

    def give(self, room: int, seqs: Sequence[int]) -> None:
        """It has got these of a class, in order."""
        held = self._by_room[room]
        if seqs and (not held or seqs[0] > held[-1]):
            held += seqs
            return
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

    def take(self, room: int, after: int, upto: int) -> tuple[list[int], list[Outcome]]:
        """It has done with the rows of a class behind ``after``, up to ``upto``: of those that it had, the ones that
        were delivered, and the others."""
        held = self._by_room[room]
        start, end = bisect_right(held, after), bisect_right(held, upto)
        done = held[start:end]
        del held[start:end]
        given_up = self._given_up
        if not given_up:
            return done, []
        lost = [(seq, *given_up.pop(seq)) for seq in done if seq in given_up]
        if lost:
            gone = {outcome[0] for outcome in lost}
            done = [seq for seq in done if seq not in gone]
        return done, lost
