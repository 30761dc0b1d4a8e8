"""An S7 controller: reads its points by plan, writes one with read-back, says what it knows of them.

One life (``run``): join the connection, poll on the schedule until cancelled or until the connection is lost. A piece
of memory that is refused marks its own points and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from gateway.connectors.base import Connector, Port, Sample
from gateway.connectors.points import Point
from gateway.connectors.polling import Rates
from gateway.connectors.s7.client import Timeout
from gateway.connectors.s7.codec import Codec, make_codec
from gateway.connectors.s7.config import S7Device, S7Point
from gateway.connectors.s7.messages import NOT_THERE, DeviceError, Extent
from gateway.connectors.s7.planner import Item, Plan, Span, most_bytes, requests_of
from gateway.connectors.s7.plc import Member, Plc
from gateway.connectors.tap import Tap
from gateway.connectors.tap import key as tap_key
from gateway.connectors.turns import Urgency
from gateway.errors import Rejected, Retry
from gateway.message import Value

_NEVER_WORKS: Final = (*NOT_THERE, 0x8104)
"""Refusals of a write that another try will not change."""


class _Point:
    """One point: where it is, how it is read, what is known."""

    __slots__ = ("bit", "codec", "extent", "item", "known")

    def __init__(self, settings: S7Point, config: S7Device) -> None:
        place = settings.place
        self.codec: Codec = make_codec(settings.type_name, place.bit)
        self.bit = place.bit if settings.type_name == "bool" else None
        self.extent = Extent(place.area, place.block, place.byte, self.codec.size)
        self.item = Item(settings.name, *self.extent)
        self.known = Point(settings, config)


class S7Connector(Connector):
    """One device. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: S7Device,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._config = config
        self._port = port
        self._clock = port.clock
        self._sleep = sleep
        self._points = {point.name: _Point(point, config) for point in config.point}
        polls = {name: point.known.poll for name, point in self._points.items()}
        self._rates = Rates(name, polls, 0.0, config.phase)
        self._plan = self._fresh_plan(config.pdu)
        endpoint = config.endpoint
        # What the connection counts as, and its pdu, are agreed when it is made: others need another one.
        key = f"s7 {endpoint} {endpoint.local_tsap:04x} {endpoint.remote_tsap:04x} {config.pdu}"
        tap = port.share(tap_key(key), Tap)
        self._plc: Plc = port.share(key, lambda: Plc(endpoint, config.pdu, tap=tap))
        self._member: Member | None = None
        self._requests = self._timeouts = self._refusals = 0
        self._last_error = ""

    async def run(self, up: Callable[[], None]) -> None:
        try:
            async with self._plc.member(self._name, self._config.timeout) as member:
                # A controller that was away may have another program now, and agree to other messages.
                self._plan = self._fresh_plan(member.pdu)
                self._rates.restart(self._clock.now())
                self._member = member
                up()
                while True:
                    await self._sleep(self._rates.wait(self._clock.now()))
                    due = self._rates.begin(self._clock.now())
                    if await self._scan(member, due):
                        self._rates.finish()
        except Retry as error:
            self._last_error = str(error)
            self._missed(self._points.values(), str(error))
            raise
        finally:
            self._member = None

    async def write(self, point: str, value: Value) -> Value:
        target = self._points.get(point)
        if target is None:
            raise Rejected(f'no point is called "{point}"')
        extent, bit, content = self._to_write(target, value)
        member = self._member
        if member is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        try:
            await self._check_room(member, target, content)
            await member.write(extent, bit, content)
        except DeviceError as error:
            if error.code in _NEVER_WORKS:
                raise Rejected(f"the controller refused it: {error}") from None
            raise Retry(f"the controller did not do it: {error}") from None
        except Timeout as error:
            raise Retry(f"unknown: {error}; it may have been written") from None
        return await self._read_back(member, target, bit, content, extent)

    def _to_write(self, target: _Point, value: Value) -> tuple[Extent, int | None, bytes]:
        """Where to write what; bits one by one, so that no neighbour changes. Raises Rejected."""
        extent = target.extent
        if target.known.is_part:
            part = target.known.part_to_device(value)
            bit = part.mask.bit_length() - 1
            # Big-endian: bit 0 is in the last byte.
            byte = extent.byte + extent.size - 1 - bit // 8
            return extent._replace(byte=byte, size=1), bit % 8, bytes((1 if part.bits else 0,))
        content = target.codec.encode(target.known.to_device(value))
        return extent._replace(byte=extent.byte + target.codec.head), target.bit, content

    async def _check_room(self, member: Member, target: _Point, content: bytes) -> None:
        """A text must fit into what the controller declared, whatever the settings say: its neighbours come next."""
        head = target.codec.head
        if not head:
            return
        try:
            room = target.codec.room(await member.read_long(target.extent._replace(size=head), Urgency.WRITE))
        except Timeout as error:
            raise Retry(f"not written: {error}") from None
        used = int.from_bytes(content[:head])
        if room is not None and used > room:
            raise Rejected(f"it has {used} characters; the controller has room for {room}")

    async def _read_back(self, member: Member, target: _Point, bit: int | None, sent: bytes, extent: Extent) -> Value:
        try:
            back = await member.read_long(target.extent, Urgency.WRITE)
            raw = target.codec.decode(back)
        except (Timeout, DeviceError, ValueError) as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        sample = target.known.took(raw, self._clock.time(), self._clock.now())
        self._port.emit([sample])
        if bit is not None:
            is_kept = back[extent.byte - target.extent.byte] >> bit & 1 == sent[0]
        else:
            is_kept = target.codec.agree(sent, back)
        if not is_kept:
            raise Retry(f"written, but the controller keeps {sample.value!r}")
        return sample.value

    async def _scan(self, member: Member, due: Sequence[str]) -> bool:
        """Read what is due. Whether all of it was answered. Raises Retry when the connection is lost."""
        wanted = set(due)
        urgency = Urgency.of(min(self._points[name].known.poll for name in due))
        is_complete = True
        todo = self._plan.scan(due)
        while todo:
            again: list[Span] = []
            for spans in todo:
                try:
                    found = await self._read(member, spans, urgency)
                except Timeout as error:
                    is_complete = False
                    self._timeouts += 1
                    self._last_error = str(error)
                    self._missed(self._of(spans, wanted), str(error))
                except DeviceError as error:
                    self._refusals += 1
                    self._last_error = str(error)
                    self._refused(self._of(spans, wanted), error)
                else:
                    again += self._took(spans, found, wanted)
            todo = requests_of(again, member.pdu)
        return is_complete

    async def _read(self, member: Member, spans: Sequence[Span], urgency: Urgency) -> list[bytes | DeviceError]:
        self._requests += 1
        extents = [Extent(span.area, span.block, span.byte, span.size) for span in spans]
        if extents[0].size <= most_bytes(member.pdu):
            return await member.read(extents, urgency)
        try:
            return [await member.read_long(extents[0], urgency)]
        except DeviceError as error:
            return [error]

    def _took(self, spans: Sequence[Span], found: Iterable[bytes | DeviceError], wanted: set[str]) -> list[Span]:
        """Make samples of an answer; the pieces to ask for once more, in smaller ones."""
        time, now = self._clock.time(), self._clock.now()
        samples: list[Sample] = []
        again: list[Span] = []
        for span, content in zip(spans, found, strict=True):
            if isinstance(content, DeviceError):
                self._refusals += 1
                self._last_error = f"{span}: {content}"
                halves = self._plan.refused(span) if content.code in NOT_THERE else []
                again += halves
                if not halves:
                    self._refused(self._of([span], wanted), content)
                continue
            for point in self._of([span], wanted):
                start = point.item.byte - span.byte
                raw = content[start : start + point.item.size]
                try:
                    sample: Sample | None = point.known.took(point.codec.decode(raw), time, now)
                except ValueError as error:
                    sample = point.known.bad(str(error), time, raw)
                if sample is not None:
                    samples.append(sample)
        self._emit(samples)
        return again

    def _refused(self, points: Iterable[_Point], error: DeviceError) -> None:
        time = self._clock.time()
        self._emit([point.known.bad(str(error), time) for point in points])

    def _missed(self, points: Iterable[_Point], reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([point.known.missed(reason, time, now) for point in points])

    def _emit(self, samples: Sequence[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    def _of(self, spans: Iterable[Span], wanted: set[str]) -> list[_Point]:
        return [self._points[item.name] for span in spans for item in span.items if item.name in wanted]

    def _fresh_plan(self, pdu: int) -> Plan:
        return Plan([point.item for point in self._points.values()], pdu, self._config.gap)

    def status(self) -> dict[str, Any]:
        member = self._member
        return {
            "state": "down" if member is None else "up",
            "endpoint": str(self._config.endpoint),
            "pdu": None if member is None else member.pdu,
            "scans": self._rates.status(),
            "requests": self._requests,
            "timeouts": self._timeouts,
            "refusals": self._refusals,
            "last_error": self._last_error,
        }
