"""Topic aliases towards a broker (MQTT 5 section 3.3.2.3.4): a number instead of a topic that it has heard before.

As many topics have one as the broker allows. A topic without one gets that of the topic that was not used for longest,
but only if it was used itself since then: of a hundred topics in turn and ten aliases, ten keep theirs, where giving
each the oldest would make every one of them useless in the moment it is given.

Pure. One object for each connection: aliases do not outlive it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST: Final = 1024
"""Aliases that are used of a broker that allows more: their topics are kept in memory."""

REMEMBERED: Final = 1024
"""Topics without an alias of which it is known when they were used; beyond it the oldest are forgotten."""


class Aliases:
    """``maximum``: the broker's Topic Alias Maximum; 0 for none."""

    __slots__ = ("_aliases", "_count", "_others", "_used", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = min(maximum, MOST)
        self._count = 0
        self._aliases: dict[str, int] = {}
        # Both in the order of use, with the number of the use.
        self._used: OrderedDict[str, int] = OrderedDict()
        self._others: OrderedDict[str, int] = OrderedDict()

    def choose(self, topic: str) -> tuple[str, int]:
        """What to write as the topic, and the alias beside it; 0 for none. Nothing is settled before ``sent``."""
        if not self.maximum:
            return topic, 0
        if topic in self._aliases:
            return "", self._aliases[topic]
        if len(self._aliases) < self.maximum:
            return topic, len(self._aliases) + 1
        oldest = next(iter(self._used))
        if self._others.get(topic, -1) > self._used[oldest]:
            return topic, self._aliases[oldest]
        return topic, 0

    def sent(self, topic: str, alias: int) -> None:
        """A message of ``topic`` has been sent as ``choose`` said; only where there are aliases."""
        self._count += 1
        if not alias:
            self._others[topic] = self._count
            self._others.move_to_end(topic)
            if len(self._others) > REMEMBERED:
                self._others.popitem(last=False)
            return
        if topic not in self._aliases:
            if len(self._aliases) == self.maximum:
                oldest, use = self._used.popitem(last=False)
                del self._aliases[oldest]
                self._others[oldest] = use
            self._others.pop(topic, None)
            self._aliases[topic] = alias
        self._used[topic] = self._count
        self._used.move_to_end(topic)
