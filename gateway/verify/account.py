"""What came, against what the ledgers say of it. Pure; memory grows with stretches of numbers, not with messages.

For the whole time that the ledgers tell of: what the uplink had to send, less what came, less what was thinned or
dropped, is what waits or is lost. What waits is known as of the last ledger. So with nothing waiting the answer is
exact; else it is between two numbers.

Which numbers are missing is exact where a stretch has as many messages as numbers, as with one uplink it nearly
always has; where numbers belong to other uplinks too, they are candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.spans import Spans
from gateway.verify.lines import Id, Line

MAX_NAMED: Final = 1000
"""Gaps and duplicates that are named; all are counted."""


COUNTED: Final = ("produced", "delivered", "thinned", "dropped")
"""What a ledger counts, and what is used of it."""


class Gap(NamedTuple):
    """Numbers of a start that did not come. ``since`` and ``until``: when the ledger that tells of them was sent, and
    the one before. ``is_sure``: each of them should have come, but for what was thinned, dropped or waits."""

    boot: int
    first: int
    last: int
    since: str | None
    until: str
    is_sure: bool


class Told(NamedTuple):
    """One stretch of a ledger, see ``marks.Stretch``."""

    boot: int
    first: int
    last: int
    n: int
    since: str | None
    until: str


class Uplink:
    """The ledgers of one uplink of one gateway."""

    def __init__(self, ledger: Mapping[str, Any]) -> None:
        total, interval = ledger["total"], ledger["interval"]
        self.before: dict[str, int] = {name: total[name] - interval[name] for name in COUNTED}
        self.last = ledger
        self.told: list[Told] = []
        self.ledgers = self.repeated = 0

    def add(self, ledger: Mapping[str, Any]) -> None:
        """One more. A ledger may come twice, and one that was told again tells of more."""
        self.ledgers += 1
        if ledger["total"]["produced"] < self.last["total"]["produced"]:
            self.repeated += 1
        else:
            self.last = ledger
        for one in ledger["ids"]:
            stretch = Told(one["boot"], one["first"], one["last"], one["n"], ledger.get("since"), ledger["time"])
            if self.told and self.told[-1].boot == stretch.boot and self.told[-1].first == stretch.first:
                self.told.pop()  # told again, and more
            if stretch not in self.told[-8:]:
                self.told.append(stretch)

    def during(self, name: str) -> int:
        """What was counted from before the first ledger to the last."""
        total: int = self.last["total"][name]
        since: int = self.before[name]
        return total - since

    @property
    def waited(self) -> int:
        """Rows that waited before the first ledger."""
        produced, *gone = (self.before[name] for name in COUNTED)
        return max(0, produced - sum(gone))


class Findings(NamedTuple):
    """What ``Verifier.finish`` says. ``lost``: at least and at most so many; ``early``: with numbers before
    those of all ledgers; ``beyond``: with numbers that no ledger tells of, because none has yet, or because the gateway
    was killed before it had written that there were such; ``unknown``: more than the ledgers tell of."""

    messages: int
    ledgers: int
    came: int
    duplicates: int
    again: int
    early: int
    beyond: int
    unknown: int
    without_id: int
    unreadable: int
    produced: int
    thinned: int
    dropped: int
    waiting: int
    lost: tuple[int, int]
    gaps: list[Gap]
    more_gaps: int
    twice: list[Id]

    @property
    def is_good(self) -> bool:
        """Nothing is missing without a reason, and nothing came that nobody knows."""
        return self.ledgers > 0 and not self.lost[0] and not self.unknown


class Verifier:
    """Takes the lines of a dump in order. All are of one uplink of one gateway; another one's ledger is an error."""

    def __init__(self) -> None:
        self._arrived: dict[int, Spans] = {}
        self._uplink: Uplink | None = None
        self._twice: list[Id] = []
        self._messages = self._duplicates = self._again = self._without_id = self._unreadable = 0

    @property
    def name(self) -> tuple[str, str] | None:
        """Gateway and uplink; None before the first ledger."""
        return None if self._uplink is None else _name(self._uplink.last)

    def take(self, line: Line | None) -> None:
        """One more line; None: it could not be read. Raises ValueError for a ledger of another gateway or uplink."""
        if line is None:
            self._unreadable += 1
            return
        self._messages += 1
        if line.id is None:
            self._without_id += 1
        else:
            self._take_id(line.id, line.is_again)
        if line.ledger is not None:
            self._take_ledger(line.ledger)

    def _take_id(self, found: Id, is_again: bool) -> None:
        spans = self._arrived.get(found.boot)
        if spans is None:
            spans = self._arrived[found.boot] = Spans()
        if found.seq not in spans:
            spans.add(found.seq, found.seq)
        elif is_again:
            self._again += 1
        else:
            self._duplicates += 1
            if len(self._twice) < MAX_NAMED:
                self._twice.append(found)

    def _take_ledger(self, ledger: Mapping[str, Any]) -> None:
        if self._uplink is None:
            self._uplink = Uplink(ledger)
        elif _name(ledger) != _name(self._uplink.last):
            first, other = " of ".join(reversed(_name(self._uplink.last))), " of ".join(reversed(_name(ledger)))
            raise ValueError(f"ledgers of {first} and of {other}; verify them one at a time")
        self._uplink.add(ledger)

    def finish(self) -> Findings:
        """The end of the dump."""
        uplink = self._uplink
        told = uplink.told if uplink is not None else []
        starts: dict[int, int] = {}
        for one in told:
            starts[one.boot] = min(one.first, starts.get(one.boot, one.first))
        came = early = unknown = total = 0
        for one in told:
            inside = self._spans(one.boot).within(one.first, one.last)
            came += min(inside, one.n)
            unknown += max(0, inside - one.n)
        oldest = min(starts, default=0)
        for boot, spans in self._arrived.items():
            total += spans.count
            if boot < oldest:
                early += spans.count
            elif boot in starts:
                early += spans.within(0, starts[boot] - 1)
        beyond = total - came - unknown - early
        gaps, more = self._gaps(told)
        produced = thinned = dropped = waiting = 0
        lost = (0, 0)
        if uplink is not None:
            produced, thinned, dropped = (uplink.during(name) for name in ("produced", "thinned", "dropped"))
            waiting = uplink.last["total"]["waiting"]
            open_rows = produced + uplink.waited - came - min(early, uplink.waited) - thinned - dropped
            lost = (max(0, open_rows - waiting), max(0, open_rows))
        ledgers = uplink.ledgers if uplink is not None else 0
        return Findings(
            self._messages, ledgers, came, self._duplicates, self._again, early, beyond, unknown, self._without_id,
            self._unreadable, produced, thinned, dropped, waiting, lost, gaps, more, self._twice,
        )  # fmt: skip

    def _spans(self, boot: int) -> Spans:
        return self._arrived.get(boot) or Spans()

    def _gaps(self, told: list[Told]) -> tuple[list[Gap], int]:
        gaps: list[Gap] = []
        more = 0
        for one in told:
            spans = self._spans(one.boot)
            if spans.within(one.first, one.last) >= one.n:
                continue
            for first, last in spans.gaps(one.first, one.last):
                if len(gaps) < MAX_NAMED:
                    is_sure = one.n == one.last - one.first + 1
                    gaps.append(Gap(one.boot, first, last, one.since, one.until, is_sure))
                else:
                    more += 1
        return gaps, more


def _name(ledger: Mapping[str, Any]) -> tuple[str, str]:
    return str(ledger.get("gateway")), str(ledger.get("uplink"))
