"""One Modbus endpoint, TCP or a serial line, shared by all devices on it.

A line can do one thing at a time, and a device that is switched off costs a time-out each time it is asked. So there
is one ``Bus`` for each endpoint, one connection, one question at a time, in turns (``connectors/turns.py``), writes
first; and each unit has a breaker (``connectors/breaker.py``). What may still come from a unit that did not answer
in time is told from the next answer by ``doubt.py``.

The connection is opened by whoever needs it first. When it breaks under a question, that device is told with
``Retry`` and comes back through its supervisor; when it is found closed before a question, as after an idle time,
it is opened again at once. Two time-outs in a row without an answer from anybody close it: it may be half open.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, Protocol, TypeVar

from gateway.clock import Clock
from gateway.connectors.breaker import Breaker
from gateway.connectors.modbus.doubt import Doubts
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.turns import Turns, Urgency
from gateway.errors import Retry

T = TypeVar("T")

SILENCE: Final = 2
"""Time-outs in a row, of any units, after which the connection is made anew."""

_ADDRESSES: Final = 65_536

_UNIT_IS_MUTE: Final = (10, 11)
"""Exceptions in which a gateway says that the unit did not answer it."""


class Skipped(Timeout):
    """The unit was not asked: it has not answered before, and is left alone for now."""


class Doubtful(Timeout):
    """An exception came that may be the late answer to an earlier question."""


class Terms(NamedTuple):
    """What one device asks of its bus.

    unit           unit identifier
    timeout        seconds for one answer of a unit that answers, and for the connection
    after_connect  seconds to wait before the first question on a new connection
    between        seconds to wait after an answer before the next question
    turnaround     seconds to leave the line alone after a broadcast
    """

    unit: int
    timeout: float
    after_connect: float = 0.0
    between: float = 0.0
    turnaround: float = 0.0


class Connection(Protocol):
    """What a bus needs of a client: ``client.Client`` or ``wire.Wire``. All but ``close`` raise Timeout, DeviceError
    or Retry. ``quiet``: seconds in which a unit that did not answer in time may still speak."""

    @property
    def is_connected(self) -> bool: ...
    async def read(
        self, table: str, unit: int, address: int, count: int, timeout: float, quiet: float
    ) -> list[int]: ...
    async def write(
        self,
        table: str,
        unit: int,
        address: int,
        values: Sequence[int],
        timeout: float,
        quiet: float,
        *,
        as_block: bool = False,
    ) -> None: ...
    async def mask(self, unit: int, address: int, keep: int, put: int, timeout: float, quiet: float) -> None: ...
    async def broadcast(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None: ...
    def close(self) -> None: ...


Connect = Callable[[Endpoint, float], Awaitable[Connection]]

Ask = Callable[[Connection, float], Awaitable[T]]
"""Puts one question on a connection, with a time limit for its answer."""


class Bus:
    """One endpoint. ``random`` is for tests."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        connect: Connect,
        *,
        random: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._connect = connect
        self._random = random
        self._sleep = sleep
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._attempts = 0
        self._refusal = ""
        self._turns = Turns()
        self._members: Counter[int] = Counter()
        self._breakers: dict[int, Breaker] = {}
        self._doubts = Doubts()
        self._silence = 0
        self._users = 0
        self._opened = self._last = self._not_before = -math.inf

    @asynccontextmanager
    async def member(self, terms: Terms) -> AsyncIterator[Member]:
        """Take part in the bus for the length of the block, connected at its begin. Raises Retry when the endpoint
        is away. The last one to leave closes the connection."""
        self._members[terms.unit] += 1
        try:
            if not self._is_connected():
                # Whatever was wrong, a new connection may be a restarted device: nobody waits out a back-off.
                self._breakers.clear()
                await self._reach(terms.timeout)
            yield Member(self, terms)
        finally:
            self._members -= Counter((terms.unit,))
            if not self._members:
                self._hang_up()

    def breaker(self, unit: int) -> Breaker:
        """The breaker of one unit."""
        if unit not in self._breakers:
            self._breakers[unit] = Breaker(self._random)
        return self._breakers[unit]

    def turn(self, terms: Terms, urgency: Urgency) -> BusTurn:
        """The connection, for as long as the block lasts and for nobody else. Raises Skipped, Retry."""
        return BusTurn(self, terms, urgency)

    async def take(self, terms: Terms, urgency: Urgency) -> Connection:
        """Wait for a turn; ``hand_on`` must follow, unless this raises Skipped or Retry."""
        self._check(terms.unit)
        if urgency is not Urgency.WRITE and self.breaker(terms.unit).is_open:
            urgency = Urgency.PROBE
        await self._turns.take(terms.unit, urgency)
        self._users += 1
        try:
            self._check(terms.unit)  # another question to the same unit may have timed out in the meantime
            if self._connection is not None and self._connection.is_connected and not self._connecting.locked():
                return self._connection
            return await self._reach(terms.timeout)
        except BaseException:
            self.hand_on()
            raise

    def hand_on(self) -> None:
        """The turn is over."""
        self._users -= 1
        self._turns.hand_on()

    async def read(self, terms: Terms, table: str, address: int, count: int, urgency: Urgency) -> list[int]:
        """Read when it is the unit's turn. Raises Timeout, Skipped, DeviceError, Retry."""
        async with self.turn(terms, urgency) as connection:
            return await self.read_on(connection, terms, table, address, count)

    async def read_on(self, connection: Connection, terms: Terms, table: str, address: int, count: int) -> list[int]:
        """The same within a turn."""
        while (detour := self._doubts.detour(terms.unit, table, count)) is not None:
            at = min(address, _ADDRESSES - detour.size)
            with suppress(Doubtful, DeviceError):
                await self._read(connection, terms, detour.table, at, detour.size)
        return await self._read(connection, terms, table, address, count)

    async def _read(self, connection: Connection, terms: Terms, table: str, address: int, count: int) -> list[int]:
        unit, doubts = terms.unit, self._doubts
        is_known = False
        try:
            answer = await self.put(
                connection, terms, lambda on, limit: on.read(table, unit, address, count, limit, terms.timeout)
            )
            is_known = True
            doubts.settled(unit)
            return answer
        except Timeout as error:
            is_known = True
            doubts.missed(unit, table, count, is_silent=not error.is_heard)
            raise
        except DeviceError as error:
            is_known = True
            if doubts.outstanding(unit, table):
                doubts.missed(unit, table, count, is_refused=True)
                raise Doubtful(f"unit {unit}: {error}, or that is its late answer to an earlier question") from None
            doubts.settled(unit)
            raise
        finally:
            if not is_known:
                # Cancelled, or the connection broke: its answer may still come.
                doubts.missed(unit, table, count, is_silent=False)

    async def put(self, connection: Connection, terms: Terms, ask: Ask[T]) -> T:
        """Put one question within a turn. Raises Timeout, DeviceError, Retry."""
        await self._pause(terms)
        breaker = self.breaker(terms.unit)
        started = self._clock.now()
        try:
            answer = await ask(connection, breaker.time_limit(terms.timeout))
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
                raise Timeout(f"unit {terms.unit}: {error}", is_heard=True) from None
            breaker.answered()
            raise
        except Retry:
            self._hang_up()
            raise
        finally:
            self._last = self._clock.now()
        self._silence = 0
        breaker.answered()
        return answer

    async def broadcast(self, terms: Terms, table: str, address: int, values: Sequence[int], as_block: bool) -> None:
        """Write to all units at once; nobody answers. The line is left alone for the turnaround. Raises Retry."""
        async with self.turn(terms, Urgency.WRITE) as connection:
            await self._pause(terms)
            try:
                await connection.broadcast(table, address, values, as_block=as_block)
            except Retry:
                self._hang_up()
                raise
            finally:
                self._last = self._clock.now()
                self._not_before = self._last + terms.turnaround

    def close_idle(self) -> None:
        """Close the connection if nobody uses it now; it is opened again for the next question."""
        if not self._users:
            self._hang_up()

    async def _pause(self, terms: Terms) -> None:
        """Wait as long as the device needs before it can take a question."""
        start = max(self._opened + terms.after_connect, self._last + terms.between, self._not_before)
        wait = start - self._clock.now()
        if wait > 0:
            await self._sleep(wait)

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
            self._opened = self._clock.now()
            return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class BusTurn:
    """One turn, for ``async with``. A class and no generator: each question to a device goes through it."""

    __slots__ = ("_bus", "_terms", "_urgency")

    def __init__(self, bus: Bus, terms: Terms, urgency: Urgency) -> None:
        self._bus = bus
        self._terms = terms
        self._urgency = urgency

    async def __aenter__(self) -> Connection:
        return await self._bus.take(self._terms, self._urgency)

    async def __aexit__(self, *error: object) -> None:
        self._bus.hand_on()


