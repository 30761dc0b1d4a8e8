"""Rows that an uplink has in its hands: what each of them comes to is known when its position moves past them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from gateway.outbound import Row
from gateway.store.accounts import Outcome


class Handed:
    """Numbers in order. Bounded by what an uplink takes at a time."""

    __slots__ = ("_given_up", "_seqs")

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._given_up: dict[int, tuple[str, float]] = {}

    def __len__(self) -> int:
        """Rows that it has not done with."""
        return len(self._seqs)

    def give(self, seqs: Iterable[int]) -> None:
        """It has got these, in order."""
        held = self._seqs
        for seq in seqs:
            if not held or seq > held[-1]:
                held.append(seq)
            else:
                at = bisect_left(held, seq)
                if held[at] != seq:
                    held.insert(at, seq)

    def give_up(self, row: Row, reason: str) -> None:
        """It will not send this one."""
        self.give((row.seq,))
        self._given_up[row.seq] = (reason, row.time)

    def take(self, after: int, upto: int) -> list[Outcome]:
        """It has done with all rows behind ``after``, up to ``upto``: what became of those that it had."""
        held = self._seqs
        start, end = bisect_right(held, after), bisect_right(held, upto)
        done = held[start:end]
        del held[start:end]
        if not self._given_up:
            return [(seq, "", 0.0) for seq in done]
        return [(seq, *self._given_up.pop(seq, ("", 0.0))) for seq in done]
