"""Follows the next value of a topic through the gateway, for ``gateway why --watch``: each step a line, with its time.

While it runs, one more subscriber listens to this one topic, the deadband of its point is asked why, the rules that see
it are traced, and the outbox is looked at until the uplinks have acknowledged. Before and after that nothing of it is
there, so the others pay nothing.

It ends with the first value that has gone all its way, or after its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.broker.port import Done, Subscriber
from gateway.clock import iso_time
from gateway.connectors.base import Sample
from gateway.connectors.deadband import Reporter
from gateway.errors import GatewayError
from gateway.explain.why import Site, last_message, subscribers, topic_of
from gateway.explain.why_point import point_of, raw_of, sample_shown
from gateway.message import Message
from gateway.outbound import CLASSES
from gateway.rules.tracer import Trace
from gateway.rules.trial import listens
from gateway.rules.watched import shown_bytes
from gateway.store.accounts import is_for

MAX_SECONDS: Final = 300.0

LOOK: Final = 0.02
"""Seconds between two looks at whether the cloud has acknowledged: its times are that exact."""

SETTLE: Final = 0.1
"""Seconds that the rules and the outbox get after the last thing that happened."""

MAX_FOLLOWERS: Final = 4

MAX_EARLY: Final = 20

MAX_TRACED: Final = 4
"""Rules that are traced for one topic."""

Line = Callable[[dict[str, Any]], None]


class Followers:
    """All that follow, see the module's docstring."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._running: set[Follower] = set()

    def begin(self, request: Mapping[str, Any], sink: Line, on_end: Callable[[], None]) -> Callable[[], None]:
        """Follow the next value of ``topic`` for at most ``seconds``; returns what stops it. Raises GatewayError."""
        topic, seconds = topic_of(request), request.get("seconds", 30.0)
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_SECONDS:
            raise GatewayError(f"seconds must be a number above 0 and at most {MAX_SECONDS:g}")
        if len(self._running) >= MAX_FOLLOWERS:
            raise GatewayError(f"{MAX_FOLLOWERS} values are followed already")

        def ended() -> None:
            self._running.discard(follower)
            on_end()

        follower = Follower(self._site, topic, float(seconds), sink, ended)
        self._running.add(follower)
        follower.start()
        return follower.stop


