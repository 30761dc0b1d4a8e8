"""A CoAP device: polls and observes its resources, writes with read-back, waits for nodes that sleep.

One life (``run``): a socket, a poller, an observer for each observed resource, until the device is away: nobody
listens on its port, or several questions in a row have brought nothing. A node that sleeps (``expect``) is never
away: it is asked again and again, and what is to be written waits until it shows itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.connectors.base import Connector, Port, Sample
from gateway.connectors.coap.client import Away, Client, Reply
from gateway.connectors.coap.config import CoapDevice, CoapPoint, Resource
from gateway.connectors.coap.decode import agree, encoded, readings
from gateway.connectors.points import Point
from gateway.connectors.polling import Rates
from gateway.connectors.tap import Tap
from gateway.connectors.tap import key as tap_key
from gateway.errors import Rejected, Retry
from gateway.message import Value

AWAKE_SECONDS: Final = 10.0
"""How long a node that sleeps is taken to be awake after it has shown itself."""

PAUSE_SECONDS: Final = 1.0
"""Before an observation that the device has ended is made anew."""

MARGIN_SECONDS: Final = 5.0
"""How long after its Max-Age a notification may come (RFC 7641 section 3.3.1 has 5 to 15)."""

_NOT_NOW: Final = (0xA3, 0xA4, 0x9D)
"""5.03, 5.04, 4.29: they say nothing about the value."""


class _Source:
    """One resource, with the points that are in its answers. ``format``: what it answered with last."""

    __slots__ = ("accept", "format", "is_observed", "points", "resource")

    def __init__(self, resource: Resource, accept: int | None) -> None:
        self.resource = resource
        self.accept = accept
        self.points: list[CoapPoint] = []
        self.is_observed = False
        self.format: int | None = None


class CoapConnector(Connector):
    """One device. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: CoapDevice,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._port = port
        self._clock = port.clock
        self._tap = port.share(tap_key(f"coap {config.endpoint}"), Tap)
        self._sleep = sleep
        self._points = {point.name: Point(point, config.patient) for point in config.point}
        self._sources: dict[tuple[Resource, int | None], _Source] = {}
        self._source_of: dict[str, _Source] = {}
        for point in config.point:
            source = self._sources.setdefault((point.resource, point.accept), _Source(point.resource, point.accept))
            source.points.append(point)
            source.is_observed |= point.observe
            self._source_of[point.name] = source
        polls = {
            point.name: point.poll or config.poll
            for point in config.point
            if not self._source_of[point.name].is_observed
        }
        self._rates = Rates(name, polls, 0.0, config.phase)
        self._client: Client | None = None
        self._up: Callable[[], None] | None = None
        self._awake = asyncio.Event()
        self._heard_at: float | None = None
        self._silent = 0
        self._requests = self._timeouts = self._errors = self._notifications = 0
        self._last_error = ""

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self, up: Callable[[], None]) -> None:
        client = Client(self._config, self._tap)
        self._up, self._silent = up, 0
        try:
            await client.open()
            self._client = client
            self._rates.restart(self._clock.now())
            await self._work(client)
        except Retry as error:
            self._last_error = str(error)
            self._missed(self._config.point, str(error))
            raise
        finally:
            self._client = None
            self._up = None
            await client.close()

    async def _work(self, client: Client) -> None:
        observed = [source for source in self._sources.values() if source.is_observed]
        trouble: list[Retry] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll(client))
                for source in observed:
                    group.create_task(self._observe(client, source))
        except* Retry as several:
            trouble += [error for error in several.exceptions if isinstance(error, Retry)]
        if trouble:
            raise trouble[0]

    async def _poll(self, client: Client) -> None:
        while True:
            await self._sleep(self._rates.wait(self._clock.now()))
            due = self._rates.begin(self._clock.now())
            # Points with one resource share its answer.
            is_complete = True
            for source in dict.fromkeys(self._source_of[name] for name in due):
                is_complete &= await self._read(client, source)
            if is_complete:
                self._rates.finish()

    async def _read(self, client: Client, source: _Source) -> bool:
        try:
            reply = await client.get(source.resource, source.accept)
        except Away as error:
            self._unanswered(source, error)
            return False
        self._took(source, reply)
        return True

    async def _observe(self, client: Client, source: _Source) -> None:
        while True:
            pause = PAUSE_SECONDS
            try:
                async with client.observing(source.resource, source.accept) as stream:
                    limit = self._config.timeout
                    while (reply := await stream.next(limit)) is not None:
                        self._took(source, reply)
                        self._notifications += stream.is_observed
                        limit = self._patience(reply)
                    if not stream.is_observed:
                        # It does not tell by itself: it is asked instead.
                        pause = self._config.poll
                    elif not stream.has_ended:
                        pause = 0.0
            except Away as error:
                self._unanswered(source, error)
                pause = self._config.poll
            await self._sleep(pause)

    def _patience(self, reply: Reply) -> float:
        """Seconds without a notification after which the observation is made anew."""
        limit = self._config.refresh or max(PAUSE_SECONDS, reply.max_age + MARGIN_SECONDS)
        return limit if self._config.expect is None else max(limit, self._config.expect)

    # -- answers -------------------------------------------------------------------------------------------

    def _heard(self) -> None:
        """The device has said something."""
        self._silent = 0
        self._heard_at = self._clock.now()
        self._awake.set()
        if self._up is not None:
            up, self._up = self._up, None
            up()

    def _took(self, source: _Source, reply: Reply) -> None:
        self._requests += 1
        self._heard()
        if reply.is_success:
            source.format = reply.content_format if reply.content_format is not None else source.format
            self._port.emit(self._samples(source.points, reply))
            return
        self._errors += 1
        self._last_error = f"{source.resource}: {reply.text}"
        if reply.code in _NOT_NOW:
            self._missed(source.points, reply.text)
            return
        time = self._clock.time()
        self._emit([self._points[point.name].bad(reply.text, time) for point in source.points])

    def _samples(self, points: list[CoapPoint], reply: Reply) -> list[Sample]:
        time, now = self._clock.time(), self._clock.now()
        samples: list[Sample | None] = []
        for found in readings(points, reply.payload, reply.content_format, time):
            point = self._points[found.point]
            if found.problem:
                self._last_error = f"{found.point}: {found.problem}"
                samples.append(point.bad(found.problem, found.time, reply.payload))
            else:
                samples.append(point.took(found.value, found.time, now))
        return [sample for sample in samples if sample is not None]

    def _unanswered(self, source: _Source, error: Away) -> None:
        """No answer. Raises Retry when the device is away."""
        self._requests += 1
        self._timeouts += 1
        self._silent += 1
        self._last_error = f"{source.resource}: {error}"
        if self._config.expect is None and (error.is_refused or self._silent >= self._config.stale_after):
            raise Retry(f"no connection to {self._config.endpoint}: {error}")
        self._missed(source.points, str(error))

    def _missed(self, points: tuple[CoapPoint, ...] | list[CoapPoint], reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([self._points[point.name].missed(reason, time, now) for point in points])

    def _emit(self, samples: list[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    # -- writes --------------------------------------------------------------------------------------------

    @property
    def _sleeps(self) -> bool:
        """Whether the node is taken to be asleep now."""
        if self._config.expect is None:
            return False
        return self._heard_at is None or self._clock.now() - self._heard_at > AWAKE_SECONDS

    async def ready(self) -> None:
        """Wait until something can be written: a node that sleeps until it shows itself. Raises Retry when it has not
        for twice as long as expected."""
        limit = 2 * self._config.expect if self._config.expect is not None else None
        try:
            async with asyncio.timeout(limit):
                while self._sleeps:
                    self._awake.clear()
                    await self._awake.wait()
        except TimeoutError:
            raise Retry(f"the node has not shown itself for {limit:g} s; nothing was written") from None

    async def write(self, point: str, value: Value) -> Value:
        live = self._points.get(point)
        if live is None:
            raise Rejected(f'no point is called "{point}"')
        source, settings = self._source_of[point], next(one for one in self._config.point if one.name == point)
        raw = live.to_device(value)
        payload, content_format = encoded(settings, raw, source.format)
        client = self._client
        if client is None:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        if self._sleeps:
            raise Retry("the node sleeps")
        try:
            reply = await client.put(settings.target, payload, content_format)
        except Away as error:
            raise Retry(f"unknown: {error}; it may have been written") from None
        self._heard()
        if not reply.is_success:
            if reply.code >> 5 == 4 and reply.code not in _NOT_NOW:
                raise Rejected(f"the device refused it: {reply.text}")
            raise Retry(f"the device did not do it: {reply.text}")
        return await self._read_back(client, source, live, settings, raw)

    async def _read_back(self, client: Client, source: _Source, live: Point, settings: CoapPoint, raw: Value) -> Value:
        try:
            reply = await client.get(source.resource, source.accept)
        except Away as error:
            raise Retry(f"unknown: written, but not read back: {error}") from None
        if not reply.is_success:
            raise Retry(f"unknown: written, but not read back: {reply.text}")
        time, now = self._clock.time(), self._clock.now()
        found = readings([settings], reply.payload, reply.content_format, time)[-1]
        if found.problem:
            raise Retry(f"unknown: written, but not read back: {found.problem}")
        sample = live.took(found.value, found.time, now)
        self._port.emit([sample])
        if not agree(raw, found.value):
            raise Retry(f"written, but the device keeps {sample.value!r}")
        return sample.value

    def status(self) -> dict[str, Any]:
        return {
            "state": "down" if self._client is None else "asleep" if self._sleeps else "up",
            "endpoint": str(self._config.endpoint),
            "scans": self._rates.status(),
            "requests": self._requests,
            "timeouts": self._timeouts,
            "errors": self._errors,
            "notifications": self._notifications,
            "observed": sum(source.is_observed for source in self._sources.values()),
            "last_error": self._last_error,
        }
