"""Keep one task alive: back off when the other side is away, shout when it is our bug.

``Retry`` is one log line when something goes down and one when it is back. Any other exception is a bug: its
traceback is printed once for each place, it is counted, and the task is tried again, because a gateway in a
field has nobody to restart it. This is the only broad ``except`` of the project.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import traceback
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

from gateway.errors import GatewayError, Retry
from gateway.metrics import Metrics

log = logging.getLogger("gateway")

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 60.0
STEADY: Final = 2.0
"""Seconds up after which a loss is a new one, and the back-off begins again. What comes up only to fall at once
would otherwise be tried twice a second for ever."""


class Health(StrEnum):
    """Where a supervised task stands."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    STOPPED = "stopped"


class Backoff:
    """Delays of 0.5 s doubling to 60 s, each spread over its upper half by ``random`` (0 to 1).

    offset  seconds added to the first delay after something has worked: what many lose in one moment is not asked
            for by all of them in the next one
    """

    __slots__ = ("_extra", "_next", "_offset", "_random")

    def __init__(self, random: Callable[[], float], offset: float = 0.0) -> None:
        self._random = random
        self._next = FIRST_DELAY
        self._offset = offset
        self._extra = 0.0

    def delay(self) -> float:
        """The next delay in seconds."""
        delay = self._next * (0.5 + 0.5 * self._random()) + self._extra
        self._next = min(self._next * 2, LONGEST_DELAY)
        self._extra = 0.0
        return delay

    def reset(self) -> None:
        """It worked: begin at the shortest delay again."""
        self._next = FIRST_DELAY
        self._extra = self._offset


def share_of(name: str) -> float:
    """0 <= x < 1, the same for a name on every machine and at every start, and far apart for names that are alike."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64


def _nothing() -> None:
    """Nobody is told."""


class Supervised:
    """One task that is kept alive, and what to say about it.

    kind, name  for logs and status, as ("device", "boiler")
    run         the life of one attempt; it calls ``up()`` when it works
    offset      see Backoff
    """

    def __init__(
        self,
        kind: str,
        name: str,
        run: Callable[[Callable[[], None]], Awaitable[None]],
        *,
        random: Callable[[], float],
        metrics: Metrics,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_change: Callable[[], None] = _nothing,
        offset: float = 0.0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.health = Health.STARTING
        self.last_error = ""
        self.restarts = 0
        self._run = run
        self._backoff = Backoff(random, offset)
        self._metrics = metrics
        self._now = now
        self._sleep = sleep
        self._up_at: float | None = None
        self._on_change = on_change
        self._bugs: set[str] = set()
        self._is_ending = False

    def end_with(self, task: asyncio.Task[None]) -> None:
        """End ``task``, which is that of ``supervise``. Not every library lets a cancellation through: some make an
        error of their own of it, and that must not be the beginning of another attempt."""
        self._is_ending = True
        task.cancel()

    async def supervise(self) -> None:
        """Run until ended."""
        try:
            while True:
                self._up_at = None
                error = await self._attempt()
                if self._is_ending:
                    return
                if self._up_at is not None and self._now() - self._up_at >= STEADY:
                    self._backoff.reset()
                delay = self._backoff.delay()
                if isinstance(error, Retry) and error.after is not None:
                    delay = error.after
                self.restarts += 1
                await self._sleep(delay)
        finally:
            self._change(Health.STOPPED)
            # Who is told holds us, and we hold the part: let go, so that a part that was replaced is freed at once.
            self._on_change = _nothing

    async def _attempt(self) -> Exception | None:
        """One life of the task, and what ended it."""
        try:
            await self._run(self._up)
        except GatewayError as error:
            self._down(str(error))
            return error
        except Exception as error:
            self._bug(error)
            return error
        self._down("ended")
        return None

    def _up(self) -> None:
        if self.health is not Health.UP:
            log.info("%s up", self.kind, extra={"event": "up", self.kind: self.name})
        self._up_at = self._now()
        self.last_error = ""
        self._change(Health.UP)

    def _down(self, text: str) -> None:
        if self._is_ending:
            return
        # One line when it goes down; the same state with another reason is worth one more.
        if self.health is not Health.DOWN or text != self.last_error:
            log.warning("%s down", self.kind, extra={"event": "down", self.kind: self.name, "reason": text})
        self.last_error = text
        self._metrics.count(f"{self.kind}_down")
        self._change(Health.DOWN)

    def _bug(self, error: Exception) -> None:
        self._metrics.count("bugs")
        self.last_error = f"internal error: {type(error).__name__}: {error}"
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{type(error).__name__}@{frames[-1].filename}:{frames[-1].lineno}" if frames else repr(error)
        if place not in self._bugs and len(self._bugs) < 100:
            self._bugs.add(place)
            log.error("%s failed: internal error", self.kind, exc_info=error, extra={self.kind: self.name})
        self._change(Health.DOWN)

    def _change(self, health: Health) -> None:
        if health is not self.health:
            self.health = health
            self._on_change()

    def status(self) -> dict[str, object]:
        """State, last error, and how often it was started again."""
        return {"state": str(self.health), "last_error": self.last_error, "restarts": self.restarts}
