"""Rows of the outbox to the cloud, in order, until the cloud has each; messages of the cloud to the local broker.

One ``run`` is one connection: connect, subscribe, send again what has no answer, then what is new. The window
lives longer than a connection, so that only unanswered rows are repeated, each under its packet identifier and
its message id.

A row leaves the window when the cloud has acknowledged it, or when it can never arrive: expired, too large, or
refused. A refusal that may pass stops the line for a while and is tried again; after ``TRIES`` the row is
dropped and counted, and the line moves on: one bad row must not hold up those behind it.

Reconnecting, and how long to wait before it, is the business of whoever calls ``run``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from gateway.broker.port import Done, Publisher
from gateway.clock import Clock, iso_time
from gateway.config.declare import Secret
from gateway.errors import Refused, Retry
from gateway.metrics import Metrics
from gateway.mqtt.reasons import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    PACKET_IDENTIFIER_IN_USE,
    PACKET_TOO_LARGE,
    QUOTA_EXCEEDED,
    REASONS,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
    reason_text,
)
from gateway.topic import name_problem
from gateway.uplinks.base import OutboxReader, Row
from gateway.uplinks.mqtt.answers import Answers
from gateway.uplinks.mqtt.client import CloudClient, Welcome
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.mapping import Received, Topics, incoming_message, is_loop, outgoing_properties
from gateway.uplinks.mqtt.window import Slot, Window, packet_id
from gateway.uplinks.profiles.pace import Pace
from gateway.uplinks.profiles.pick import service_of

READ_ROWS: Final = 256
READ_BYTES: Final = 256 * 1024
"""One batch from the outbox: what waits in memory in front of the window."""

TRIES: Final = 3
"""How often a row is sent to a cloud that refuses it."""

PAUSES: Final = (1.0, 5.0)
"""Seconds the line rests after the first and the second refusal of a row that may pass."""

PASSING: Final = frozenset((UNSPECIFIED_ERROR, IMPLEMENTATION_SPECIFIC_ERROR, PACKET_IDENTIFIER_IN_USE, QUOTA_EXCEEDED))
"""Refusals that say nothing against the row itself."""


class MqttUplinkRunner:
    """One uplink. The constructor does no I/O; ``run`` is called again for each connection, never twice at once.

    random  0 to 1, spreads the pauses
    pauses  see PAUSES
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
    ) -> None:
        self._source = f"uplink:{name}"
        self._config = config
        self._reader = reader
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._gateway = gateway_name
        self._random = random
        self._pauses = pauses
        self._client_id = f"gw-{gateway_name}" if config.client_id is None else config.client_id
        self._service = service_of(config)
        self._pace = Pace(self._service.limits.rate)
        self._up_topic = Topics(config.forward)
        self._down_topic = Topics(config.receive)
        self._answers = Answers()
        self._moved = asyncio.Event()
        self._resume_at = 0.0
        # Set by the first run: before it, the store may not be open.
        self._window: Window | None = None
        self._queue: deque[Row] = deque()
        self._read_to = 0
        self._more = True
        self._commits = 0
        self._possibly_sent = 0
        self._sent = self._acked = self._refused = self._bytes = 0
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
        window = self._begin()
        username, password, lifetime = self._service.login(self._config, self._clock.time())
        client = CloudClient(
            replace(self._config, username=username, password=None if password is None else Secret(password)),
            self._client_id,
            self._answers,
            self._on_answer,
            self._on_message,
            self._moved.set,
            self._service,
        )
        self._state = "connecting"
        try:
            welcome = await client.connect()
            self._connected(window, welcome)
            up()
            await self._subscribe(client)
            await self._pump_for(lifetime, client, window)
        except Retry as retry:
            self._last_error = str(retry)
            raise
        finally:
            self._state = "down"
            self._connected_since = None
            window.disconnected()
            await client.close()

    def status(self) -> dict[str, Any]:
        """What a person wants to see. ``reason`` says why nothing moves, or ``moving``.

        ``bytes`` counts PUBLISH packets as sent, without TLS and TCP.
        """
        window = self._window
        since = self._connected_since
        return {
            "state": self._state,
            "reason": self._reason(),
            "in_flight": window.in_flight if window is not None else 0,
            "cursor": window.cursor if window is not None else self._reader.cursor,
            "sent": self._sent,
            "acked": self._acked,
            "refused": self._refused,
            "bytes": self._bytes,
            "last_error": self._last_error,
            "connected_since": None if since is None else iso_time(since),
        }

    def _reason(self) -> str:
        window = self._window
        if self._state != "up" or window is None:
            return "offline"
        if self._clock.now() < self._resume_at:
            return "paused"
        if not len(window) and not self._queue and not self._more:
            return "caught_up"
        if self._queue and not window.has_room(self._queue[0]):
            return "window_full"
        return "moving"

    # Connecting.

    def _begin(self) -> Window:
        if self._window is None:
            self._window = Window(self._reader.cursor, self._config.window)
            self._read_to = self._reader.cursor
            self._possibly_sent = self._reader.possibly_sent
            self._reader.wake(self._on_rows)
        return self._window

    def _connected(self, window: Window, welcome: Welcome) -> None:
        if welcome.maximum_qos < 1:
            raise Retry("the broker takes only QoS 0 and never says what has arrived; use a broker that takes QoS 1")
        if not welcome.session_present:
            window.new_session()
            self._possibly_sent = 0
        window.limit = min(self._config.window, welcome.receive_maximum)
        self._resume_at = 0.0
        self._state = "up"
        self._last_error = ""
        self._connected_since = self._clock.time()

    async def _subscribe(self, client: CloudClient) -> None:
        wanted = self._service.subscriptions([(entry.filter, entry.qos) for entry in self._config.receive])
        codes = await client.subscribe(wanted)
        for (pattern, _), code in zip(wanted, codes, strict=True):
            if code >= 0x80:
                # What goes up is worth more than a perfect connection: say it and go on.
                self._metrics.count("uplink_subscribe_refused")
                self._last_error = (
                    f"the broker refused the subscription to {pattern!r}: {reason_text(code)}; "
                    "check the broker's access rules"
                )

    # Up.

    async def _pump_for(self, lifetime: float | None, client: CloudClient, window: Window) -> None:
        try:
            async with asyncio.timeout(lifetime) as life:
                await self._pump(client, window)
        except TimeoutError:
            if not life.expired():
                raise

    async def _pump(self, client: CloudClient, window: Window) -> None:
        """Keep the window full until the connection ends."""
        while True:
            client.check()
            self._moved.clear()
            rest = self._resume_at - self._clock.now()
            if rest > 0:
                await self._wait(rest)
                continue
            self._send_waiting(client, window)
            self._send_new(client, window)
            if self._must_rest():
                continue
            if not self._queue and self._more:
                await self._read()
            else:
                await self._moved.wait()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._moved.wait()
        except TimeoutError:
            pass

    async def _read(self) -> None:
        commits = self._commits
        rows = await self._reader.read(self._read_to, READ_ROWS, READ_BYTES)
        # A commit while the read was under way may have added what it did not see.
        self._more = bool(rows) or self._commits != commits
        if rows:
            self._read_to = rows[-1].seq
            self._queue.extend(rows)

    def _on_rows(self) -> None:
        self._commits += 1
        self._more = True
        self._moved.set()

    def _send_waiting(self, client: CloudClient, window: Window) -> None:
        for slot in window.waiting():
            if window.in_flight >= window.limit or self._must_rest():
                return
            self._send(client, window, slot)

    def _send_new(self, client: CloudClient, window: Window) -> None:
        queue = self._queue
        while queue and not self._must_rest():
            row = queue[0]
            if row.source == self._source or self._up_topic(row.topic) is None:
                if window.skip(row.seq):
                    self._reader.acknowledge(window.cursor)
            elif window.has_room(row):
                self._send(client, window, window.take(row, row.seq <= self._possibly_sent))
            else:
                return
            queue.popleft()

    def _must_rest(self) -> bool:
        """Whether the line rests, after a refusal or because the service takes no more in this second."""
        now = self._clock.now()
        wait = self._pace.wait(now)
        if wait:
            self._resume_at = max(self._resume_at, now + wait)
        return self._resume_at > now

    def _send(self, client: CloudClient, window: Window, slot: Slot) -> None:
        row = slot.row
        assert row is not None, "a settled row is never sent"
        topic = self._up_topic(row.topic)
        assert topic is not None, "a row without a topic at the cloud never enters the window"
        time = self._clock.time()
        if row.expires is not None and row.expires <= time:
            self._give_up(window, slot, "expired")
            return
        props = outgoing_properties(row, self._gateway, time)
        try:
            size = client.publish(packet_id(row.seq), topic, row.payload, row.retain, props, slot.sent)
        except Refused as refused:
            self._note(row, str(refused))
            self._give_up(window, slot, "too_large" if refused.reason == PACKET_TOO_LARGE else "bad_topic")
            return
        except ValueError as error:
            self._note(row, f"it cannot be written as MQTT: {error}")
            self._give_up(window, slot, "malformed")
            return
        window.start(slot)
        self._pace.sent(self._clock.now())
        self._sent += 1
        self._bytes += size
        self._metrics.count("uplink_messages_out")
        self._metrics.count("uplink_bytes_out", size)

    def _on_answer(self, identifier: int, reason: int) -> None:
        window = self._window
        slot = window.answered(identifier) if window is not None else None
        if window is None or slot is None or slot.row is None:
            return
        if reason < 0x80:
            self._acked += 1
            self._settle(window, slot)
        else:
            self._on_refusal(window, slot, slot.row, reason)
        self._moved.set()

    def _on_refusal(self, window: Window, slot: Slot, row: Row, reason: int) -> None:
        self._refused += 1
        self._metrics.count("uplink_refused")
        self._note(row, f"the broker refused it: {reason_text(reason)}")
        window.wait(slot)
        if reason in PASSING and slot.tries < TRIES:
            pause = self._pauses[min(slot.tries, len(self._pauses)) - 1]
            self._resume_at = self._clock.now() + pause * (0.5 + self._random())
        else:
            name = REASONS[reason][0] if reason in REASONS else "unknown"
            self._give_up(window, slot, "refused_" + name.replace(" ", "_"))

    def _give_up(self, window: Window, slot: Slot, reason: str) -> None:
        if slot.row is not None:
            self._reader.drop(slot.row, reason)
        self._settle(window, slot)

    def _settle(self, window: Window, slot: Slot) -> None:
        if window.settle(slot):
            self._reader.acknowledge(window.cursor)

    def _note(self, row: Row, text: str) -> None:
        self._last_error = f"message {row.message_id} on {row.topic!r}: {text}"

    # Down.

    def _on_message(self, received: Received, done: Done | None) -> None:
        self._metrics.count("uplink_messages_in")
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
