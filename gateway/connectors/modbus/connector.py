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
from gateway.connectors.modbus.bus import Member, Skipped, Terms
from gateway.connectors.modbus.codec import Codec
from gateway.connectors.modbus.config import ModbusDevice, ModbusPoint
from gateway.connectors.modbus.dialer import join
from gateway.connectors.modbus.pdu import DeviceError, Timeout
from gateway.connectors.modbus.planner import Item, Plan, Request
from gateway.connectors.modbus.writer import Writer
from gateway.connectors.points import Point
from gateway.connectors.polling import Rates
from gateway.connectors.shape import Part
from gateway.connectors.turns import Urgency
from gateway.errors import Rejected, Retry
from gateway.message import Value

_ILLEGAL_ADDRESS: Final = 2
_NO_SUCH: Final = (2, 3)
"""Exceptions that may be about a part of the block: no such address; or a block that this device finds too large."""

_NOT_NOW: Final = (5, 6)
"""Exceptions that say nothing about the value: still working, busy."""

_NEVER_WORKS: Final = (1, 2, 3)
"""Exceptions to a write that another try will not change."""


class _Place:
    """Where one point is in the device, and how its registers are read."""

    __slots__ = ("item", "codec", "order", "point")

    def __init__(self, settings: ModbusPoint, config: ModbusDevice) -> None:
        self.item = Item(settings.name, *settings.place, settings.width)
        self.codec: Codec = settings.codec
        self.order = settings.order
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
        items = [place.item for place in self._places.values()]
        quirks = config.quirks
        self._plan = Plan(items, config.gap, config.max_words, singly=quirks.one_request_per_point)
        self._writer = Writer(quirks)
        polls = {place.point.name: place.point.poll for place in self._places.values()}
        self._rates = Rates(name, polls, 0.0, config.phase)
        self._line = join(name, config, port)
        self._bus = self._line.bus
        self._terms = Terms(
            config.unit,
            config.timeout,
            quirks.pause_after_connect,
            quirks.pause_between_requests,
            config.turnaround,
        )
        self._member: Member | None = None
        self._requests = self._timeouts = self._exceptions = 0
        self._last_error = ""

    async def run(self, up: Callable[[], None]) -> None:
        self._line.is_running = True
        try:
            async with self._bus.member(self._terms) as member:
                self._rates.restart(self._clock.now())
                self._member = member
                up()
                if self._config.is_broadcast:
                    await asyncio.Event().wait()  # nobody answers: there is nothing to read
                while True:
                    await self._sleep(self._rates.wait(self._clock.now()))
                    if await self._scan(member, self._rates.begin(self._clock.now())):
                        self._rates.finish()
                    if self._config.quirks.close_after_gather:
                        self._bus.close_idle()
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
        part = target.point.part_to_device(value) if target.point.is_part else None
        words = [] if part else target.codec.encode(target.point.to_device(value))
        member = self._member
        if member is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        if self._config.is_broadcast:
            as_block = self._config.quirks.write_registers == "block" and target.item.table == "holding"
            await member.broadcast(target.item.table, target.item.address, words, as_block=as_block)
            return value
        try:
            if part is not None:
                await self._writer.part(member, target.item, target.order, part)
            else:
                await self._writer.whole(member, target.item, words)
        except DeviceError as error:
            if error.code in _NEVER_WORKS:
                raise Rejected(f"the device refused it: {error}") from None
            raise Retry(f"the device did not do it: {error}") from None
        except Skipped as error:
            raise Retry(f"not written: {error}") from None
        except Timeout as error:
            raise Retry(f"unknown: {error}; it may have been written") from None
        return await self._read_back(member, target, part or words)

    async def _read_back(self, member: Member, target: _Place, sent: Part | list[int]) -> Value:
        item = target.item
        try:
            back = await member.read(item.table, item.address, item.width, Urgency.WRITE)
            raw = target.codec.decode(back)
        except (Timeout, DeviceError, ValueError) as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        sample = target.point.took(raw, self._clock.time(), self._clock.now())
        self._port.emit([sample])
        is_kept = int(raw) & sent.mask == sent.bits if isinstance(sent, Part) else target.codec.agree(sent, back)
        if not is_kept:
            raise Retry(f"written, but the device keeps {sample.value!r}")
        return sample.value

    async def _scan(self, member: Member, due: tuple[str, ...]) -> bool:
        """Read what is ``due`` once. Whether all of it was answered. Raises Retry when the connection is lost."""
        is_complete = True
        todo = deque(self._plan.scan(due))
        while todo:
            request = todo.popleft()
            urgency = Urgency.of(min(self._places[item.name].point.poll for item in request.items))
            try:
                words = await member.read(request.table, request.address, request.count, urgency)
            except Timeout as error:
                is_complete = False
                self._unanswered(request, error)
            except DeviceError as error:
                self._requests += 1
                self._exceptions += 1
                self._last_error = f"{request.table}:{request.address}, {request.count} in one request: {error}"
                parts = self._plan.refused(request) if error.code in _NO_SUCH else []
                todo.extendleft(reversed(parts))
                if not parts:
                    self._refused(request, error)
            else:
                self._requests += 1
                self._plan.answered(request)
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

    def status(self) -> dict[str, Any]:
        is_mute = self._bus.breaker(self._config.unit).is_open
        return {
            "state": "down" if self._member is None else "mute" if is_mute else "up",
            "endpoint": str(self._bus.endpoint),
            "unit": self._config.unit,
            "scans": self._rates.status(),
            "requests_per_scan": len(self._plan.requests),
            "not_read": self._plan.refusals.describe(),
            "requests": self._requests,
            "timeouts": self._timeouts,
            "exceptions": self._exceptions,
            "breaker": "open" if is_mute else "closed",
            "last_error": self._last_error,
        }
