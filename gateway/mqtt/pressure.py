"""Back-pressure: a receiver that has enough makes those who publish to it wait, for a while.

Nobody waits inside the router. Routing a message to a full receiver leaves its ``Pressure`` in ``Turn.pressed``;
the publishing connection then reads no further until ``release``. A receiver that stays full for longer than
the patience is *slow*: it makes nobody wait any more, and what it cannot take is dropped and counted, until it
has caught up.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.mqtt.turn import Turn


class Pressure:
    """The publishers that wait for one receiver.

    on_slow  called when the patience is used up
    is_slow  it has used up the patience; see the module's docstring
    since    monotonic: when publishers began to wait; None while none does
    """

    __slots__ = ("_on_slow", "_turn", "is_slow", "since", "waiting")

    def __init__(self, turn: Turn, on_slow: Callable[[], None]) -> None:
        self._turn = turn
        self._on_slow = on_slow
        self.is_slow = False
        self.since: float | None = None
        self.waiting: list[Callable[[], None]] = []

    def is_on(self) -> bool:
        """Whether a publisher waits, or the receiver is slow."""
        return self.is_slow or self.since is not None

    def apply(self) -> None:
        """The receiver of the message at hand has enough."""
        if not self.is_slow:
            self._turn.pressed = self

    def wait(self, resume: Callable[[], None]) -> bool:
        """Call ``resume`` once when the receiver takes more. True when this is the first that waits."""
        first = not self.waiting
        if first:
            self.since = self._turn.now
        self.waiting.append(resume)
        return first

    def release(self) -> None:
        """The receiver takes more, or is gone."""
        self.is_slow = False
        self._let_go()

    def give_up(self) -> None:
        """The patience is used up."""
        self.is_slow = True
        self._let_go()
        self._on_slow()

    def _let_go(self) -> None:
        self.since = None
        waiting, self.waiting = self.waiting, []
        for resume in waiting:
            resume()