class Follower(Subscriber):
    """Follows one topic."""

    def __init__(self, site: Site, topic: str, seconds: float, sink: Line, on_end: Callable[[], None]) -> None:
        self._site = site
        self._topic = topic
        self._seconds = seconds
        self._sink = sink
        self._on_end = on_end
        self._is_over = False
        self._traces: list[Trace] = []
        self._stop_packets: Callable[[], None] | None = None
        self._client: str | None = None
        self._packet: int | None = None
        self._tapped: tuple[Any, _Tap] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._since: float | None = None
        self._payload = ""
        self._early: list[dict[str, Any]] = []
        self._row: tuple[int, int] | None = None
        self._open: set[str] = set()

    # -- begin and end -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look."""
        site = self._site
        site.broker.subscribe(self._topic, self)
        self._tap()
        try:
            for running in site.engine.rules():
                if listens(running, self._topic) and len(self._traces) < MAX_TRACED:
                    self._traces.append(site.engine.tracer.start(running.program.name, self._seconds, self._rule))
            known = last_message(site, self._topic, [])
            if known is not None and known[0].source.startswith("client:"):
                self._watch_packets(known[0].source.removeprefix("client:"))
        except GatewayError as error:
            self._tell("not all is seen", reason=str(error))
        self._later(self._seconds, self._time_is_over)
        self._tell("watching", seconds=self._seconds, packets_of=self._client or "nobody: who publishes is not known")

    def _time_is_over(self) -> None:
        if self._open:
            self._tell("not acknowledged", uplinks=sorted(self._open), reason="the time to watch is over")
        self.stop()

    def stop(self) -> None:
        """Look no more; stopping twice is once."""
        if self._is_over:
            return
        self._is_over = True
        for timer in self._timers:
            timer.cancel()
        self._site.broker.unsubscribe(self._topic, self)
        if self._tapped is not None and self._tapped[0].reporter is self._tapped[1]:
            self._tapped[0].reporter = self._tapped[1].inner
        for trace in self._traces:
            self._site.engine.tracer.stop(trace)
        if self._stop_packets is not None:
            self._stop_packets()
        self._on_end()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, call))

    def _tell(self, step: str, **what: Any) -> None:
        if self._is_over:
            return
        clock = self._site.clock
        after = None if self._since is None else round((clock.now() - self._since) * 1e3, 3)
        self._sink({"time": clock.time(), "step": step, "after_ms": after, **what})

    # -- the device ----------------------------------------------------------------------------------------

    def _tap(self) -> None:
        found = point_of(self._site.loaded().value, self._topic)
        port = self._site.ports.get(found[0]) if found is not None else None
        if found is None or port is None:
            return
        outlet, point = port.outlet(found[1].name), found[1]

        def decided(sample: Sample, is_published: bool, reason: str) -> None:
            if self._since is not None:
                return  # a later value, while the first is still on its way
            raw, is_said = raw_of(point, sample)
            told = {"raw": raw, "raw_is": "said" if is_said else "worked out from the value"}
            self._tell("read", **sample_shown(sample), **({} if raw is None else told))
            self._tell("published" if is_published else "thinned", reason=reason)

        tap = _Tap(outlet.reporter, decided)
        self._tapped = outlet, tap
        outlet.reporter = tap

    # -- the broker ----------------------------------------------------------------------------------------

    def deliver(self, message: Message, done: Done | None) -> bool:
        if self._since is None:
            self._since = self._site.clock.now()
            self._tell(
                "message",
                source=message.source,
                payload=shown_bytes(message.payload),
                hex=message.payload[:32].hex(" "),
                bytes=len(message.payload),
                qos=message.qos,
                retain=message.retain,
                hops=message.hops,
                made=iso_time(message.time) if message.time else None,
            )
            found = subscribers(self._site, self._topic)
            self._tell("routed", **{**found, "receivers": found["receivers"] - 1})  # without this one
            self._payload = shown_bytes(message.payload)
            for line in self._early:
                self._rule(line)
            before = self._site.outbox.last - 1
            asyncio.get_running_loop().call_soon(self._find_row, before, message.payload)
        return False

    def keeps(self) -> bool:
        return False

    def _watch_packets(self, client: str) -> None:
        def packet(line: dict[str, Any]) -> None:
            name = line.get("packet")
            if name == "PUBLISH" and line["direction"] == "<" and line.get("topic") == self._topic:
                self._packet = line.get("id")
                self._tell("packet", **{key: value for key, value in line.items() if key != "time"})
            elif name in ("PUBACK", "PUBREC", "PUBCOMP") and line.get("id") == self._packet and self._packet:
                self._tell("told the publisher", packet=name, client=line["client"])

        self._client = client
        tracer = self._site.server.tracer
        trace = tracer.start(client, True, self._seconds, packet)
        self._stop_packets = lambda: tracer.stop(trace)

    # -- rules ---------------------------------------------------------------------------------------------

    def _rule(self, line: dict[str, Any]) -> None:
        if self._since is None:
            self._early = [*self._early[-MAX_EARLY:], line]  # rules may get a message before this does
        elif line.get("topic") == self._topic and line.get("payload") == self._payload:
            self._tell("rule", **{key: value for key, value in line.items() if key != "time"})

    # -- the outbox and the cloud --------------------------------------------------------------------------

    def _find_row(self, before: int, payload: bytes) -> None:
        if self._is_over:
            return
        site = self._site
        found = [one for one in site.rows.in_memory(self._topic, before) if one[1].payload == payload]
        if not found:
            self._tell("outbox", row=None, reason="no uplink forwards it, or it was not kept")
            self._later(SETTLE, self.stop)
            return
        room, row = found[-1]
        self._row = room, row.seq
        self._open = {name for name in site.outbox.uplinks if is_for(name, row.uplinks, site.outbox.heirs)}
        self._tell(
            "outbox", row=row.seq, message_id=row.message_id, uplinks=sorted(self._open), **{"class": CLASSES[room]}
        )
        self._look()

    def _look(self) -> None:
        if self._is_over or self._row is None:
            return
        room, seq = self._row
        for name in sorted(self._open):
            if seq in self._site.outbox.reader(name).acked(room):
                self._open.discard(name)
                self._tell("acknowledged", uplink=name, row=seq)
        if self._open:
            self._later(LOOK, self._look)
        else:
            self._later(SETTLE, self.stop)


class _Tap(Reporter):
    """A reporter that is asked why before it decides."""

    __slots__ = ("inner", "_decided")

    def __init__(self, inner: Reporter, decided: Callable[[Sample, bool, str], None]) -> None:
        super().__init__()
        self.inner = inner
        self._decided = decided

    def report(self, sample: Sample, now: float) -> bool:
        verdict = self.inner.verdict(sample, now)
        is_published = self.inner.report(sample, now)
        self._decided(sample, is_published, verdict.reason)
        return is_published

    def next_timer(self) -> float | None:
        return self.inner.next_timer()

    def on_timer(self, now: float) -> Sample | None:
        sample = self.inner.on_timer(now)
        if sample is not None:
            self._decided(sample, True, "an interval is over")
        return sample

    @property
    def published(self) -> Sample | None:
        return self.inner.published
