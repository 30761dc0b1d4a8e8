"""When to look at the sockets again: at once, or a little later, so that more has gathered.

A wake-up costs more than the message that caused it: most of it is system calls and cold caches. At thousands of
messages a second, looking every few milliseconds finds many at a time, for much less CPU and half of that time more on
the way. At rest it would only be slower, so a leaky bucket decides: ``FREE_LOOKS`` looks a second are free, and looks
are spread when there are more. Spread looks are few, so while they are, each counts as the sockets that it found:
what it would have taken to serve them one by one.

Gathering is for traffic that comes by itself. A client that sends its next message when it has the answer to the one
before would only be held up: its rate falls as soon as looks are spread, and rises when they are not. So rates are
compared, in bytes, because gathering joins what would have been many reads; where it has cost messages it is left alone
for a while, longer each time. It shows in the first window with gathering and the first one after it. A rate that falls
later, or does not come back, has fallen by itself: the next burst is gathered as this one was.

Pure: ``now`` is passed in. It knows no socket.
"""

from __future__ import annotations

from typing import Final

FREE_LOOKS: Final = 500.0
"""Looks a second that cost nothing: what a gateway at rest or at hundreds of messages a second needs."""

BURST: Final = 100.0
"""Free looks that may be saved up, so that a burst after a pause is answered at once."""

WINDOW: Final = 0.1
"""Seconds over which a rate is measured."""

PAUSE: Final = 2 * WINDOW
"""Seconds without a look after which whatever comes is new: what was measured before says nothing about it."""

COST: Final = 0.8
"""Gathering ends when the rate falls below this part of what it was before."""

FIRST_REST: Final = 1.0
LONGEST_REST: Final = 64.0
"""Seconds that gathering is left alone after it has cost messages."""

PROBE: Final = 10.0
"""Seconds of gathering after which one window without it shows what the rate would be."""


class Moderator:
    """See the module's docstring.

    gather     seconds between two looks at a high rate; 0: every look is at once
    gathering  whether looks are spread
    """

    __slots__ = (
        "_credit",
        "_bytes",
        "_free_rate",
        "_is_proven",
        "_last",
        "_rest",
        "_rest_until",
        "_since",
        "_slowed_rate",
        "_started",
        "gather",
        "gathering",
    )

    def __init__(self, gather: float) -> None:
        self.gather = gather
        self.gathering = False
        self._credit = BURST
        self._last = 0.0
        self._bytes = 0
        self._started = 0.0
        """When the present window began."""
        self._free_rate = 0.0
        """Bytes a second in the last window without gathering."""
        self._slowed_rate = 0.0
        """Bytes a second in a first window with gathering that brought less; 0: there was none."""
        self._since = 0.0
        self._is_proven = False
        """Whether a window with gathering has shown that it costs no messages."""
        self._rest = FIRST_REST
        self._rest_until = 0.0

    def next_look(self, now: float, found: int, size: int) -> float:
        """When to look again; not after ``now``: at once.

        now    monotonic seconds of the look before
        found  sockets that had something for it
        size   bytes that it has read
        """
        if not self.gather:
            return now
        idle = now - self._last
        self._last = now
        if idle >= PAUSE:
            self.gathering = False
            self._credit = BURST
            self._started = now
            self._bytes = 0
        credit = self._credit + idle * FREE_LOOKS - (found if self.gathering else 1)
        # Bounded below as well: what is saved up decides when gathering ends, not how long it has lasted.
        self._credit = BURST if credit > BURST else max(credit, -BURST)
        self._bytes += size
        elapsed = now - self._started
        if elapsed >= WINDOW:
            self._judge(now, self._bytes / elapsed)
            self._started = now
            self._bytes = 0
        return now + self.gather if self.gathering else now

    def _judge(self, now: float, rate: float) -> None:
        """A window is over in which ``rate`` bytes a second came."""
        if not self.gathering:
            if 0 < self._slowed_rate < COST * rate:
                self._rest_until = now + self._rest
                self._rest = min(2 * self._rest, LONGEST_REST)
            self._slowed_rate = 0.0
            self._free_rate = rate
            if self._credit < 0 and now >= self._rest_until:
                self._credit = 0.0
                self.gathering = True
                self._since = now
            self._is_proven = False
        elif self._credit > BURST / 2:
            self.gathering = False
        elif rate < COST * self._free_rate:
            self.gathering = False
            if not self._is_proven:
                self._slowed_rate = rate
        elif now - self._since >= PROBE:
            # It has cost nothing for long. One window without it, in case the traffic is another by then.
            self.gathering = False
            self._rest = FIRST_REST
        else:
            self._is_proven = True
            self._rest = FIRST_REST
