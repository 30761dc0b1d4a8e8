"""Commands to the points of one device: checked, carried out once, answered.

A command arrives at ``<topic>/<point>/set``: a bare value, or ``{"id", "value", "expires"}``. Without an ``id`` the
correlation data of MQTT 5 are its id; without those each arrival is a command of its own. Its answer goes to
``<topic>/<point>/set/result`` as ``{"id", "status", "value" | "reason"}``, with QoS 1. ``status`` is

    done       written and read back; ``value`` is what was read back
    rejected   can never work: no such point, read-only, out of limits, wrong type, no room
    expired    came too late; nothing was written
    failed     the device is away or did not do it; ``reason`` says if it may have been written

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
from datetime import datetime
from typing import Any, Final, Protocol

from gateway.broker.port import Done, Publisher, Subscriber
from gateway.clock import Clock
from gateway.connectors.points import PointSettings
from gateway.errors import GatewayError, Rejected, Retry
from gateway.message import CORRELATION_DATA, Message, Value

QUEUE: Final = 64
"""Commands that may wait for one device. More are rejected as busy: a command is worth little when it is old."""

TIME_LIMIT: Final = 10.0
"""Seconds that one write and its read-back may take."""

LONGEST_ID: Final = 128
"""Characters of a command's id; it is stored in the ledger and echoed."""

_FAR_FUTURE: Final = 1e11
"""Seconds since 1970 that no clock shows; a time in milliseconds is beyond it and is not taken for seconds."""

CLOCK_SET: Final = 1_600_000_000.0
"""2020-09: a wall clock before this was never set, and cannot tell whether a command came in time."""

STOPPING: Final = "the command desk stops"
INTERRUPTED: Final = "unknown: stopped between write and answer"


class Ledger(Protocol):
    """What the desk keeps over a restart. The store implements it; tests keep a dict."""

    async def begin(self, device: str, id: str, point: str) -> dict[str, Any] | None:
        """Enter a command as ``open`` and return None when that is safe on disk. If the id is known already,
        change nothing and return its result: ``{"status": ..., "value" | "reason": ...}``, status may be ``open``."""

    async def finish(self, device: str, id: str, status: str, result: dict[str, Any]) -> None:
        """Close an entry; returns when that is safe on disk. ``result`` holds ``value`` or ``reason``."""

    async def open_entries(self, device: str) -> list[tuple[str, str]]:
        """(id, point) of the commands that were begun and not finished, in their order."""


class _Command:
    """One command as it was asked for."""

    __slots__ = ("point", "id", "value", "expires_time", "expires_now", "hops", "done")

    def __init__(
        self, point: str, message: Message, done: Done | None, make_id: Callable[[], str], clock: Clock
    ) -> None:
        """Raises Rejected for a payload that means nothing."""
        self.point = point
        self.expires_now = message.expires
        self.hops = message.hops
        self.done = done
        value = message.value
        fields = value if isinstance(value, dict) else {"value": value}
        self.id = _id(fields.get("id"), lambda: _correlation(message) or make_id())
        if message.retain:
            raise Rejected("a command must not be retained: it would be repeated to everyone who subscribes")
        if "value" not in fields:
            raise Rejected('needs "value"; send a bare value or {"id": ..., "value": ...}')
        unknown = sorted(set(fields) - {"id", "value", "expires"})
        if unknown:
            raise Rejected(f'unknown key "{unknown[0]}"; known keys: id, value, expires')
        self.value: Value = fields["value"]
        self.expires_time = _expiry(fields.get("expires"))
        if self.expires_time is not None:
            # Once and for all: a step of the clock while it waits must neither end nor prolong its life.
            until = clock.now() + (self.expires_time - clock.time())
            self.expires_now = until if self.expires_now is None else min(until, self.expires_now)

    def is_expired(self, clock: Clock) -> bool:
        """Whether it came too late by the sender's clock time or by its MQTT expiry."""
        return self.expires_now is not None and clock.now() >= self.expires_now


def _correlation(message: Message) -> str:
    """Correlation data as an id: the text itself, else in hexadecimal; empty when there is none that can be one."""
    for identifier, value in message.props:
        if identifier == CORRELATION_DATA and value:
            try:
                text = bytes(value).decode()
            except UnicodeDecodeError:
                text = ""
            id = text if text.isprintable() and text else bytes(value).hex()
            return id if len(id) <= LONGEST_ID else ""
    return ""


def _id(given: Any, make_id: Callable[[], str]) -> str:
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if given is None or given == "":
        return make_id()
    if not isinstance(given, str) or len(given) > LONGEST_ID:
        raise Rejected(f"id must be text of at most {LONGEST_ID} characters")
    return given


def _expiry(given: Any) -> float | None:
    """Wall clock seconds from RFC 3339 text or from seconds since 1970."""
    if given is None:
        return None
    if isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < _FAR_FUTURE:
        return float(given)
    if isinstance(given, str):
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return moment.timestamp()
    raise Rejected(f'expires must be like "2026-11-21T05:29:06Z" or seconds since 1970, not {given!r}')


