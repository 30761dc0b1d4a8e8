"""Each uplink's account: rows that it must get, those that the cloud has, and those that became part of others.

They are books like the others (``tally``), so that they cost no page of their own. With the drops of the uplink they
always add up: produced = delivered + thinned + dropped + waiting, where waiting is what is on the disk for it and
behind its position.

That holds after kill -9 too, since each entry is written with what it speaks of: *produced* with the row, *delivered*
and *dropped* with the position that moves past the row, and all three together when a row is settled before it is
written. So what an uplink does with rows of the block that gathers is noted in the block, and counted where these
rows are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final, NamedTuple

from gateway.store.block import Block
from gateway.store.drops import Drop, Drops

PREFIX: Final = "uplink:"
PRODUCED: Final = "produced"
DELIVERED: Final = "delivered"
THINNED: Final = "thinned"
ACCOUNT: Final = (PRODUCED, DELIVERED, THINNED)

BOOKED: Final = f"{PREFIX}booked:"
"""The number of the newest row that is in the books. Without it rows may be missing: what was written was salvaged."""

FAILED: Final = "outbox_failed"
REFUSED: Final = "outbox_refused"

Outcome = tuple[int, str, float]
"""A row that an uplink has given up: its number, the reason, and when it was accepted."""


class Account(NamedTuple):
    """Sums since ever; ``waiting`` is what is left."""

    produced: int = 0
    delivered: int = 0
    thinned: int = 0
    dropped: int = 0

    @property
    def waiting(self) -> int:
        """Rows that the uplink must still get."""
        return self.produced - self.delivered - self.thinned - self.dropped


def entry(what: str, uplink: str) -> str:
    """The name of a book."""
    return f"{PREFIX}{what}:{uplink}"


def is_for(uplink: str, names: tuple[str, ...], heirs: Mapping[str, str | None]) -> bool:
    """Whether an uplink must have a row that was kept for ``names``; see ``heirs.py``. A name that nobody knows any
    more may have become any other: its rows are for everybody."""
    return not names or any(heirs.get(name, uplink) == uplink for name in names)


def account(uplink: str, tallies: Mapping[str, int], drops: Drops) -> Account:
    """The account of one uplink."""
    produced, delivered, thinned = (tallies.get(entry(what, uplink), 0) for what in (PRODUCED, DELIVERED, THINNED))
    return Account(produced, delivered, thinned, sum(drop.n for drop in drops.of(uplink).values()))


def add(tallies: dict[str, int], name: str, n: int) -> None:
    """Add to a book."""
    tallies[name] = tallies.get(name, 0) + n


def count_block(block: Block, tallies: dict[str, int], drops: Drops) -> None:
    """Count the rows of a block, settled ones too, and what uplinks have done with them meanwhile."""
    for place, n in Counter(block.places).items():
        for name in block.heads[place].names:
            add(tallies, entry(PRODUCED, name), n)
    for seq, name, reason in block.outcomes:
        if reason:
            time = block.times[seq - block.first]
            drops.add(name, reason, Drop(1, time, time))
            add(tallies, f"dropped:{reason}", 1)
        else:
            add(tallies, entry(DELIVERED, name), 1)


class Has(Enum):
    """How an uplink stands to a row: it is done with it, has it in its hands, or has not got it."""

    DONE = auto()
    HELD = auto()
    NOT = auto()


def take_back(
    block: Block,
    has: Callable[[str, int, int], Has],
    tallies: dict[str, int],
    drops: Drops,
    orphans: set[tuple[str, int]],
) -> None:
    """The block was not written, and its rows are about to be given back: correct what ``count_block`` counted.

    ``has`` takes uplink, class and number. A row that an uplink has in its hands is counted when it is done with it
    (``orphans``). One that nobody waits for is lost to those who have not got it.
    """
    for index, payload in enumerate(block.payloads):
        if payload is None:
            continue
        seq, time = block.first + index, block.times[index]
        head = block.heads[block.places[index]]
        for name in head.names:
            state = has(name, head.room, seq)
            if state is Has.DONE:
                continue
            if state is Has.NOT and block.dones[index] is None:
                drops.add(name, FAILED, Drop(1, time, time))
                continue
            add(tallies, entry(PRODUCED, name), -1)
            if state is Has.HELD:
                orphans.add((name, seq))
