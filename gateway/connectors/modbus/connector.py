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
from gateway.connectors.points import Point
from gateway.connectors.polling import Rates
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


class _Place:
    """Where one point is in the device, and how its registers are read."""

    __slots__ = ("item", "codec", "point")

    def __init__(self, settings: ModbusPoint, config: ModbusDevice) -> None:
        self.item = Item(settings.name, *settings.place, settings.width)
        self.codec: Codec = make_codec(settings.type, settings.order)
        self.point = Point(settings, config)


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
        self._places = {point.name: _Place(point, config) for point in config.point}
        self._plan = self._fresh_plan()
        polls = {place.point.name: place.point.poll for place in self._places.values()}
        self._rates = Rates(name, polls, 0.0, config.phase)
        self._bus: Bus = port.share(f"modbus tcp://{config.endpoint}", lambda: Bus(config.endpoint, port.clock))
        self._member: Member | None = None
        self._requests = self._timeouts = self._exceptions = 0
        self._last_error = ""

    async def run(self, up: Callable[[], None]) -> None:
        try:
            async with self._bus.member(self._config.unit, self._config.timeout) as member:
                # A device that was away may have come back as another: ask it in large blocks again.
                self._plan = self._fresh_plan()
                self._rates.restart(self._clock.now())
                self._member = member
                up()
                while True:
                    await self._sleep(self._rates.wait(self._clock.now()))
                    if await self._scan(member, frozenset(self._rates.begin(self._clock.now()))):
                        self._rates.finish()
        except Retry as error:
            self._last_error = str(error)
            self._missed(list(self._places.values()), str(error))
            raise
        finally:
            self._member = None

    async def write(self, point: str, value: Value) -> Value:
        target = self._places.get(point)
        if target is None:
            raise Rejected(f'no point is called "{point}"')
        words = target.codec.encode(target.point.to_device(value))
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

    async def _read_back(self, member: Member, target: _Place, sent: list[int]) -> Value:
        item = target.item
        try:
            back = await member.read(item.table, item.address, item.width, is_urgent=True)
            raw = target.codec.decode(back)
        except (Timeout, DeviceError, ValueError) as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        sample = target.point.took(raw, self._clock.time(), self._clock.now())
        self._port.emit([sample])
        if not target.codec.agree(sent, back):
            raise Retry(f"written, but the device keeps {sample.value!r}")
        return sample.value

    async def _scan(self, member: Member, due: frozenset[str]) -> bool:
        """Read what is ``due`` once. Whether all of it was answered. Raises Retry when the connection is lost."""
        is_complete = True
        todo = deque(request for request in self._plan.scan() if any(item.name in due for item in request.items))
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
            place = self._places[item.name]
            start = item.address - request.address
            part = words[start : start + item.width]
            try:
                raw = place.codec.decode(part)
            except ValueError as error:
                bad = place.point.bad(str(error), time, b"".join(word.to_bytes(2, "big") for word in part))
                if bad is not None:
                    samples.append(bad)
            else:
                samples.append(place.point.took(raw, time, now))
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
        self._emit([place.point.bad(str(error), time) for place in self._of(request)])

    def _missed(self, places: list[_Place], reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([place.point.missed(reason, time, now) for place in places])

    def _emit(self, samples: list[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    def _of(self, request: Request) -> list[_Place]:
        return [self._places[item.name] for item in request.items]

    def _fresh_plan(self) -> Plan:
        items = [place.item for place in self._places.values()]
        return Plan(items, self._config.gap, self._config.max_words)

    def status(self) -> dict[str, Any]:
        is_mute = self._bus.breaker(self._config.unit).is_open
        return {
            "state": "down" if self._member is None else "mute" if is_mute else "up",
            "endpoint": str(self._config.endpoint),
            "unit": self._config.unit,
            "scans": self._rates.status(),
            "requests_per_scan": len(self._plan.requests),
            "requests": self._requests,
            "timeouts": self._timeouts,
            "exceptions": self._exceptions,
            "breaker": "open" if is_mute else "closed",
            "last_error": self._last_error,
        }