class Desk(Subscriber):
    """The command desk of one device. Subscribe it to ``<topic>/+/set`` and keep ``run`` alive.

    device   name of the device; the ledger's key
    topic    the device's topic
    points   its points by name
    write    carries a checked command out; raises Rejected or Retry (``Connector.write``)
    ready    returns when there is somebody to write to (``Connector.ready``); a command waits for that while it is good
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
    ) -> None:
        self._device = device
        self._topic = topic
        self._points = points
        self._write = write
        self._publisher = publisher
        self._ledger = ledger
        self._clock = clock
        self._ready = ready
        self._waiting: asyncio.Timeout | None = None
        self._time_limit = time_limit
        self._capacity = capacity
        self._make_id = make_id
        self._queue: deque[_Command] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closing = False
        self._counts = {"done": 0, "rejected": 0, "expired": 0, "failed": 0}

    def deliver(self, message: Message, done: Done | None) -> bool:
        """Queue a command. ``done`` is called when it is safe in the ledger, or answered without being entered."""
        if self._is_closing:
            if done is not None:
                done(Retry(STOPPING))
            return True
        point = message.topic.removeprefix(f"{self._topic}/").removesuffix("/set")
        try:
            command = _Command(point, message, done, self._make_id, self._clock)
            if len(self._queue) >= self._capacity:
                raise Rejected(f"busy: {self._capacity} commands wait for this device already")
        except Rejected as error:
            value = message.value
            given = value.get("id") if isinstance(value, dict) else None
            id = _shown_id(given) or self._make_id()
            self._answer(point, id, "rejected", {"reason": str(error)}, message.hops)
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
            _settle(self._queue.popleft(), Retry(STOPPING))

    async def _close_interrupted(self) -> None:
        for id, point in await self._ledger.open_entries(self._device):
            await self._finish(point, id, "failed", {"reason": INTERRUPTED})

    async def _carry_out(self, command: _Command) -> None:
        try:
            known = await self._ledger.begin(self._device, command.id, command.point)
        except GatewayError as error:
            _settle(command, error)
            reason = f"cannot be recorded: {error}"
            self._answer(command.point, command.id, "failed", {"reason": reason}, command.hops)
            return
        except asyncio.CancelledError:
            _settle(command, Retry(STOPPING))
            raise
        _settle(command, None)
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

    async def _result(self, command: _Command) -> tuple[str, dict[str, Any]]:
        if command.expires_time is not None and self._is_clock_unset():
            reason = "the clock of the gateway is not set: nobody can say whether it came in time; nothing was written"
            return "failed", {"reason": reason}
        if command.is_expired(self._clock):
            return "expired", {"reason": "it came after the time it was good for; nothing was written"}
        try:
            self._check(command)
            if self._ready is not None and not await self._reached(command, self._ready):
                if self._is_closing:
                    return "failed", {"reason": "the gateway stops before the device is awake; nothing was written"}
                return "expired", {"reason": "the device slept for as long as it was good; nothing was written"}
            async with asyncio.timeout(self._time_limit):
                return "done", {"value": await self._write(command.point, command.value)}
        except Rejected as error:
            return "rejected", {"reason": str(error)}
        except TimeoutError:
            return "failed", {"reason": f"unknown: no answer within {self._time_limit:g} s; it may have been written"}
        except Retry as error:
            return "failed", {"reason": str(error)}

    async def _reached(self, command: _Command, ready: Callable[[], Awaitable[None]]) -> bool:
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

    def _check(self, command: _Command) -> None:
        """Raises Rejected for what no device should be asked."""
        point = self._points.get(command.point)
        if point is None:
            known = ", ".join(sorted(self._points)[:10])
            raise Rejected(f'{self._device} has no point "{command.point[:64]}"; it has {known}')
        if point.write is None:
            raise Rejected(f'"{command.point}" is read-only; its settings have no write = {{ }}')
        value = command.value
        if not isinstance(value, bool | int | float | str):
            raise Rejected("value must be a number, true, false or text")
        if isinstance(value, float) and not math.isfinite(value):
            raise Rejected("value must be a finite number")
        refusal = point.write.refusal(value)
        if refusal:
            raise Rejected(f"value {refusal}")

    async def _finish(self, point: str, id: str, status: str, result: dict[str, Any], hops: int = 0) -> None:
        # Ledger before answer: an answer that nobody remembers could be contradicted after a stop.
        await self._ledger.finish(self._device, id, status, result)
        self._answer(point, id, status, result, hops)

    def _answer(self, point: str, id: str, status: str, result: Mapping[str, Any], hops: int) -> None:
        self._counts[status] = self._counts.get(status, 0) + 1
        key = "value" if "value" in result else "reason"
        value = {"id": id, "status": status, key: result.get(key)}
        topic = f"{self._topic}/{point}/set/result"
        source = f"device:{self._device}"
        # The hops of the command: a rule that answers results with commands must not go round for ever.
        self._publisher.publish(Message(topic, qos=1, time=self._clock.time(), source=source, hops=hops, value=value))

    def status(self) -> dict[str, Any]:
        """Commands that wait, and answers given by status."""
        return {"waiting": len(self._queue), **self._counts}


def _shown_id(given: Any) -> str | None:
    """The sender's id to answer a command that was refused unread; None when it has none that can be echoed."""
    try:
        return _id(given, str) or None
    except Rejected:
        return None


def _settle(command: _Command, error: BaseException | None) -> None:
    if command.done is not None:
        command.done(error)
        command.done = None
