"""The gateway's wall clock: looked at once a second, its history kept, its word passed on to those who need it.

``clock_watch.py`` decides what the time is, ``store/epochs.py`` keeps what became of it, ``store/dating.py`` puts
stored rows right; here they are put together, and asked for by the uplinks (``outbound.Timing``), alarms and status.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from gateway.clock import EARLIEST, Clock, SteadyClock, iso_time
from gateway.clock_watch import ClockState, ClockWatch, Step
from gateway.config.time import Time
from gateway.errors import GatewayError
from gateway.outbound import Row
from gateway.store.boots import Boots
from gateway.store.dating import Dating
from gateway.store.db import Database
from gateway.store.epochs import KEEP, Epoch, add_epoch, load_history, save_moment
from gateway.time_source import TimeSource

log = logging.getLogger("gateway.clock")

SAVE_EVERY: Final = 600.0
"""Seconds between two notes of the time on disk; a start without a clock goes on from the last."""

SAVE_WITHIN: Final = 60.0
"""Seconds that such a note may wait for something else to be written with."""

UNSET_ALARM: Final = 3600.0
"""Seconds without the time until somebody should look."""

STEP_ALARM: Final = 3600.0
"""Seconds that a step which was too large stands as an alarm."""


class Numbers(Protocol):
    """What is needed of the outbox."""

    @property
    def last(self) -> int:
        """The newest number that a row has got."""


class Timekeeper:
    """See the module's docstring. ``machine``: the clocks of this machine; ``clock`` is the one for everybody else.

    Use it between ``begin`` and ``close``; before that ``clock`` is what the machine says.
    """

    def __init__(
        self, machine: Clock, settings: Time, is_synchronised: Callable[[], bool | None] | None = None
    ) -> None:
        self.clock = SteadyClock(machine)
        self._settings = settings
        self._ask = TimeSource().is_synchronised if is_synchronised is None else is_synchronised
        self._watch = ClockWatch(*self.clock.read(), seen=0.0, trust=settings.source == "trust")
        self._dating: Dating | None = None
        self._boots: Boots | None = None
        self._numbers: Numbers | None = None
        self._database: Database | None = None
        self._unsaved: deque[Epoch] = deque(maxlen=KEEP)
        self._saved_at = 0.0
        self._too_far: Step | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    # -- life ----------------------------------------------------------------------------------------------

    async def open(self, database: Database) -> float:
        """Recall what earlier starts have seen; from here on the clock is never before it, unless it is synchronised.

        Returns when this start is, 0 if nobody knows. Raises what ``Database.read`` raises.
        """
        self._database = database
        self._history = await database.read(load_history)
        now, time = self.clock.read()
        self._watch = ClockWatch(now, time, self._history.seen, self._settings.source == "trust")
        self._watch.look(now, time, self._ask())
        self._watch.step = None  # how the clock came to what it is before this start is no step
        self._follow()
        return 0.0 if self._watch.state is ClockState.UNSET else self.clock.time()

    def begin(self, boots: Boots, numbers: Numbers) -> None:
        """The outbox is loaded: rows are dated from here on. The first epoch of a start has all its numbers."""
        self._boots, self._numbers = boots, numbers
        self._dating = Dating(boots, self.clock, self._history)
        self._saved_at = self.clock.now()
        self._add(0)

    def tick(self) -> None:
        """Look at the clock; about once a second, between two turns of the loop."""
        now, time = self.clock.read()
        watch, machine = self._watch, self._watch.machine
        changed = watch.look(now, time, self._ask())
        if changed:
            self._follow()
            self._say(now)
            if self._numbers is not None:
                self._add(self._numbers.last + 1)
        if changed or watch.machine != machine:
            self._wake()
        self._save_epochs()
        if now - self._saved_at >= SAVE_EVERY:
            self._saved_at = now
            self._save_moment(SAVE_WITHIN)

    def close(self) -> None:
        """Note the time for the next start."""
        self._save_epochs()
        self._save_moment(0.0)
        self._wake()

    def _follow(self) -> None:
        self.clock.offset, self.clock.least = self._watch.offset, self._watch.least

    def _say(self, now: float) -> None:
        watch = self._watch
        step = watch.step if watch.step is not None and watch.step.now == now else None
        log.info(
            "clock changed",
            extra={"state": str(watch.state), "time": iso_time(now + watch.offset), "step": step and step.seconds},
        )
        # The first setting of a clock that was not set is what everybody waits for.
        if step is not None and step.before is not ClockState.UNSET and abs(step.seconds) > self._settings.step_alarm:
            self._too_far = step

    # -- what is kept --------------------------------------------------------------------------------------

    def _add(self, seq: int) -> None:
        boots, dating, watch = self._boots, self._dating, self._watch
        assert boots is not None and dating is not None, "begin comes first"
        epoch = Epoch(boots.number, seq, boots.uptime() if seq else 0.0, watch.offset + boots.start, watch.state)
        dating.begin(epoch)
        self._unsaved.append(epoch)
        # Now, so that it is in the transaction of the first row that needs it, or before.
        self._save_epochs()

    def _save_epochs(self) -> None:
        database, boots = self._database, self._boots
        while self._unsaved and database is not None and boots is not None:
            epoch = self._unsaved[0]
            least = self._watch.least
            started = None if epoch.state is ClockState.UNSET else boots.start + least
            try:
                database.write(
                    partial(add_epoch, epoch=epoch, started=started), partial(self._kept, epoch), size=0, within=1.0
                )
            except GatewayError:  # closed: the next start knows less of the clock of this one
                return
            self._unsaved.popleft()

    def _kept(self, epoch: Epoch, result: None, error: BaseException | None) -> None:
        if error is not None:
            self._unsaved.append(epoch)  # tried again with the next look

    def _save_moment(self, within: float) -> None:
        database, boots = self._database, self._boots
        time = self.clock.time()
        if database is None or boots is None:
            return
        work = partial(save_moment, boot=boots.number, seen=time if time >= EARLIEST else 0.0, up=boots.uptime())
        with suppress(GatewayError):  # closed
            database.write(work, size=0, within=within)

    # -- for uplinks, see ``outbound.Timing`` --------------------------------------------------------------

    def date(self, row: Row) -> Row:
        return row if self._dating is None else self._dating(row)

    def date_all(self, rows: list[Row]) -> list[Row]:
        return rows if self._dating is None else self._dating.all(rows)

    def unset(self) -> str | None:
        now, time = self.clock.read()
        return self._words(time) if time < EARLIEST else None

    def doubtful(self) -> str | None:
        _, time = self.clock.read()
        known = self._watch.state is ClockState.SYNCHRONISED and abs(self._watch.deviation) < 1.0
        return None if known else self._words(time)

    def _words(self, time: float) -> str:
        return f"the clock of this machine says {iso_time(time)} and is {self._watch.state}"

    def held(self) -> float:
        boots = self._boots
        if not self._settings.hold or self._watch.state is ClockState.SYNCHRONISED or boots is None:
            return 0.0
        return max(0.0, self._settings.hold - boots.uptime())

    async def changed(self, within: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=within)
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- for people ----------------------------------------------------------------------------------------

    def alarms(self) -> dict[str, str | None]:
        """``clock``: not set for an hour, or stepped too far within the last one. None: all is well."""
        now, watch = self.clock.now(), self._watch
        if watch.state is ClockState.UNSET and now - watch.since >= UNSET_ALARM:
            return {
                "clock": f"{self._words(now + watch.machine)} for {now - watch.since:.0f} s; set it, "
                "or let a time server do it"
            }
        step = self._too_far
        if step is None or now - step.now >= STEP_ALARM:
            return {"clock": None}
        return {"clock": f"the clock stepped by {step.seconds:+.3f} s at {iso_time(step.now + watch.offset)}"}

    def status(self) -> dict[str, Any]:
        """State, how far the machine's clock is from ours, the epochs of this start and the last step; JSON types."""
        watch, dating, boots = self._watch, self._dating, self._boots
        step = watch.step
        epochs = dating.epochs if dating is not None else []
        return {
            "state": str(watch.state),
            "time": iso_time(self.clock.time()),
            "source": self._settings.source,
            "synchronised": self._ask(),
            "deviation": round(watch.deviation, 3),
            "held": round(self.held(), 1),
            "last_step": None
            if step is None or boots is None
            else {"uptime": round(step.now - boots.start, 3), "seconds": round(step.seconds, 3)},
            "epochs": [
                {"uptime": round(one.up, 3), "state": str(one.state), "started": iso_time(one.base)} for one in epochs
            ],
        }
