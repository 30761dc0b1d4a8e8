"""One exchange on a line as a machine without I/O: it says what to send, and is told what arrives. Pure.

Whoever runs a ``Dialog`` takes the steps of ``begin``, calls ``waits`` when they are taken, and then gives it what
arrives (``feed``) or calls ``on_timer`` when ``next_timer`` has come; each gives new steps, until ``Done``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from gateway.connectors.serial.framing import Framer
from gateway.errors import GatewayError


class Silent(GatewayError):
    """The device did not answer, or not to the end."""


class Send(NamedTuple):
    """Send these bytes."""

    data: bytes


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Speed(NamedTuple):
    """Go on with so many bits a second; None: with those that the settings say."""

    baud: int | None


class Done(NamedTuple):
    """Over. ``is_quiet``: nothing more is to come, so that nothing late can be taken for another answer."""

    is_quiet: bool = True


Step = Send | Pause | Speed | Done


class Dialog(ABC):
    """See the module's docstring. ``now`` is monotonic seconds."""

    @abstractmethod
    def begin(self) -> list[Step]:
        """The first steps."""

    @abstractmethod
    def waits(self, now: float) -> None:
        """The steps are taken, and it is the device's turn."""

    @abstractmethod
    def feed(self, data: bytes, now: float) -> list[Step]:
        """What arrived. Raises Silent for an answer that is none."""

    @abstractmethod
    def next_timer(self) -> float:
        """When ``on_timer`` is to be called."""

    @abstractmethod
    def on_timer(self, now: float) -> list[Step]:
        """Nothing has arrived by then. Raises Silent when that is the end."""


class Tell(Dialog):
    """A command that has no answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def begin(self) -> list[Step]:
        return [Send(self._data), Done()]

    def waits(self, now: float) -> None:
        raise AssertionError("a command without an answer waits for nothing")

    def feed(self, data: bytes, now: float) -> list[Step]:
        raise AssertionError("a command without an answer takes none")

    def next_timer(self) -> float:
        raise AssertionError("a command without an answer waits for nothing")

    def on_timer(self, now: float) -> list[Step]:
        raise AssertionError("a command without an answer waits for nothing")


class Ask(Dialog):
    """A question and the frames that answer it.

    data    the question
    framer  cuts what arrives; its begin is forgotten
    take    given each frame; whether nothing more is wanted
    limit   seconds from the end of the question to the end of the answer
    """

    def __init__(self, data: bytes, framer: Framer, take: Callable[[bytes], bool], limit: float) -> None:
        self._data = data
        self._framer = framer
        self._take = take
        self._limit = limit
        self._end = 0.0

    def begin(self) -> list[Step]:
        self._framer.reset()
        return [Send(self._data)]

    def waits(self, now: float) -> None:
        self._end = now + self._limit

    def feed(self, data: bytes, now: float) -> list[Step]:
        steps = self._taken(self._framer.feed(data, now))
        if not steps and now >= self._end:
            raise Silent(f"no answer within {self._limit:g} s, though somebody speaks")
        return steps

    def next_timer(self) -> float:
        timer = self._framer.next_timer()
        return self._end if timer is None else min(timer, self._end)

    def on_timer(self, now: float) -> list[Step]:
        steps = self._taken(self._framer.on_timer(now))
        if not steps and now >= self._end:
            raise Silent(f"no answer within {self._limit:g} s")
        return steps

    def _taken(self, frames: list[bytes]) -> list[Step]:
        for number, frame in enumerate(frames, 1):
            if self._take(frame):
                # Frames behind the one that was wanted: the device says more than was asked.
                return [Done(is_quiet=number == len(frames))]
        return []
