"""Commands to the points of one device: checked, carried out once, answered.

A command arrives at ``<topic>/<point>/set``: a bare value, or ``{"id", "value", "expires"}``. Without an ``id`` the
correlation data of MQTT 5 are its id; without those each arrival is a command of its own. Its answer goes to
``<topic>/<point>/set/result`` as ``{"id", "status", "value" | "reason"}``, with QoS 1. ``status`` is

    done       written and read back; ``value`` is what was read back
    rejected   can never work: no such point, read-only, out of limits, wrong type, no room
    expired    came too late; nothing was written
    failed     the device is away or did not do it; ``reason`` says if it may have been written

A point with ``write.arm`` takes two steps: ``{"id", "value"}`` to ``<topic>/<point>/arm``, answered ``armed`` at
``<topic>/<point>/arm/result``, then the same to ``set``. The rules of a point are kept by ``write_rules.Guard``.

The ledger knows every id: a command that comes again is answered again and not carried out again. A command that
a stop interrupted between write and answer is answered ``failed`` at the next start, and never repeated.

The desk does not know the device: it is given ``write``. It carries out one command at a time, in order.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from gateway.broker.port import Done, Publisher, Subscriber
from gateway.clock import Clock
from gateway.connectors.command import Command, shown_id
from gateway.connectors.points import PointSettings
from gateway.connectors.write_rules import Guard, Look
from gateway.errors import GatewayError, Rejected, Retry
from gateway.message import Message, Value

QUEUE: Final = 64
"""Commands that may wait for one device. More are rejected as busy: a command is worth little when it is old."""

TIME_LIMIT: Final = 10.0
"""Seconds that one write and its read-back may take."""

CLOCK_SET: Final = 1_600_000_000.0
"""2020-09: a wall clock before this was never set, and cannot tell whether a command came in time."""

SET: Final = "set"
ARM: Final = "arm"
"""Last levels of the topics that take commands."""

ANSWERED: Final = ("value", "seconds", "reason")
"""Keys of an answer after its id and status."""

STOPPING: Final = "the command desk stops"
INTERRUPTED: Final = "unknown: stopped between write and answer"


class Ledger(Protocol):
    """What the desk keeps over a restart. The store implements it; tests keep a dict."""

    async def begin(self, device: str, id: str, point: str, value: Value, by: str) -> dict[str, Any] | None:
        """Enter a command as ``open`` and return None when that is safe on disk. If the id is known already,
        change nothing and return its result: ``{"status": ..., "value" | "reason": ...}``, status may be ``open``.
        ``value`` is what was asked for and ``by`` who did, for the journal."""

    async def finish(self, device: str, id: str, status: str, result: dict[str, Any]) -> None:
        """Close an entry; returns when that is safe on disk. ``result`` holds ``value`` or ``reason``."""

    async def open_entries(self, device: str) -> list[tuple[str, str]]:
        """(id, point) of the commands that were begun and not finished, in their order."""


class Desk(Subscriber):
    """The command desk of one device. Subscribe it to each of ``filters`` and keep ``run`` alive.

    device   name of the device; the ledger's key
    topic    the device's topic
    points   its points by name
    write    carries a checked command out; raises Rejected or Retry (``Connector.write``)
    ready    returns when there is somebody to write to (``Connector.ready``); a command waits for that while it is good
    look     the last sample of a point of a device, for interlocks
    """

    def __init__(
        self,
        device: str,
        topic: str,
        points: Mapping[str, PointSettings],
        write: Callable[[str, Value], Awaitable[Value]],
        *,
        publisher: Publisher,
        ledger: Ledger,
        clock: Clock,
        ready: Callable[[], Awaitable[None]] | None = None,
        time_limit: float = TIME_LIMIT,
        capacity: int = QUEUE,
        make_id: Callable[[], str] = lambda: uuid.uuid4().hex,
        look: Look = lambda device, point: None,
    ) -> None:
        self._device = device
        self._topic = topic
        self._points = points
        self._look = look
        self._guard = Guard(device, points, look)
        self._write = write
        self._publisher = publisher
        self._ledger = ledger
        self._clock = clock
        self._ready = ready
        self._waiting: asyncio.Timeout | None = None
        self._time_limit = time_limit
        self._capacity = capacity
        self._make_id = make_id
        self._queue: deque[Command] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closing = False
        self._counts = {"done": 0, "rejected": 0, "expired": 0, "failed": 0}

    @property
    def filters(self) -> tuple[str, str]:
        """What the desk is to be subscribed to."""
        return f"{self._topic}/+/{SET}", f"{self._topic}/+/{ARM}"

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Queue a command. ``done`` is called when it is safe in the ledger, or answered without being entered."""
        if self._is_closing:
            if done is not None:
                done(Retry(STOPPING))
            return True
        point, _, verb = message.topic.removeprefix(f"{self._topic}/").rpartition("/")
        try:
            command = Command(point, verb == ARM, message, done, self._make_id, self._clock)
            if len(self._queue) >= self._capacity:
                raise Rejected(f"busy: {self._capacity} commands wait for this device already")
        except Rejected as error:
            id = shown_id(message.value) or self._make_id()
            self._answer(point, id, "rejected", {"reason": str(error)}, message.hops, verb)
            if done is not None:
                done(None)
            return True
        self._queue.append(command)
        self._wake.set()
        return True

    async def run(self) -> None:
        """Carry commands out until cancelled. Those that were not begun by then are given back to their sender."""
        try:
            await self._close_interrupted()
            while True:
                self._wake.clear()
                while self._queue:
                    self._idle.clear()
                    await self._carry_out(self._queue.popleft())
                self._idle.set()
                await self._wake.wait()
        finally:
            self._idle.set()
            self._give_back()

    async def drain(self) -> None:
        """Take no more commands, give back those that wait, and return when the one at work is answered."""
        self._is_closing = True
        self._give_back()
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())
        await self._idle.wait()

    def _give_back(self) -> None:
        while self._queue:
            self._queue.popleft().settle(Retry(STOPPING))

    async def _close_interrupted(self) -> None:
        for id, point in await self._ledger.open_entries(self._device):
            await self._finish(point, id, "failed", {"reason": INTERRUPTED})

    async def _carry_out(self, command: Command) -> None:
        if command.is_arm:
            command.settle(None)
            self._arm(command)
            return
        try:
            known = await self._ledger.begin(self._device, command.id, command.point, command.value, command.by)
        except GatewayError as error:
            command.settle(error)
            reason = f"cannot be recorded: {error}"
            self._answer(command.point, command.id, "failed", {"reason": reason}, command.hops)
            return
        except asyncio.CancelledError:
            command.settle(Retry(STOPPING))
            raise
        command.settle(None)
        if known is None:
            status, result = await self._result(command)
            await self._finish(command.point, command.id, status, result, command.hops)
        elif known["status"] == "open":
            await self._finish(command.point, command.id, "failed", {"reason": INTERRUPTED}, command.hops)
        else:
            self._answer(command.point, command.id, known["status"], known, command.hops)

    def _is_clock_unset(self) -> bool:
        """Also when it says an estimate: what is left to a command cannot be told by that."""
        return min(self._clock.time(), self._clock.surely(self._clock.now())) < CLOCK_SET

    def _arm(self, command: Command) -> None:
        """The first of two steps. It changes nothing on the plant, and is not in the ledger."""
        status, result = self._refusal_by_time(command) or ("", {})
        if not status:
            try:
                self._check(command)
                if not command.has_id:
                    raise Rejected('needs "id"; the set that follows must have the same')
                seconds = self._guard.arm(command.point, command.id, command.value, self._clock.now())
                status, result = "armed", {"value": command.value, "seconds": seconds}
            except Rejected as error:
                status, result = "rejected", {"reason": str(error)}
        self._answer(command.point, command.id, status, result, command.hops, ARM)

    def _refusal_by_time(self, command: Command) -> tuple[str, dict[str, Any]] | None:
        if command.expires_time is not None and self._is_clock_unset():
            reason = "the clock of the gateway is not set: nobody can say whether it came in time; nothing was written"
            return "failed", {"reason": reason}
        if command.is_expired(self._clock):
            return "expired", {"reason": "it came after the time it was good for; nothing was written"}
        return None

    async def _result(self, command: Command) -> tuple[str, dict[str, Any]]:
        late = self._refusal_by_time(command)
        if late is not None:
            return late
        point, value = command.point, command.value
        before = self._look(self._device, point)
        try:
            self._check(command)
            if self._ready is not None and not await self._reached(command, self._ready):
                if self._is_closing:
                    return "failed", {"reason": "the gateway stops before the device is awake; nothing was written"}
                return "expired", {"reason": "the device slept for as long as it was good; nothing was written"}
            # What held before it slept may not hold now.
            self._check(command)
            before = self._look(self._device, point)
            self._guard.fire(point, command.id, value, self._clock.now())
            self._guard.writes(point, self._clock.now())
            async with asyncio.timeout(self._time_limit):
                back = await self._write(point, value)
            difference = self._guard.compare(point, value, back)
            return ("failed", {"reason": difference}) if difference else ("done", {"value": back})
        except Rejected as error:
            return "rejected", {"reason": str(error)}
        except TimeoutError:
            return "failed", {"reason": f"unknown: no answer within {self._time_limit:g} s; it may have been written"}
        except Retry as error:
            # A kind compares exactly. What it has read back since may be near enough for the rules of the point.
            after = self._look(self._device, point)
            if after is not None and after is not before and self._guard.is_near(point, value, after):
                return "done", {"value": after.value}
            return "failed", {"reason": str(error)}

    async def _reached(self, command: Command, ready: Callable[[], Awaitable[None]]) -> bool:
        """Wait for a device that sleeps; False when the command was not good for so long, or the desk closes."""
        left = None if command.expires_now is None else command.expires_now - self._clock.now()
        try:
            async with asyncio.timeout(left) as self._waiting:
                await ready()
        except TimeoutError:
            return False
        finally:
            self._waiting = None
        return True

    def _check(self, command: Command) -> None:
        """Raises Rejected for what no device should be asked."""
        point = self._points.get(command.point)
        if point is None:
            known = ", ".join(sorted(self._points)[:10])
            raise Rejected(f'{self._device} has no point "{command.point[:64]}"; it has {known}')
        if point.write is None:
            raise Rejected(f'"{command.point}" is read-only; its settings have no write = {{ }}')
        value = command.value
        takes_list = isinstance(value, list) and getattr(point, "takes_lists", False)
        if not isinstance(value, bool | int | float | str) and not takes_list:
            raise Rejected("value must be a number, true, false or text")
        if isinstance(value, float) and not math.isfinite(value):
            raise Rejected("value must be a finite number")
        self._guard.check(command.point, value, self._clock.now())

    async def _finish(self, point: str, id: str, status: str, result: dict[str, Any], hops: int = 0) -> None:
        # Ledger before answer: an answer that nobody remembers could be contradicted after a stop.
        await self._ledger.finish(self._device, id, status, result)
        self._answer(point, id, status, result, hops)

    def _answer(self, point: str, id: str, status: str, result: Mapping[str, Any], hops: int, verb: str = SET) -> None:
        self._counts[status] = self._counts.get(status, 0) + 1
        value = {"id": id, "status": status} | {key: result[key] for key in ANSWERED if key in result}
        topic = f"{self._topic}/{point}/{verb}/result"
        source = f"device:{self._device}"
        # The hops of the command: a rule that answers results with commands must not go round for ever.
        self._publisher.publish(Message(topic, qos=1, time=self._clock.time(), source=source, hops=hops, value=value))

    def status(self) -> dict[str, Any]:
        """Commands that wait, and answers given by status."""
        return {"waiting": len(self._queue), **self._counts}
