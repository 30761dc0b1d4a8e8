"""The life of a connection to a cloud broker: connect, subscribe, then rows up (``pump.py``) and messages down.

Messages of the cloud go to the local broker. Reconnecting, and how long to wait before it, is the business of whoever
calls ``run``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.broker.port import Done, Publisher
from gateway.clock import Clock, iso_time
from gateway.errors import Refused, Retry
from gateway.metrics import Metrics
from gateway.mqtt.reasons import TOPIC_NAME_INVALID, reason_text
from gateway.outbound import Archive, RightTime, Timing
from gateway.topic import name_problem
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.dead import DeadLetters, NoDeadLetters
from gateway.uplinks.mqtt.answers import Answers
from gateway.uplinks.mqtt.certificate_clock import CertificateClock
from gateway.uplinks.mqtt.client import CloudClient, Welcome
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.line import Line
from gateway.uplinks.mqtt.logins import logged_in
from gateway.uplinks.mqtt.mapping import Received, Topics, incoming_message, is_loop
from gateway.uplinks.mqtt.pump import Pump
from gateway.uplinks.mqtt.refusals import PAUSES
from gateway.uplinks.mqtt.waiting import WAITING
from gateway.uplinks.profiles.pick import service_of
from gateway.uplinks.resend import Resend


class MqttUplinkRunner:
    """One uplink. The constructor does no I/O; ``run`` is called again for each connection, never twice at once.

    random  0 to 1, spreads the pauses
    pauses  see ``refusals.PAUSES``
    dead    where rows go that the cloud will not take
    archive  what can be sent once more; None: nothing
    """

    def __init__(
        self,
        name: str,
        config: MqttUplink,
        reader: OutboxReader,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
        gateway_name: str,
        random: Callable[[], float],
        pauses: tuple[float, ...] = PAUSES,
        dead: DeadLetters | None = None,
        timing: Timing | None = None,
        archive: Archive | None = None,
    ) -> None:
        self._source = f"uplink:{name}"
        self._config = config
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._gateway = gateway_name
        self._timing = timing or RightTime()
        self._certificate_clock = CertificateClock(self._timing)
        self._client_id = f"gw-{gateway_name}" if config.client_id is None else config.client_id
        self._service = service_of(config)
        self._down_topic = Topics(config.receive)
        self._answers = Answers()
        self._line = Line(config.endpoints, clock.now)
        self._pump = Pump(
            self._source, config, reader, clock, metrics, gateway_name, random, pauses,
            NoDeadLetters() if dead is None else dead, self._timing, archive, self._service.limits,
        )  # fmt: skip
        self._asked_at = config.ledger.resend if config.ledger is not None else None
        self._state = "down"
        self._last_error = ""
        self._connected_since: float | None = None

    async def run(self, up: Callable[[], None]) -> None:
        """The life of one connection, or of several when a login ends and is renewed. Raises Retry when it cannot be
        had or has ended."""
        while True:
            await self._run(up)

    async def _run(self, up: Callable[[], None]) -> None:
        """One connection, until it must be made anew."""
        pump = self._pump
        if self._line.hosts.current.tls:
            await self._wait_for_time()  # a login may end, too: it is made afterwards
        try:
            config, lifetime = logged_in(self._config, self._clock.time())
        except Retry as retry:
            self._last_error = str(retry)
            raise
        client = CloudClient(
            config,
            self._client_id,
            self._answers,
            pump.answered,
            pump.acked,
            self._on_message,
            pump.moved.set,
            self._line,
            self._service,
        )
        try:
            self._state = "connecting"
            welcome = await client.connect()
            self._connected(welcome)
            up()
            await self._subscribe(client)
            await self._pump_for(lifetime, client)
        except Retry as retry:
            self._last_error, pump.out.last_error = self._certificate_clock.judge(retry), ""
            pump.out.ended(client, self._last_error)
            raise Retry(self._last_error, retry.after) from retry
        finally:
            self._state = "down"
            self._connected_since = None
            pump.disconnected()
            await client.close()

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received since the start: MQTT, TLS, TCP and IP."""
        return self._line.meter.read()

    async def finish(self) -> None:
        """The gateway stops: wait for what is under way; whoever calls it bounds the time."""
        await self._pump.finish()

    def press(self, level: int) -> None:
        """Save bytes, see ``uplinks.budget``."""
        self._pump.press(level)

    async def _pump_for(self, lifetime: float | None, client: CloudClient) -> None:
        try:
            async with asyncio.timeout(lifetime) as life:
                await self._pump.run(client)
        except TimeoutError:
            if not life.expired():
                raise

    def status(self) -> dict[str, Any]:
        """What a person wants to see. ``reason`` says why nothing moves, or ``moving``.

        ``bytes`` counts PUBLISH packets as sent, ``wire_out`` and ``wire_in`` all that crossed the network, with
        TLS, TCP and IP.
        """
        wire_out, wire_in = self._line.meter.read()
        since = self._connected_since
        return {
            "state": self._state,
            **self._pump.status(),
            "wire_out": wire_out,
            "wire_in": wire_in,
            "host": str(self._line.hosts.current),
            **({"reason": WAITING} if self._state == "waiting" else {}),
            "last_error": self._pump.out.last_error or self._last_error,
            "connected_since": None if since is None else iso_time(since),
        }

    @property
    def resend(self) -> Resend | None:
        """Who sends rows once more; None when nothing can be."""
        return self._pump.again.resend

    # Connecting.

    async def _wait_for_time(self) -> None:
        why = self._certificate_clock.why()
        if why is not None:
            self._state = "waiting"
            self._last_error = why
            try:
                await self._certificate_clock.wait()
            finally:
                self._state = "down"

    def _connected(self, welcome: Welcome) -> None:
        if welcome.maximum_qos < 1:
            raise Retry("the broker takes only QoS 0 and never says what has arrived; use a broker that takes QoS 1")
        self._pump.connected(welcome)
        self._state = "up"
        self._last_error = ""
        self._connected_since = self._clock.time()

    async def _subscribe(self, client: CloudClient) -> None:
        wanted = list(self._service.subscriptions([(entry.filter, entry.qos) for entry in self._config.receive]))
        if self._asked_at is not None:
            wanted.append((self._asked_at, 1))
        codes = await client.subscribe(wanted)
        for (pattern, _), code in zip(wanted, codes, strict=True):
            if code >= 0x80:
                # What goes up is worth more than a perfect connection: say it and go on.
                self._metrics.count("uplink_subscribe_refused")
                self._last_error = (
                    f"the broker refused the subscription to {pattern!r}: {reason_text(code)}; "
                    "check the broker's access rules"
                )

    # Down.

    def _on_message(self, received: Received, done: Done | None) -> None:
        self._metrics.count("uplink_messages_in")
        resend = self.resend
        if resend is not None and received.topic == self._asked_at:
            resend.ask(received.payload)
            if done is not None:
                done(None)
            return
        topic = self._down_topic(received.topic)
        if topic is None or is_loop(received.props, self._gateway):
            # No entry matches: a subscription of earlier settings that the broker's session still has.
            self._metrics.drop("uplink_unwanted" if topic is None else "loop")
            if done is not None:
                done(None)
            return
        problem = name_problem(topic)
        if problem:
            self._metrics.drop("uplink_bad_topic")
            if done is not None:
                done(Refused(f"topic {topic[:100]!r} {problem}", TOPIC_NAME_INVALID))
            return
        message = incoming_message(received, topic, self._source, self._clock.time(), self._clock.now())
        self._publisher.publish(message, done)
