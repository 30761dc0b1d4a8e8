"""What becomes of rows, uplink by uplink, on its way into the accounts (``accounts.py``).

It decides with which transaction each count goes: with the rows while they gather, else with the position that is
kept next. Runs on the loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from gateway.broker.port import Done
from gateway.metrics import Metrics
from gateway.outbound import Row
from gateway.store.accounts import DELIVERED, FAILED, PRODUCED, REFUSED, Has, Outcome, add, entry, take_back
from gateway.store.block import Block
from gateway.store.books import Books
from gateway.store.changes import Changes
from gateway.store.drops import Drop, Drops
from gateway.store.errors import StoreError


class Accountant:
    """The drops of all uplinks as they are by now, and the way of everything else into the table.

    gathering  the changes that gather, if there are any
    join       the same; makes them. Raises StoreError when the database is closed
    """

    def __init__(
        self, gathering: Callable[[], Changes | None], join: Callable[[], Changes], books: Books, metrics: Metrics
    ) -> None:
        self.drops = Drops()
        self._gathering = gathering
        self._join = join
        self._books = books
        self._metrics = metrics
        self._orphans: set[tuple[str, int]] = set()  # rows that were not written, and that an uplink has in its hands

    def note_drop(self, uplink: str, row: Row, reason: str) -> None:
        """An uplink gives a row up; it is counted in the table by ``count``."""
        self.drops.add(uplink, reason, Drop(1, row.time, row.time))
        self._books.note(f"dropped:{reason}", 1)
        self._metrics.drop(reason)

    def count(self, uplink: str, delivered: Sequence[int], given_up: Sequence[Outcome]) -> None:
        """Count what an uplink has done with rows, both in order, as its position moves past them."""
        produced = self._take_orphans(uplink, (*delivered, *[one[0] for one in given_up])) if self._orphans else 0
        changes = self._gathering()
        block = changes.block if changes is not None else None
        if block is not None:
            # What became of rows that gather is counted where they are.
            at = bisect_left(delivered, block.first)
            block.outcomes += [(seq, uplink, "") for seq in delivered[at:]]
            block.outcomes += [(seq, uplink, reason) for seq, reason, _ in given_up if seq >= block.first]
            delivered, given_up = delivered[:at], [one for one in given_up if one[0] < block.first]
        if not delivered and not given_up:
            return
        with suppress(StoreError):  # closed: they are sent again, and counted then
            changes = self._join()
            if produced:
                add(changes.tallies, entry(PRODUCED, uplink), produced)
            if delivered:
                add(changes.tallies, entry(DELIVERED, uplink), len(delivered))
            for _, reason, time in given_up:
                changes.must = True
                changes.drops.add(uplink, reason, Drop(1, time, time))
                add(changes.tallies, f"dropped:{reason}", 1)

    def _take_orphans(self, uplink: str, seqs: Iterable[int]) -> int:
        """How many of these rows were not written while the uplink had them; they are no orphans any more."""
        found = {(uplink, seq) for seq in seqs} & self._orphans
        self._orphans -= found
        return len(found)

    def refuse(self, uplinks: Sequence[str], time: float) -> None:
        """A message that nobody waits for never became a row."""
        self._books.lose(REFUSED, 1)
        with suppress(StoreError):  # closed: the metrics have it
            changes = self._join()
            changes.must = True
            for uplink in uplinks:
                self.drops.add(uplink, REFUSED, Drop(1, time, time))
                changes.drops.add(uplink, REFUSED, Drop(1, time, time))
                add(changes.tallies, entry(PRODUCED, uplink), 1)

    def give_back(
        self, changes: Changes, block: Block, bits: Mapping[str, int], has: Callable[[str, int, int], Has]
    ) -> list[Done]:
        """Take the rows of a failed commit out of the block and of the counts; their waiters. See ``take_back``.

        Rows that nobody waits for are lost, unless every uplink that needs them has taken them meanwhile: they still
        have them.
        """

        def is_taken(need: int, room: int, seq: int) -> bool:
            return all(has(name, room, seq) is not Has.NOT for name, bit in bits.items() if bit & need)

        failed = Drops()
        take_back(block, has, changes.tallies, failed, self._orphans)
        self.drops.merge(failed)
        changes.drops.merge(failed)
        waiters, lost, taken = block.give_back(is_taken)
        add(changes.tallies, "stored", taken - block.count)
        self._books.note("stored", taken)
        if lost:
            self._books.lose(FAILED, lost)
        return waiters
