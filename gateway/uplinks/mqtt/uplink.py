"""The life of a connection to a cloud broker: connect, subscribe, then rows up (``pump.py``) and messages down.

Messages of the cloud go to the local broker. Reconnecting, and how long to wait before it, is the business of whoever
calls ``run``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.broker.port import Done, Publisher
from gateway.clock import Clock, iso_time
from gateway.errors import Refused, Retry
from gateway.metrics import Metrics
from gateway.mqtt.reasons import TOPIC_NAME_INVALID, reason_text
from gateway.topic import name_problem
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.answers import Answers
from gateway.uplinks.mqtt.client import CloudClient, Welcome
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.mapping import Received, Topics, incoming_message, is_loop
from gateway.uplinks.mqtt.pump import PAUSES, Pump


class MqttUplinkRunner:
    """One uplink. The constructor does no I/O; ``run`` is called again for each connection, never twice at once.

    random  0 to 1, spreads the pauses
    pauses  see ``pump.PAUSES``
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
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._gateway = gateway_name
        self._client_id = f"gw-{gateway_name}" if config.client_id is None else config.client_id
        self._down_topic = Topics(config.receive)
        self._answers = Answers()
        self._pump = Pump(self._source, config, reader, clock, metrics, gateway_name, random, pauses)
        self._state = "down"
        self._last_error = ""
        self._connected_since: float | None = None

    async def run(self, up: Callable[[], None]) -> None:
        """The life of one connection. Raises Retry when it cannot be had or has ended."""
        pump = self._pump
        client = CloudClient(
            self._config, self._client_id, self._answers, pump.answered, self._on_message, pump.moved.set
        )
        self._state = "connecting"
        try:
            welcome = await client.connect()
            self._connected(welcome)
            up()
            await self._subscribe(client)
            await pump.run(client)
        except Retry as retry:
            self._last_error, pump.last_error = str(retry), ""
            raise
        finally:
            self._state = "down"
            self._connected_since = None
            pump.disconnected()
            await client.close()

    def status(self) -> dict[str, Any]:
        """What a person wants to see. ``reason`` says why nothing moves, or ``moving``.

        ``bytes`` counts PUBLISH packets as sent, without TLS and TCP.
        """
        since = self._connected_since
        return {
            "state": self._state,
            **self._pump.status(),
            "last_error": self._pump.last_error or self._last_error,
            "connected_since": None if since is None else iso_time(since),
        }

    # Connecting.

    def _connected(self, welcome: Welcome) -> None:
        if welcome.maximum_qos < 1:
            raise Retry("the broker takes only QoS 0 and never says what has arrived; use a broker that takes QoS 1")
        self._pump.connected(welcome)
        self._state = "up"
        self._last_error = ""
        self._connected_since = self._clock.time()

    async def _subscribe(self, client: CloudClient) -> None:
        wanted = self._config.receive
        codes = await client.subscribe([(entry.filter, entry.qos) for entry in wanted])
        for entry, code in zip(wanted, codes, strict=True):
            if code >= 0x80:
                # What goes up is worth more than a perfect connection: say it and go on.
                self._metrics.count("uplink_subscribe_refused")
                self._last_error = (
                    f"the broker refused the subscription to {entry.filter!r}: {reason_text(code)}; "
                    "check the broker's access rules"
                )

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
