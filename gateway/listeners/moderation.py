"""When to look at the sockets again: at once, or a little later, so that more has gathered.

A wake-up costs more than the message that caused it: most of it is system calls and cold caches. At thousands of
messages a second, looking every two milliseconds finds many at a time, for half of the CPU and one millisecond more
on the way. At rest it would only be slower, so a leaky bucket decides: ``FREE_LOOKS`` looks a second are free, and
looks are spread when there are more.

Gathering is for traffic that comes by itself. A client that sends its next message when it has the answer to the one
before would only be held up: its rate falls as soon as looks are spread. So rates are compared, in bytes, because
gathering joins what would have been many reads; where it has cost messages it is left alone for a while, longer each
time. It shows in the first window with gathering. A rate that falls later does so by itself: less comes, or nothing,
and the next burst is gathered as this one was.

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
        """Bytes a second in the last whole window without gathering; 0: unknown."""
        self._since = 0.0
        self._is_proven = False
        """Whether a window with gathering has shown that it costs no messages."""
        self._rest = FIRST_REST
        self._rest_until = 0.0

    def next_look(self, now: float, size: int) -> float:
        """A look at ``now`` (monotonic) has read ``size`` bytes. When to look again; not after ``now``: at once."""
        if not self.gather:
            return now
        credit = self._credit + (now - self._last) * FREE_LOOKS - 1
        self._credit = credit if credit < BURST else BURST
        self._last = now
        self._bytes += size
        elapsed = now - self._started
        if elapsed >= WINDOW:
            # A window that a pause has stretched says nothing about a rate.
            self._judge(now, self._bytes / elapsed if elapsed < 2 * WINDOW else 0.0)
            self._started = now
            self._bytes = 0
        return now + self.gather if self.gathering else now

    def _judge(self, now: float, rate: float) -> None:
        if not self.gathering:
            self._free_rate = rate
            if self._credit < 0 and rate and now >= self._rest_until:
                self._credit = 0.0
                self.gathering = True
                self._since = now
            self._is_proven = False
        elif self._credit > BURST / 2 or not rate:
            self.gathering = False
        elif rate < COST * self._free_rate:
            self.gathering = False
            if not self._is_proven:
                self._rest_until = now + self._rest
                self._rest = min(2 * self._rest, LONGEST_REST)
        elif now - self._since >= PROBE:
            # It has cost nothing for long. One window without it, in case the traffic is another by then.
            self.gathering = False
            self._rest = FIRST_REST
        else:
            self._is_proven = True
            self._rest = FIRST_REST
