"""One Modbus TCP endpoint, shared by all devices behind it.

A gateway with a serial line behind it can do one thing at a time, and a device that is switched off costs a
time-out each time it is asked. So there is one ``Bus`` for each endpoint, one connection, one question at a time,
in turns (``turns.py``), writes first; and each unit has a breaker (``breaker.py``).

The connection is opened by whoever needs it first. When it breaks under a question, that device is told with
``Retry`` and comes back through its supervisor; when it is found closed before a question, as after an idle time,
it is opened again at once. Two time-outs in a row without an answer from anybody close it: it may be half open.
A single time-out does not: late answers are told by their transaction id.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar

from gateway.clock import Clock
from gateway.connectors.breaker import Breaker
from gateway.connectors.modbus import client as modbus
from gateway.connectors.modbus.client import DeviceError, Timeout
from gateway.connectors.modbus.config import Endpoint
from gateway.connectors.turns import Turns, Urgency
from gateway.errors import Retry

T = TypeVar("T")

SILENCE: Final = 2
"""Time-outs in a row, of any units, after which the connection is made anew."""

_UNIT_IS_MUTE: Final = (10, 11)
"""Exceptions in which a gateway says that the unit did not answer it."""


class Skipped(Timeout):
    """The unit was not asked: it has not answered before, and is left alone for now."""


class Connection(Protocol):
    """What a bus needs of a client; ``client.Client`` is one."""

    @property
    def is_connected(self) -> bool: ...
    async def read(self, table: str, unit: int, address: int, count: int, timeout: float) -> list[int]: ...
    async def write(
        self, table: str, unit: int, address: int, values: Sequence[int], timeout: float, *, as_block: bool = False
    ) -> None: ...
    def close(self) -> None: ...


Connect = Callable[[Endpoint, float], Awaitable[Connection]]


class Bus:
    """One endpoint. ``connect`` and ``random`` are for tests."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        connect: Connect = modbus.connect,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._connect = connect
        self._random = random
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._attempts = 0
        self._refusal = ""
        self._turns = Turns()
        self._members: Counter[int] = Counter()
        self._breakers: dict[int, Breaker] = {}
        self._silence = 0

    @asynccontextmanager
    async def member(self, unit: int, timeout: float) -> AsyncIterator[Member]:
        """Take part in the bus for the length of the block, connected at its begin. Raises Retry when the endpoint
        is away. The last one to leave closes the connection."""
        self._members[unit] += 1
        try:
            if not self._is_connected():
                # Whatever was wrong, a new connection may be a restarted device: nobody waits out a back-off.
                self._breakers.clear()
                await self._reach(timeout)
            yield Member(self, unit, timeout)
        finally:
            self._members -= Counter((unit,))
            if not self._members:
                self._hang_up()

    def breaker(self, unit: int) -> Breaker:
        """The breaker of one unit."""
        if unit not in self._breakers:
            self._breakers[unit] = Breaker(self._random)
        return self._breakers[unit]

    async def ask(
        self, unit: int, timeout: float, is_urgent: bool, question: Callable[[Connection, float], Awaitable[T]]
    ) -> T:
        """Put one question when it is the unit's turn. Raises Timeout, Skipped, DeviceError, Retry."""
        self._check(unit)
        is_probe = self.breaker(unit).is_open
        urgency = Urgency.WRITE if is_urgent else Urgency.PROBE if is_probe else Urgency.FAST
        async with self._turns.turn(unit, urgency):
            self._check(unit)  # another question to the same unit may have timed out in the meantime
            connection = await self._reach(timeout)
            breaker = self.breaker(unit)
            started = self._clock.now()
            try:
                answer = await question(connection, breaker.time_limit(timeout))
            except Timeout:
                self._timed_out(breaker, started)
                self._silence += 1
                if self._silence >= SILENCE:
                    self._hang_up()
                raise
            except DeviceError as error:
                self._silence = 0
                if error.code in _UNIT_IS_MUTE:
                    self._timed_out(breaker, started)
                    raise Timeout(f"unit {unit}: {error}") from None
                breaker.answered()
                raise
            except Retry:
                self._hang_up()
                raise
            self._silence = 0
            breaker.answered()
            return answer

    def _check(self, unit: int) -> None:
        if unit not in self._members:
            # Its device has gone in the meantime; nobody would close a connection opened for it.
            raise Retry("not connected")
        now = self._clock.now()
        breaker = self.breaker(unit)
        if not breaker.may_ask(now):
            raise Skipped(f"unit {unit} does not answer; asked again in {breaker.not_before - now:.1f} s")

    def _timed_out(self, breaker: Breaker, started: float) -> None:
        now = self._clock.now()
        breaker.timed_out(now, now - started, is_alone=len(self._members) <= 1)

    def _is_connected(self) -> bool:
        return self._connection is not None and self._connection.is_connected

    async def _reach(self, timeout: float) -> Connection:
        """The connection, opened if it is not. Those who wait for one attempt share its outcome."""
        seen = self._attempts
        async with self._connecting:
            if self._connection is not None:
                if self._connection.is_connected:
                    return self._connection
                self._hang_up()
            if self._attempts != seen:
                raise Retry(self._refusal)
            try:
                self._connection = await self._connect(self.endpoint, timeout)
            except Retry as error:
                self._attempts += 1
                self._refusal = str(error)
                raise
            self._silence = 0
            return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Member:
    """One device's part in a bus. Both verbs raise Timeout, Skipped, DeviceError or Retry.

    unit     unit identifier
    timeout  seconds for one answer of a unit that answers
    """

    __slots__ = ("_bus", "_unit", "_timeout")

    def __init__(self, bus: Bus, unit: int, timeout: float) -> None:
        self._bus = bus
        self._unit = unit
        self._timeout = timeout

    async def read(self, table: str, address: int, count: int, *, is_urgent: bool = False) -> list[int]:
        """``count`` registers or bits; see ``Client.read``."""
        unit = self._unit
        return await self._bus.ask(
            unit,
            self._timeout,
            is_urgent,
            lambda connection, timeout: connection.read(table, unit, address, count, timeout),
        )

    async def write(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        """Write registers or bits, before all polls; see ``Client.write``."""
        unit = self._unit
        await self._bus.ask(
            unit,
            self._timeout,
            True,
            lambda connection, timeout: connection.write(table, unit, address, values, timeout, as_block=as_block),
        )
