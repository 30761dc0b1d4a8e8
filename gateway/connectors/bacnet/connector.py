"""A BACnet/IP device: reads its points in batches or is told of changes, writes with priority and read-back.

One life (``run``): find the device, ask what it can do, subscribe, poll until cancelled or until it is away. A
property that is refused marks its own point and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from gateway.connectors.bacnet.config import BacnetDevice, parse_local
from gateway.connectors.bacnet.live import PRIORITIES, RELIABILITY, LivePoint
from gateway.connectors.bacnet.names import property_number, reliability_name
from gateway.connectors.bacnet.planner import Item, Plan
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.session import Result, Session, meet
from gateway.connectors.bacnet.stack import Stack, Timeout
from gateway.connectors.bacnet.subscriptions import Subscriptions
from gateway.connectors.bacnet.values import NULL, Atom, decode
from gateway.connectors.base import Connector, Port, Sample
from gateway.connectors.polling import Rates
from gateway.connectors.tap import Tap
from gateway.connectors.tap import key as tap_key
from gateway.connectors.turns import Turns, Urgency
from gateway.errors import Malformed, Rejected, Retry
from gateway.message import Value

_NOT_THERE: Final = ("unknown-object", "unknown-property", "invalid-array-index", "property-is-not-an-array")
"""Errors that another try will not change soon."""

_NO_BATCH: Final = ("unrecognized-service", "service-request-denied", "optional-functionality-not-supported")
_NEVER_WORKS: Final = (
    *_NOT_THERE,
    *("write-access-denied", "value-out-of-range", "invalid-data-type", "invalid-tag", "unrecognized-service"),
)


class BacnetConnector(Connector):
    """One device. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: BacnetDevice,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._port = port
        self._clock = port.clock
        self._sleep = sleep
        self._points = {point.name: LivePoint(point, config, property_number(point.property)) for point in config.point}
        polls = {name: point.known.poll for name, point in self._points.items()}
        self._rates = Rates(name, polls, 0.0, config.phase)
        local, remote = parse_local(config.local), config.endpoint.remote
        tap = port.share(tap_key(f"bacnet {config.local}"), Tap)
        self._stack: Stack = port.share(f"bacnet {config.local}", lambda: Stack(local, tap))
        self._turns: Turns = port.share(f"bacnet turns {remote.host}:{remote.port} {remote.network}", Turns)
        self._plan = Plan((), 0, True)
        self._session: Session | None = None
        self._subscriptions: Subscriptions | None = None
        self._questions = self._timeouts = self._refusals = 0
        self._last_error = ""

    @classmethod
    def check(cls, config: BacnetDevice) -> Iterator[tuple[str, str]]:
        """Names that only the standard's tables know."""
        for index, point in enumerate(config.point):
            try:
                property_number(point.property)
            except ValueError as error:
                yield f"point[{index}].property", str(error)

    async def run(self, up: Callable[[], None]) -> None:
        config = self._config
        try:
            async with self._stack.joined():
                session = await meet(
                    self._stack,
                    config.endpoint,
                    self._turns,
                    config.timeout,
                    config.retries,
                    config.max_apdu,
                    config.batch,
                )
                subscriptions = Subscriptions(self._stack, session, config, self._points.values(), self._changed)
                self._plan = self._fresh_plan(session)
                self._rates.restart(self._clock.now())
                self._session, self._subscriptions = session, subscriptions
                try:
                    up()
                    await self._work(session, subscriptions)
                finally:
                    subscriptions.close()
                    self._questions += session.questions
                    self._timeouts += session.timeouts
        except Retry as error:
            self._last_error = str(error)
            self._missed(self._points.values(), str(error))
            raise
        finally:
            self._session = self._subscriptions = None

    async def _work(self, session: Session, subscriptions: Subscriptions) -> None:
        while True:
            await subscriptions.renew(self._clock.now())
            now = self._clock.now()
            await self._sleep(min(self._rates.wait(now), subscriptions.wait(now)))
            if self._rates.wait(self._clock.now()) > 0:
                continue
            due = self._rates.begin(self._clock.now())
            if await self._scan(session, [*subscriptions.to_read(due)]):
                self._rates.finish()

    async def write(self, point: str, value: Value) -> Value:
        target = self._points.get(point)
        if target is None:
            raise Rejected(f'no point is called "{point}"')
        target.check(value)
        session = self._session
        if session is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        reference = target.written
        try:
            if not target.is_kind_known:
                target.saw(await session.read(reference, Urgency.WRITE))
            atom = target.to_write(value)
            await session.write(reference, atom, target.priority)
        except DeviceError as error:
            if error.code in _NEVER_WORKS:
                raise Rejected(f"the device refused it: {error}") from None
            raise Retry(f"the device did not do it: {error}") from None
        except Malformed as error:
            raise Retry(f"not written: {error}") from None
        except Timeout as error:
            raise Retry(f"unknown: {error}; it may have been written") from None
        return await self._read_back(session, target, atom)

    async def _read_back(self, session: Session, target: LivePoint, sent: Atom) -> Value:
        try:
            back = await session.read(target.reference, Urgency.WRITE)
            flags = await session.read(target.flags, Urgency.WRITE) if target.item.has_flags else None
            quality, reason = target.judge(flags, await self._reliability(session, target, flags, Urgency.WRITE))
            raw = target.decode(back)
        except (Timeout, DeviceError, Malformed, ValueError) as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        sample = target.known.took(raw, self._clock.time(), self._clock.now(), quality, reason)
        self._port.emit([sample])
        # A faulty object has no value that may be published; what it took is told all the same.
        shown = raw if sample.value is None else sample.value
        kept = target.decode((sent,)) if sent.tag != NULL or target.is_held else raw
        if raw != kept:
            why = await self._who_commands(session, target)
            raise Retry(f"written, but the object keeps {shown!r}{why}")
        return shown

    async def _who_commands(self, session: Session, target: LivePoint) -> str:
        """Which priority stands before ours; nothing for objects that have none."""
        try:
            slots = await session.read(Reference(target.item_object, PRIORITIES), Urgency.WRITE)
        except (Timeout, DeviceError, Malformed):
            return ""
        before = [number for number, slot in enumerate(slots, 1) if slot.tag != NULL]
        if before and before[0] < (target.priority or 16):
            return f": it is commanded at priority {before[0]}, ours is {target.priority or 16}"
        return ""

    async def _scan(self, session: Session, due: Sequence[str]) -> bool:
        """Read what is due. Whether all of it was answered. Raises Retry when the device is away."""
        is_complete = True
        urgency = Urgency.of(min((self._points[name].known.poll for name in due), default=0.0))
        todo = self._plan.scan(due)
        while todo:
            question = todo.pop(0)
            told = {item.name: self._points[item.name].told for item in question}
            try:
                found = await self._read(session, question, urgency)
            except Timeout as error:
                is_complete = False
                self._last_error = str(error)
                self._missed((self._points[item.name] for item in question), str(error))
            except (DeviceError, Malformed) as error:
                self._last_error = str(error)
                todo[:0] = self._after(question, error)
            else:
                points = [self._points[item.name] for item in question]
                self._emit(
                    [await self._sample(session, point, found, urgency, told[point.item.name]) for point in points]
                )
        return is_complete

    async def _read(self, session: Session, question: Sequence[Item], urgency: Urgency) -> dict[Reference, Result]:
        references = [one for item in question for one in self._points[item.name].references]
        if self._plan.is_batch:
            return await session.read_multiple(references, urgency)
        found: dict[Reference, Result] = {}
        for reference in references:
            try:
                found[reference] = await session.read(reference, urgency)
            except (DeviceError, Malformed) as error:
                found[reference] = error
        return found

    def _after(self, question: Sequence[Item], error: DeviceError | Malformed) -> list[list[Item]]:
        """What to ask instead of a question that was refused as a whole."""
        self._refusals += 1
        if isinstance(error, DeviceError) and error.code in _NO_BATCH and self._plan.is_batch:
            self._plan.is_batch = False
            return self._plan.questions(question)
        is_too_long = isinstance(error, DeviceError) and error.kind == "abort"
        again = self._plan.too_long(question) if is_too_long else self._plan.halves(question)
        if not again:
            if isinstance(error, DeviceError) and error.code in _NOT_THERE:
                self._plan.rest(question[0].name)
            time = self._clock.time()
            self._emit([self._points[item.name].known.bad(str(error), time) for item in question])
        return again

    async def _sample(
        self, session: Session, point: LivePoint, found: dict[Reference, Result], urgency: Urgency, told: int
    ) -> Sample | None:
        time, now = self._clock.time(), self._clock.now()
        value, flags = point.found(found)
        if isinstance(value, DeviceError | Malformed):
            self._refusals += 1
            self._last_error = f"{point.reference}: {value}"
            if isinstance(value, DeviceError) and value.code in _NOT_THERE:
                self._plan.rest(point.item.name)
            return point.known.bad(str(value), time)
        try:
            quality, reason = point.judge(flags, await self._reliability(session, point, flags, urgency))
            if point.told != told:
                return None
            return point.known.took(point.decode(value), time, now, quality, reason)
        except ValueError as error:
            return point.known.bad(str(error), time, b"".join(atom.data for atom in value))

    async def _reliability(
        self, session: Session, point: LivePoint, flags: tuple[Atom, ...] | None, urgency: Urgency
    ) -> str:
        """Why an object says that it has a fault; asked only then."""
        if not point.has_fault(flags):
            return ""
        try:
            return reliability_name(int(decode(await session.read(point.aspect(RELIABILITY), urgency))))
        except (DeviceError, Malformed, Timeout, TypeError, ValueError):
            return ""

    def _changed(self, point: LivePoint, value: tuple[Atom, ...], flags: tuple[Atom, ...] | None) -> None:
        """The device has told a change; called from the socket."""
        time, now = self._clock.time(), self._clock.now()
        point.told += 1
        try:
            quality, reason = point.judge(flags, "")
            self._emit([point.known.took(point.decode(value), time, now, quality, reason)])
        except ValueError as error:
            self._emit([point.known.bad(str(error), time)])

    def _missed(self, points: Iterable[LivePoint], reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([point.known.missed(reason, time, now) for point in points])

    def _emit(self, samples: Sequence[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    def _fresh_plan(self, session: Session) -> Plan:
        for point in self._points.values():
            point.forget()
        return Plan((point.item for point in self._points.values()), session.limit, session.is_batch)

    def status(self) -> dict[str, Any]:
        session, subscriptions = self._session, self._subscriptions
        return {
            "state": "down" if session is None else "up",
            "endpoint": str(self._config.endpoint if session is None else session.remote),
            "batch": None if session is None else self._plan.is_batch,
            "scans": self._rates.status(),
            "questions": self._questions + (session.questions if session else 0),
            "timeouts": self._timeouts + (session.timeouts if session else 0),
            "refusals": self._refusals,
            "subscriptions": subscriptions.status() if subscriptions else {},
            "last_error": self._last_error,
        }
