"""What was published, acknowledged and received over all rounds, and what is wrong with it.

A *series* is what one client publishes to one topic with one QoS: the numbers 1, 2, 3 ... A payload says which one it
is (``NAME:NUMBER:filler``), so whoever receives it knows. An *inbox* is what one receiver has got.

Every event also goes to a history file, one line each; a problem is shown with all lines of its message.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

SHOWN = 60
"""Lines of history that are shown of one message."""


class Series:
    """Messages 1 ... ``sent`` of one topic.

    acked    numbers that the broker has answered for
    repeats  how often a number was sent again
    born     when a number was sent first, monotonic
    """

    def __init__(self, name: str, qos: int) -> None:
        self.name = name
        self.qos = qos
        self.sent = 0
        self.acked: set[int] = set()
        self.repeats: Counter[int] = Counter()
        self.born: dict[int, float] = {}


class Inbox:
    """What one receiver has got.

    exact     each message at most once: what a QoS 2 subscription promises of a QoS 2 message
    ordered   the messages of a series come first in their order, in each lane; not where several share a subscription
    prefixes  names of the series that it must get all of
    got       arrivals of each number of each series
    repeats   arrivals beyond the first; ``unmarked``: without DUP, and more than the publisher has sent
    """

    def __init__(self, ledger: Ledger, name: str, prefixes: tuple[str, ...], exact: bool, ordered: bool) -> None:
        self.name = name
        self.prefixes = prefixes
        self.exact = exact
        self.ordered = ordered
        self.got: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.repeats = 0
        self.unmarked = 0
        self._plain: Counter[tuple[str, int]] = Counter()
        self._highest: dict[tuple[str, str], int] = {}
        self._ledger = ledger

    def take(self, series: Series, number: int, dup: bool, lane: str = "") -> bool:
        """One arrival; whether it is the first of this message. ``lane``: those that it comes in order with."""
        arrivals = self.got[series.name]
        arrivals[number] += 1
        if not dup:
            self._plain[series.name, number] += 1
        if arrivals[number] == 1:
            highest = self._highest.get((series.name, lane), 0)
            if self.ordered and number < highest:
                text = f"{self.name}: {series.name} {number} came after {highest}"
                self._ledger.problem(f"{text} ({lane})" if lane else text, series, number)
            self._highest[series.name, lane] = max(number, highest)
            return True
        self.repeats += 1
        if self.exact and series.qos == 2:
            self._ledger.problem(f"{self.name}: {series.name} {number} came again with QoS 2", series, number)
        elif not dup and self._plain[series.name, number] > 1 + series.repeats[number]:
            self.unmarked += 1
        return False

    def missing(self) -> list[tuple[Series, int]]:
        """What was acknowledged and has not come."""
        return [
            (series, number)
            for series in self._ledger.series.values()
            if series.name.startswith(self.prefixes)
            for number in sorted(series.acked - self.got[series.name].keys())
        ]


class Ledger:
    """See the module's docstring. ``round``: shown with each event."""

    def __init__(self, history: Path) -> None:
        self.series: dict[str, Series] = {}
        self.inboxes: list[Inbox] = []
        self.problems: list[tuple[str, str]] = []
        self.round = 0
        self.now = 0.0
        self._path = history
        self._history = history.open("w", buffering=1 << 20)

    def begin(self, name: str, qos: int) -> Series:
        """A new series."""
        series = self.series[name] = Series(name, qos)
        return series

    def inbox(self, name: str, prefixes: tuple[str, ...], exact: bool = False, ordered: bool = True) -> Inbox:
        """A new inbox."""
        inbox = Inbox(self, name, prefixes, exact, ordered)
        self.inboxes.append(inbox)
        return inbox

    def read(self, payload: bytes) -> tuple[Series, int]:
        """Which message a payload is."""
        name, number, _ = payload.split(b":", 2)
        return self.series[name.decode()], int(number)

    def note(self, who: str, what: str, series: Series, number: int) -> None:
        """One event of one message."""
        self._history.write(f"{series.name}:{number}: round {self.round} {self.now:.3f} {who} {what}\n")

    def mark(self, text: str) -> None:
        """An event of the whole: it is shown with the history of every message."""
        self._history.write(f"*: round {self.round} {self.now:.3f} {text}\n")

    def problem(self, text: str, series: Series | None = None, number: int = 0) -> None:
        """Something that must not be."""
        self.problems.append((f"round {self.round}: {text}", f"{series.name}:{number}:" if series else "*:"))

    def story(self, key: str) -> str:
        """The history of one message, with the kills in the rounds in which something happened to it."""
        self._history.flush()
        own = [line for line in self._path.read_text().splitlines() if line.startswith((key, "*:"))]
        rounds = {line.split(" ")[2] for line in own if line.startswith(key)}
        shown = [line for line in own if line.split(" ")[2] in rounds]
        return "\n".join(f"    {line}" for line in shown[-SHOWN:])

    def close(self) -> None:
        """Close the history."""
        self._history.close()
