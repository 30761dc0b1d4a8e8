"""An OPC-UA device: connects, subscribes or polls, writes with read-back, calls methods, says what it knows.

One life (``run``): a new connection, nodes looked up anew, subscriptions made anew, every value read once; then until
cancelled or until the first trouble. Nothing of a connection that was lost is used again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from gateway.connectors.base import Connector, Port, Quality, Sample
from gateway.connectors.opcua import coerce
from gateway.connectors.opcua.config import OpcuaDevice
from gateway.connectors.opcua.life import Life
from gateway.connectors.opcua.resolve import Target
from gateway.connectors.opcua.session import Session, Status
from gateway.connectors.opcua.structures import Types
from gateway.connectors.opcua.values import Plain, Reading, Unknown, take
from gateway.connectors.points import Point
from gateway.connectors.tap import Tap
from gateway.connectors.tap import key as tap_key
from gateway.errors import GatewayError, Rejected, Retry
from gateway.message import Value
from gateway.opcua import identity, trust
from gateway.opcua.stack import status_name, ua

log = logging.getLogger("gateway")

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 10.0
"""Seconds between two tries to connect. A server that is back must be subscribed to within 15 s, however long it was
away; one connection in ten seconds is no burden for it."""

STEADY: Final = 2.0
"""Seconds that a connection must have stood for the delays to begin anew: one that falls at once is a failure too."""

NEVER_WORKS: Final = frozenset(
    {
        ua.StatusCodes.BadTypeMismatch,
        ua.StatusCodes.BadOutOfRange,
        ua.StatusCodes.BadNotWritable,
        ua.StatusCodes.BadUserAccessDenied,
        ua.StatusCodes.BadWriteNotSupported,
        ua.StatusCodes.BadNotSupported,
        ua.StatusCodes.BadNodeIdUnknown,
        ua.StatusCodes.BadMethodInvalid,
        ua.StatusCodes.BadArgumentsMissing,
        ua.StatusCodes.BadTooManyArguments,
        ua.StatusCodes.BadNotExecutable,
        ua.StatusCodes.BadInvalidArgument,
    }
)
"""Answers to a write or call that another try will not change."""


class _Known:
    """One point and what its node said last."""

    __slots__ = ("point", "patience", "reading")

    def __init__(self, point: Point, stale_after: int) -> None:
        self.point = point
        self.patience = (stale_after - 0.5) * point.poll
        self.reading: Reading | None = None


class OpcuaConnector(Connector):
    """One server. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: OpcuaDevice,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._name = name
        self._config = config
        self._port = port
        self._clock = port.clock
        self._sleep = sleep
        self._points = {point.name: _Known(Point(point, config), config.stale_after) for point in config.point}
        self._tap = port.share(tap_key(f"opcua {config.endpoint} {name}"), Tap)
        self._state: Path | None = port.share("state folder", lambda: None)
        self._identity: identity.Identity | None = None
        self._life: Life | None = None
        self._types = Types()
        self._methods: set[str] = set()
        self._heard = self._clock.now()
        self._values = self._connects = self._failures = 0
        self._up_at: float | None = None
        self._last_error = ""

    # -- one life ------------------------------------------------------------------------------------------

    async def run(self, up: Callable[[], None]) -> None:
        session: Session | None = None
        try:
            session = await self.connect()
            polls = {name: known.point.poll for name, known in self._points.items()}
            life = Life(self._name, self._config, polls, session, self._clock, self)
            self._types = life.types
            try:
                await life.start()
            except Status as error:
                raise Retry(f"the server refuses to be looked into ({error})") from None
            self._heard = self._clock.now()
            self._connects += 1
            self._up_at = self._heard
            self._methods = {name for name, target in life.targets.items() if target.owner is not None}
            self._life = life
            up()
            await self._work(life)
        except Retry as error:
            self._last_error = str(error)
            self._lost(str(error))
            raise error if error.after is not None else Retry(str(error), self._delay()) from None
        finally:
            self._life = None
            if session is not None:
                await session.close()

    def _delay(self) -> float:
        """Seconds until the next try: 0.5 doubling to ten, each device with its own share of the upper half."""
        if self._up_at is not None and self._clock.now() - self._up_at >= STEADY:
            self._failures = 0
        self._up_at = None
        delay: float = min(FIRST_DELAY * 2**self._failures, LONGEST_DELAY)
        self._failures = min(self._failures + 1, 10)
        return delay * (0.5 + 0.5 * (crc32(self._name.encode()) / 2**32))

    async def connect(self) -> Session:
        """An open session, of a server whose certificate is trusted. Raises Retry. Whoever gets it must close it."""
        config = self._config
        try:
            if config.security == "none":
                session = Session(config, None, self._tap)
            else:
                self._identity = self._identity or await asyncio.to_thread(self._own)
                session = Session(config, self._identity, self._tap)
                certificate = session.secure(session.choose(await session.endpoints()))
                refusal = await asyncio.to_thread(self._trust().refusal, certificate, self._clock.time())
                if refusal:
                    raise Retry(f"cannot connect to {config.endpoint}: {refusal}", after=10.0)
            await session.open()
        except Retry:
            raise
        except GatewayError as error:
            raise Retry(f"cannot connect to {config.endpoint}: {error}", after=30.0) from None
        return session

    def _own(self) -> identity.Identity:
        config = self._config
        if config.certificate is not None and config.key is not None:
            return identity.read(Path(config.certificate), Path(config.key))
        return identity.own(self._folder(), socket.gethostname(), self._clock.time())

    def _trust(self) -> trust.TrustList:
        return trust.TrustList(self._folder())

    def _folder(self) -> Path:
        if self._state is None:
            raise GatewayError("security needs a state folder to keep certificates in, and there is none")
        return self._state

    async def _work(self, life: Life) -> None:
        """Until cancelled or the first trouble."""
        try:
            async with asyncio.TaskGroup() as group:
                running: set[asyncio.Task[None]] = set()
                while True:
                    while len(running) < life.subscriptions.requests:
                        task = group.create_task(life.subscriptions.publish())
                        running.add(task)
                        task.add_done_callback(running.discard)
                    await self._sleep(life.wait(self._clock.now()))
                    await life.step(self._clock.now())
        except BaseExceptionGroup as errors:
            this = asyncio.current_task()
            if this is not None and this.cancelling():
                # A group that fails while it is cancelled tells of its failure alone.
                raise asyncio.CancelledError from None
            retries, others = errors.split(Retry)
            if others is not None or retries is None:
                raise
            raise retries.exceptions[0] from None

    # -- values ------------------------------------------------------------------------------------------

    def took(self, values: Sequence[tuple[str, Any]], is_report: bool) -> None:
        """(name, DataValue) were read, or reported by a subscription. One that is the same as before, by its own
        time, is not news; an older one that a read brings after a report is not either."""
        life = self._life
        time, now = self._clock.time(), self._clock.now()
        self._heard = now
        samples: list[Sample] = []
        for name, data in values:
            known = self._points[name]
            try:
                reading = take(data, self._types, self._config.max_items)
            except Unknown:
                if life is not None:
                    life.read_again([name])
                continue
            if is_report and reading.source is not None and reading == known.reading:
                continue
            known.reading = reading
            samples.append(
                known.point.took(
                    reading.raw, reading.dated(self._config.time, time), now, reading.quality, reading.reason
                )
            )
        self._values += len(samples)
        if samples:
            self._port.emit(samples)

    def failed(self, name: str, reason: str) -> None:
        """A point is not there, or cannot be used."""
        self._emit([self._points[name].point.bad(reason, self._clock.time())])

    def _lost(self, reason: str) -> None:
        """The server is away: what it reported is stale once it has been away as long as that."""
        time, now = self._clock.time(), self._clock.now()
        away = now - self._heard
        self._emit(
            [
                known.point.missed(reason, time, now)
                for name, known in self._points.items()
                if away >= known.patience and name not in self._methods
            ]
        )

    def _emit(self, samples: list[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    # -- commands ------------------------------------------------------------------------------------------

    async def write(self, point: str, value: Value) -> Value:
        known = self._points.get(point)
        if known is None:
            raise Rejected(f'no point is called "{point}"')
        life = self._life
        if life is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        target = life.targets.get(point)
        if target is None:
            raise Retry(f"not written: {life.missing.get(point, 'the node is not known yet')}")
        if target.owner is not None:
            return await self._call(life, target, value)
        raw = known.point.to_device(value)
        kind = target.kind
        try:
            if kind is ua.VariantType.Variant:
                kind = await self._kind_of(life, target)
            sent = coerce.variant(raw, kind, target.rank)
            code = await life.services.write(target.node, sent)
        except Status as error:
            code = error.code
        except Retry as error:
            raise Retry(f"unknown: {error}; it may have been written") from None
        _judge(code)
        return await self._read_back(life, known, target, sent)

    async def _kind_of(self, life: Life, target: Target) -> Any:
        """The type of the value that a node of an abstract type has now."""
        data = (await life.services.read([target.node]))[0]
        if data.Value is None or data.Value.VariantType is ua.VariantType.Null:
            raise Rejected("the node takes any type and has no value whose type could be used")
        return data.Value.VariantType

    async def _read_back(self, life: Life, known: _Known, target: Target, sent: Any) -> Value:
        try:
            data = (await life.services.read([target.node]))[0]
            reading = take(data, self._types, self._config.max_items)
        except (Retry, Status, Unknown) as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        if reading.quality is Quality.BAD:
            raise Retry(f"unknown: written, but not read back: {reading.reason}")
        known.reading = reading
        time = reading.dated(self._config.time, self._clock.time())
        sample = known.point.took(reading.raw, time, self._clock.now(), reading.quality, reading.reason)
        self._port.emit([sample])
        if not coerce.agree(sent.Value, data.Value.Value):
            raise Retry(f"written, but the server keeps {sample.value!r}")
        return sample.value

    async def _call(self, life: Life, target: Target, value: Value) -> Value:
        arguments = _arguments(target, value)
        try:
            result = await life.services.call(target.owner, target.node, arguments)
        except Status as error:
            _judge(error.code)
            raise
        except Retry as error:
            raise Retry(f"unknown: {error}; it may have been called") from None
        for argument, status in zip(target.arguments, result.InputArgumentResults or (), strict=False):
            if int(status.value) >> 31:
                raise Rejected(f"the server refuses the argument {argument.name}: {status_name(int(status.value))}")
        _judge(int(result.StatusCode.value))
        outputs = [Plain(self._types, self._config.max_items).value(one.Value) for one in result.OutputArguments or ()]
        return True if not outputs else outputs[0] if len(outputs) == 1 else outputs

    def status(self) -> dict[str, Any]:
        life = self._life
        return {
            "state": "down" if life is None else "up",
            "endpoint": str(self._config.endpoint),
            "security": self._config.security,
            "values": self._values,
            "connects": self._connects,
            "last_error": self._last_error,
            **(life.status() if life is not None else {}),
            **({"scans": life.rates.status()} if life is not None and life.polled else {}),
        }


def _judge(code: int) -> None:
    """Raises Rejected or Retry for a bad status of a write or call."""
    if code >> 31:
        name = status_name(code)
        if code & 0xFFFF0000 in NEVER_WORKS:
            raise Rejected(f"the server refused it: {name}")
        raise Retry(f"the server did not do it: {name}")


def _arguments(target: Target, value: Value) -> list[Any]:
    """The arguments of a method: a list, or JSON text of one; a bare value is the only argument; none needs none."""
    wanted = target.arguments
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        value = coerce.as_list(value)
    if isinstance(value, list):
        takes_one_list = len(wanted) == 1 and wanted[0].rank >= 1
        given = [value] if takes_one_list and not (len(value) == 1 and isinstance(value[0], list)) else value
    else:
        given = [] if not wanted else [value]
    if len(given) != len(wanted):
        names = ", ".join(f"{one.name} ({one.kind.name})" for one in wanted) or "none"
        raise Rejected(f"needs {len(wanted)} arguments, not {len(given)}: {names}")
    found = []
    for argument, one in zip(wanted, given, strict=True):
        try:
            found.append(coerce.variant(one, argument.kind, argument.rank))
        except Rejected as error:
            raise Rejected(f"{argument.name} {error}") from None
    return found
