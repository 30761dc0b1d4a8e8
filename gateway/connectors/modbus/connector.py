"""A Modbus device: polls its points by plan, writes one with read-back, says what it knows of them.

One life (``run``): join the bus, poll on the schedule until cancelled or until the connection is lost. A unit that
is mute behind a connection that stands is no reason to end: its points go stale, the bus asks it more rarely, and
it is back with its first answer. A block that fails marks its own points and no others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.connectors.base import Connector, Port, Sample
from gateway.connectors.modbus.bus import Bus, Member, Skipped
from gateway.connectors.modbus.client import DeviceError, Timeout
from gateway.connectors.modbus.codec import Codec, make_codec
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.planner import Item, Plan, Request
from gateway.connectors.points import LastKnown
from gateway.connectors.polling import Schedule
from gateway.errors import Rejected, Retry
from gateway.message import Value

_ILLEGAL_FUNCTION: Final = 1
_ILLEGAL_ADDRESS: Final = 2
_NO_SUCH: Final = (2, 3)
"""Exceptions that may be about a part of the block: no such address; or a block that this device finds too large."""

_NOT_NOW: Final = (5, 6)
"""Exceptions that say nothing about the value: still working, busy."""

_NEVER_WORKS: Final = (1, 2, 3)
"""Exceptions to a write that another try will not change."""


class _Point:
    """One point: where it is, how it is read, what is known."""

    __slots__ = ("item", "codec", "known")

    def __init__(self, point: ModbusPoint, config: ModbusDevice) -> None:
        self.item = Item(point.name, *point.place, point.width)
        self.codec: Codec = make_codec(point.type, point.order, point.scale, point.offset)
        self.known = LastKnown(point.name, config.poll, config.stale_after)


class ModbusConnector(Connector):
    """One unit. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: ModbusDevice,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._port = port
        self._clock = port.clock
        self._sleep = sleep
        self._points = {point.name: _Point(point, config) for point in config.point}
        self._plan = self._fresh_plan()
        self._schedule = Schedule(config.poll, name, 0.0)
        self._bus: Bus = port.share(f"modbus tcp://{config.endpoint}", lambda: Bus(config.endpoint, port.clock))
        self._member: Member | None = None
        self._requests = self._timeouts = self._exceptions = 0
        self._last_error = ""

    async def run(self, up: Callable[[], None]) -> None:
        try:
            async with self._bus.member(self._config.unit, self._config.timeout) as member:
                # A device that was away may have come back as another: ask it in large blocks again.
                self._plan = self._fresh_plan()
                self._schedule.restart(self._clock.now())
                self._member = member
                up()
                while True:
                    await self._sleep(self._schedule.wait(self._clock.now()))
                    self._schedule.begin(self._clock.now())
                    if await self._scan(member):
                        self._schedule.finish()
        except Retry as error:
            self._last_error = str(error)
            self._missed(list(self._points.values()), str(error))
            raise
        finally:
            self._member = None

    async def write(self, point: str, value: Value) -> Value:
        target = self._points.get(point)
        if target is None:
            raise Rejected(f'no point is called "{point}"')
        words = target.codec.encode(value)
        member = self._member
        if member is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        try:
            await self._put(member, target.item, words)
        except DeviceError as error:
            if error.code in _NEVER_WORKS:
                raise Rejected(f"the device refused it: {error}") from None
            raise Retry(f"the device did not do it: {error}") from None
        except Skipped as error:
            raise Retry(f"not written: {error}") from None
        except Timeout as error:
            raise Retry(f"unknown: {error}; it may have been written") from None
        return await self._read_back(member, target, words)

    async def _put(self, member: Member, item: Item, words: list[int]) -> None:
        try:
            await member.write(item.table, item.address, words)
        except DeviceError as error:
            if error.code != _ILLEGAL_FUNCTION or len(words) > 1:
                raise
            # Some devices know only the function that writes several.
            await member.write(item.table, item.address, words, as_block=True)

    async def _read_back(self, member: Member, target: _Point, sent: list[int]) -> Value:
        item = target.item
        try:
            back = await member.read(item.table, item.address, item.width, is_urgent=True)
            value = target.codec.decode(back)
        except (Timeout, DeviceError, ValueError) as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        self._port.emit([target.known.good(value, self._clock.time(), self._clock.now())])
        if not target.codec.agree(sent, back):
            raise Retry(f"written, but the device keeps {value!r}")
        return value

    async def _scan(self, member: Member) -> bool:
        """Read everything once. Whether all of it was answered. Raises Retry when the connection is lost."""
        is_complete = True
        todo = deque(self._plan.scan())
        while todo:
            request = todo.popleft()
            try:
                words = await member.read(request.table, request.address, request.count)
            except Timeout as error:
                is_complete = False
                self._unanswered(request, error)
            except DeviceError as error:
                self._requests += 1
                self._exceptions += 1
                self._last_error = f"{request.table}:{request.address}, {request.count} in one request: {error}"
                if error.code in _NO_SUCH and len(request.items) > 1:
                    todo.extendleft(reversed(self._plan.split(request)))
                else:
                    self._refused(request, error)
            else:
                self._requests += 1
                self._took(request, words)
        return is_complete

    def _took(self, request: Request, words: list[int]) -> None:
        time, now = self._clock.time(), self._clock.now()
        samples: list[Sample] = []
        for item in request.items:
            point = self._points[item.name]
            start = item.address - request.address
            try:
                value = point.codec.decode(words[start : start + item.width])
            except ValueError as error:
                bad = point.known.bad(str(error), time)
                if bad is not None:
                    samples.append(bad)
            else:
                samples.append(point.known.good(value, time, now))
        self._port.emit(samples)

    def _unanswered(self, request: Request, error: Timeout) -> None:
        if not isinstance(error, Skipped):
            self._requests += 1
            self._timeouts += 1
            self._last_error = str(error)
            self._plan.postpone(request)
        self._missed(self._of(request), str(error) if not isinstance(error, Skipped) else "the unit does not answer")

    def _refused(self, request: Request, error: DeviceError) -> None:
        if error.code in _NOT_NOW:
            self._missed(self._of(request), str(error))
            return
        if error.code == _ILLEGAL_ADDRESS:
            self._plan.rest(request)
        time = self._clock.time()
        self._emit([point.known.bad(str(error), time) for point in self._of(request)])

    def _missed(self, points: list[_Point], reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([point.known.missed(reason, time, now) for point in points])

    def _emit(self, samples: list[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    def _of(self, request: Request) -> list[_Point]:
        return [self._points[item.name] for item in request.items]

    def _fresh_plan(self) -> Plan:
        items = [point.item for point in self._points.values()]
        return Plan(items, self._config.gap, self._config.max_words)

    def status(self) -> dict[str, Any]:
        is_mute = self._bus.breaker(self._config.unit).is_open
        return {
            "state": "down" if self._member is None else "mute" if is_mute else "up",
            "endpoint": str(self._config.endpoint),
            "unit": self._config.unit,
            "scans": {"due": self._schedule.due, "done": self._schedule.done, "late": self._schedule.late},
            "requests_per_scan": len(self._plan.requests),
            "requests": self._requests,
            "timeouts": self._timeouts,
            "exceptions": self._exceptions,
            "breaker": "open" if is_mute else "closed",
            "last_error": self._last_error,
        }
