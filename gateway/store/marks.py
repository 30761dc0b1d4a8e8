"""What the last ledger of an uplink said, and thus where the next one begins.

Message ids are numbers of starts and of rows. A mark says up to which row everything was told, and how many rows the
uplink had to get by then; each start closes the stretch of numbers of the one before it, so that a ledger after
several starts names each of them. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Final, NamedTuple

from gateway.store.accounts import Account

MAX_STRETCHES: Final = 100
"""Starts that one ledger names; with more, the oldest are only counted."""


class Stretch(NamedTuple):
    """``n`` rows with the numbers ``first`` to ``last`` of the start ``boot``. Fewer than numbers: the others belong
    to other uplinks, or to nobody."""

    boot: int
    first: int
    last: int
    n: int


@dataclass(frozen=True, slots=True)
class Mark:
    """``number`` of the last ledger, 0 before the first; when it was, on the wall clock; its row.

    boot, last  everything up to this row of this start was told, or is in ``stretches``
    base        rows produced by then
    stretches   of earlier starts, not told yet; ``more`` counts rows of those before
    account     sums of the last ledger, ``drops`` by reason
    """

    boot: int
    last: int = 0
    base: int = 0
    number: int = 0
    time: float | None = None
    row: int = 0
    more: int = 0
    stretches: tuple[Stretch, ...] = ()
    account: Account = Account()
    drops: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def next_boot(self, boot: int, last: int, produced: int) -> Mark:
        """Another start begins behind the row ``last``."""
        if boot == self.boot:
            return self
        stretches = self.untold(last, produced)
        gone = stretches[:-MAX_STRETCHES]
        return replace(
            self,
            boot=boot,
            last=last,
            base=produced,
            more=self.more + sum(one.n for one in gone),
            stretches=tuple(stretches[-MAX_STRETCHES:]),
        )

    def untold(self, last: int, produced: int) -> Sequence[Stretch]:
        """What a ledger has to tell when rows up to ``last`` are in the books, ``produced`` of them."""
        if produced == self.base or last <= self.last:
            return self.stretches
        return (*self.stretches, Stretch(self.boot, self.last + 1, last, produced - self.base))

    def told(self, last: int, time: float, account: Account, drops: Mapping[str, int]) -> Mark:
        """The mark of the ledger that tells all this."""
        last = max(last, self.last)
        return Mark(self.boot, last, account.produced, self.number + 1, time, account=account, drops=dict(drops))


def first_mark(boot: int, last: int, account: Account, drops: Mapping[str, int]) -> Mark:
    """The mark of an uplink that has none: what was there before is told by no ledger."""
    return Mark(boot, last, account.produced, account=account, drops=dict(drops))


def mark_of(text: str) -> Mark:
    """The mark behind ``Mark.text``."""
    found = json.loads(text)
    stretches = tuple(Stretch(*one) for one in found["stretches"])
    return Mark(**{**found, "stretches": stretches, "account": Account(*found["account"])})
