"""What has arrived at the cloud, against what the gateway has acknowledged.

The same message may arrive more than once, and each time somebody else is the reason: the uplink (the same message
id), the cloud's broker (DUP: it has been started again), or the publisher, who had no answer and published again (a
message id of its own, and not more of them than it has published). Anything else is a problem.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from e2e.crash.client import said
from e2e.crash.ledger import Ledger, Series
from gateway.mqtt.packets import Publish

REPLAY = "replay"
"""User property of what waited in the outbox: it goes its own way, beside what is live, each in order."""

DEDUP = "once/"
"""Begins the names of series that are published with a ``dedup-id``: it must be there at the cloud."""

REPLAY_PREFIX = "replay/"
"""In front of the topic of the same, for a cloud that has no user properties."""


class Numbers:
    """A set of numbers that is nearly 1 ... n: it costs what is missing."""

    __slots__ = ("floor", "_beyond")

    def __init__(self) -> None:
        self.floor = 0
        self._beyond: set[int] = set()

    def add(self, number: int) -> bool:
        """Whether it is the first time."""
        if number in self:
            return False
        self._beyond.add(number)
        while self.floor + 1 in self._beyond:
            self.floor += 1
            self._beyond.remove(self.floor)
        return True

    def __contains__(self, number: int) -> bool:
        return number <= self.floor or number in self._beyond


@dataclass(slots=True)
class Arrivals:
    """See the module's docstring.

    has_ids     the cloud speaks MQTT 5: there are message ids, and marks of what was kept
    repeats     of the uplink; ``redelivered``: of the cloud; ``republished``: of the publishers
    boots       by boot number of the gateway: the numbers of the rows that have arrived
    """

    ledger: Ledger
    has_ids: bool
    total: int = 0
    repeats: int = 0
    redelivered: int = 0
    republished: int = 0
    replayed: int = 0
    boots: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    _seen: defaultdict[str, Numbers] = field(default_factory=lambda: defaultdict(Numbers))
    _rows: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)
    _names: Counter[tuple[str, int]] = field(default_factory=Counter)
    _highest: dict[tuple[str, bool], int] = field(default_factory=dict)

    def take(self, packet: Publish, series: Series, number: int) -> None:
        """One arrival."""
        self.total += 1
        props = said(packet)
        is_replay = REPLAY in props or packet.topic.startswith(REPLAY_PREFIX)
        self.replayed += is_replay
        if self.has_ids:
            self._identify(props, packet.dup, series, number)
        is_first = self._seen[series.name].add(number)
        if is_first:
            self._check_order(series, number, is_replay)
        elif not self.has_ids:
            # Nobody can tell whose repeat it is.
            if packet.dup:
                self.redelivered += 1
            else:
                self.repeats += 1

    def missing(self) -> list[tuple[Series, int]]:
        """What the gateway has acknowledged and has not come."""
        return [
            (series, number)
            for series in self.ledger.series.values()
            for number in range(self._seen[series.name].floor + 1, series.sent + 1)
            if number in series.acked and number not in self._seen[series.name]
        ]

    def _identify(self, props: Mapping[str, str], dup: bool, series: Series, number: int) -> None:
        try:
            boot, seq = (int(part) for part in props["message-id"].split(":"))
        except (KeyError, ValueError):
            self.ledger.problem(f"message id {props.get('message-id')!r}", series, number)
            return
        message = (series.name, number)
        known = self._rows.setdefault((boot, seq), message)
        if known != message:
            self.ledger.problem(f"message id {boot}:{seq} is that of {known[0]} {known[1]}", series, number)
        elif seq not in self.boots[boot]:
            self.boots[boot].add(seq)
            self._names[message] += 1
            if self._names[message] > 1:
                self._republished(props, series, number)
        elif dup:
            self.redelivered += 1
        else:
            self.repeats += 1

    def _republished(self, props: Mapping[str, str], series: Series, number: int) -> None:
        self.republished += 1
        mark = f"{series.name}:{number}"
        if series.name.startswith(DEDUP) and props.get("dedup-id") != mark:
            text = f"dedup-id {props.get('dedup-id')!r}: nobody can tell that it is a repeat"
            self.ledger.problem(text, series, number)
        allowed = 1 if series.qos == 2 else 1 + series.repeats[number]
        if self._names[series.name, number] > allowed:
            text = f"came under {self._names[series.name, number]} message ids, published {allowed} times"
            self.ledger.problem(text, series, number)

    def _check_order(self, series: Series, number: int, is_replay: bool) -> None:
        lane = (series.name, is_replay)
        if number < self._highest.get(lane, 0):
            text = f"{series.name} {number} came after {self._highest[lane]}{' as replay' if is_replay else ''}"
            self.ledger.problem(text, series, number)
        self._highest[lane] = max(number, self._highest.get(lane, 0))