class Member:
    """One device's part in a bus. All verbs raise Timeout, Skipped, DeviceError or Retry.

    terms  what the device asks of the bus
    """

    __slots__ = ("terms", "_bus")

    def __init__(self, bus: Bus, terms: Terms) -> None:
        self._bus = bus
        self.terms = terms

    async def read(self, table: str, address: int, count: int, urgency: Urgency = Urgency.FAST) -> list[int]:
        """``count`` registers or bits."""
        return await self._bus.read(self.terms, table, address, count, urgency)

    async def write(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        """Write registers or bits, before all polls."""
        terms = self.terms
        async with self._bus.turn(terms, Urgency.WRITE) as connection:
            await self._bus.put(
                connection,
                terms,
                lambda on, limit: on.write(table, terms.unit, address, values, limit, terms.timeout, as_block=as_block),
            )

    async def mask(self, address: int, keep: int, put: int) -> None:
        """Change some bits of a holding register in the device, in one step (function 22)."""
        terms = self.terms
        async with self._bus.turn(terms, Urgency.WRITE) as connection:
            await self._bus.put(
                connection, terms, lambda on, limit: on.mask(terms.unit, address, keep, put, limit, terms.timeout)
            )

    async def change(self, address: int, keep: int, put: int, *, as_block: bool = False) -> None:
        """The same in two: read the register, write it back changed. Nobody else on this bus comes in between; what
        others write on other ways does, and is undone."""
        terms = self.terms
        async with self._bus.turn(terms, Urgency.WRITE) as connection:
            (word,) = await self._bus.read_on(connection, terms, "holding", address, 1)
            words = [word & keep | put & ~keep & 0xFFFF]
            await self._bus.put(
                connection,
                terms,
                lambda on, limit: on.write(
                    "holding", terms.unit, address, words, limit, terms.timeout, as_block=as_block
                ),
            )

    async def broadcast(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None:
        """Write to all units of the line; nobody answers."""
        await self._bus.broadcast(self.terms, table, address, values, as_block)
