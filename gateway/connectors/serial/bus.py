"""One serial line, shared by all devices on it: one owner, one question at a time, in turns.

The line is opened by whoever needs it first and closed by the last to leave. What arrives goes to everybody who
listens; whoever waits for bytes reads for all (``_receive``), so there is no task for it. A device that does not
answer is asked more and more rarely (``breaker.py``).

After a question without an answer, also one that was cancelled, the line must be silent for a while before the next
one: the answer may still come, and would be taken for another. So it is after an answer that was followed by more.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final

from gateway.clock import Clock
from gateway.connectors.breaker import Breaker
from gateway.connectors.line_errors import LineErrors
from gateway.connectors.serial.dialog import Dialog, Done, Pause, Send, Silent, Speed, Step
from gateway.connectors.serial_line import Address, SerialAddress
from gateway.connectors.serial_port import Wire, open_wire
from gateway.connectors.tap import Tap, text_of
from gateway.connectors.turns import Turns, Urgency
from gateway.connectors.veil import Flow, Veil
from gateway.errors import Retry

MOST: Final = 65_536
"""Bytes that wait for a listener; the oldest go, and are counted."""

SEND_LIMIT: Final = 2.0
"""Seconds that sending may take longer than its bytes."""

BABBLE: Final = 10
"""Times the silence that is waited for; a line that speaks on is used all the same."""


class Skipped(Silent):
    """The device was not asked: it has not answered before, and is left alone for now."""


class Inbox:
    """Bytes that one listener has not taken yet."""

    __slots__ = ("lost", "_data")

    def __init__(self) -> None:
        self.lost = 0
        self._data = bytearray()

    def __bool__(self) -> bool:
        return bool(self._data)

    def add(self, data: bytes) -> None:
        """More has arrived."""
        self._data += data
        surplus = len(self._data) - MOST
        if surplus > 0:
            del self._data[:surplus]
            self.lost += surplus

    def take(self) -> bytes:
        """All of it."""
        data = bytes(self._data)
        self._data.clear()
        return data


Open = Callable[[Address, float], Awaitable[Wire]]
Sleep = Callable[[float], Awaitable[None]]


class LineBus:
    """One line. ``open``, ``random`` and ``sleep`` are for tests."""

    def __init__(
        self,
        address: Address,
        clock: Clock,
        *,
        open: Open = open_wire,
        random: Callable[[], float] = random.random,
        sleep: Sleep = asyncio.sleep,
        tap: Tap | None = None,
    ) -> None:
        self.address = address
        self._tap = tap or Tap()
        self._clock = clock
        self._open = open
        self._random = random
        self._sleep = sleep
        self._wire: Wire | None = None
        self._baud: int | None = None
        self._opening = asyncio.Lock()
        self._pumping = asyncio.Lock()
        self._turns = Turns()
        self._inboxes: list[Inbox] = []
        self._members: Counter[str] = Counter()
        self._breakers: dict[str, Breaker] = {}
        self._veil = Veil()
        self._flow = Flow()
        self._unsettled = 0.0
        self._is_unsettled = False
        self._ended = 0.0

    @asynccontextmanager
    async def member(self, name: str, timeout: float) -> AsyncIterator[Member]:
        """Take part in the line for the length of the block, open at its begin. Raises Retry when it is away."""
        self._members[name] += 1
        try:
            await self._reach(timeout)
            yield Member(self, name)
        finally:
            self._members -= Counter((name,))
            if not self._members and self._wire is not None:
                self._wire.close()
                self._wire = None

    async def _reach(self, timeout: float) -> None:
        async with self._opening:
            if self._wire is not None and self._wire.is_open:
                return
            if self._wire is not None:
                self._wire.close()
            # What is plugged in again may be another device: nobody waits out a back-off.
            self._breakers.clear()
            self._is_unsettled = False
            self._baud = None
            self._wire = await self._open(self.address, timeout)

    def hide(self, secrets: Iterable[bytes]) -> None:
        """Show these bytes to nobody who listens to the tap."""
        self._veil = self._veil.with_more(secrets)

    def errors(self) -> LineErrors | None:
        """What the driver has counted; None where it does not, or the line is closed."""
        return None if self._wire is None else self._wire.errors()

    def breaker(self, name: str) -> Breaker:
        """The breaker of one device."""
        if name not in self._breakers:
            self._breakers[name] = Breaker(self._random)
        return self._breakers[name]

    async def ask(self, name: str, dialog: Dialog, urgency: Urgency, silence: float, pause: float) -> None:
        """Run a dialog when it is the device's turn. Raises Silent, Skipped, Retry."""
        self._check(name)
        async with self._turns.turn(name, urgency):
            wire = self._check(name)  # another question to the device may have gone unanswered in the meantime
            await self._settle(wire, pause)
            started = self._clock.now()
            is_clean = False
            try:
                with self.listen() as inbox:
                    is_clean = await self._run(wire, dialog, inbox)
            except Silent as error:
                if self._tap.on:
                    self._tap.tell("!", b"", f"{name}: {error}")
                now = self._clock.now()
                self.breaker(name).timed_out(now, now - started, is_alone=len(self._members) <= 1)
                raise
            finally:
                if not is_clean:
                    self._unsettled, self._is_unsettled = silence, True
                self._ended = self._clock.now()
            self.breaker(name).answered()

    @contextmanager
    def listen(self) -> Iterator[Inbox]:
        """Hear all that arrives, for the length of the block."""
        inbox = Inbox()
        self._inboxes.append(inbox)
        try:
            yield inbox
        finally:
            self._inboxes.remove(inbox)

    async def heard(self, inbox: Inbox) -> bytes:
        """What has arrived for this listener, at least one byte. Raises Retry when the line is lost."""
        wire = self._wire
        if wire is None:
            raise Retry("not connected")
        return await self._receive(wire, inbox)

    def _check(self, name: str) -> Wire:
        if name not in self._members or self._wire is None:
            # Its device has gone in the meantime.
            raise Retry("not connected")
        now = self._clock.now()
        breaker = self.breaker(name)
        if not breaker.may_ask(now):
            raise Skipped(f"does not answer; asked again in {breaker.not_before - now:.1f} s")
        return self._wire

    async def _settle(self, wire: Wire, pause: float) -> None:
        """Wait until a question may be asked; what arrives by then is no answer to it."""
        self._give(wire.take())
        wait = self._ended + pause - self._clock.now()
        if wait > 0:
            await self._sleep(wait)
        if self._is_unsettled:
            until = self._clock.now() + BABBLE * self._unsettled
            with self.listen() as inbox:
                while self._clock.now() <= until and await self._within(self._unsettled, wire, inbox):
                    pass
            self._is_unsettled = False
        self._give(wire.take())

    async def _run(self, wire: Wire, dialog: Dialog, inbox: Inbox) -> bool:
        """Whether nothing more is to come behind the answer."""
        try:
            steps = dialog.begin()
            while True:
                for step in steps:
                    if isinstance(step, Done):
                        return step.is_quiet and not inbox
                    await self._take(wire, step)
                dialog.waits(self._clock.now())
                steps = []
                while not steps:
                    steps = await self._next(wire, dialog, inbox)
        finally:
            if wire.is_open:
                self._set_speed(wire, None)

    async def _next(self, wire: Wire, dialog: Dialog, inbox: Inbox) -> list[Step]:
        data = await self._within(dialog.next_timer() - self._clock.now(), wire, inbox)
        now = self._clock.now()
        return dialog.feed(data, now) if data else dialog.on_timer(now)

    async def _within(self, seconds: float, wire: Wire, inbox: Inbox) -> bytes:
        """What arrives within so many seconds; nothing when nothing does."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                return await self._receive(wire, inbox)
        except TimeoutError:
            # Where the gateway was held up, bytes may have come in time and lie with the driver: one more look. The
            # loop asks the system in the first turn, and reads in the second.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._give(wire.take())
            return inbox.take()

    async def _take(self, wire: Wire, step: Step) -> None:
        if isinstance(step, Send):
            if self._tap.on:
                shown = self._veil.data(step.data)
                self._tap.tell(">", shown, text_of(shown))
            line = self.address.line if isinstance(self.address, SerialAddress) else None
            await wire.send(step.data, SEND_LIMIT + len(step.data) * (line.char_time if line else 0.0))
        elif isinstance(step, Pause):
            await self._sleep(step.seconds)
        elif isinstance(step, Speed):
            self._set_speed(wire, step.baud)

    def _set_speed(self, wire: Wire, baud: int | None) -> None:
        if isinstance(self.address, SerialAddress) and baud != self._baud:
            line = self.address.line
            wire.set_line(line if baud is None else replace(line, baud=baud))
            self._baud = baud

    async def _receive(self, wire: Wire, inbox: Inbox) -> bytes:
        while not inbox:
            async with self._pumping:
                if not inbox:
                    self._give(await wire.receive())
        return inbox.take()

    def _give(self, data: bytes) -> None:
        if data and self._tap.on:
            shown = self._flow.data(self._veil, data)
            self._tap.tell("<", shown, text_of(shown))
        for inbox in self._inboxes:
            inbox.add(data)


class Member:
    """One device's part in a line."""

    __slots__ = ("_bus", "_name")

    def __init__(self, bus: LineBus, name: str) -> None:
        self._bus = bus
        self._name = name

    async def ask(self, dialog: Dialog, urgency: Urgency, silence: float, pause: float = 0.0) -> None:
        """Run a dialog; see ``LineBus.ask``."""
        await self._bus.ask(self._name, dialog, urgency, silence, pause)

    def limit(self, normal: float) -> float:
        """Seconds to wait for the next answer; shorter while the device does not answer."""
        return self._bus.breaker(self._name).time_limit(normal)

    def urgency(self, poll: float) -> Urgency:
        """Of a poll that is made every ``poll`` seconds."""
        return Urgency.PROBE if self._bus.breaker(self._name).is_open else Urgency.of(poll)
