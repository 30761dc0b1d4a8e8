"""The bounds of the MQTT server. Every number here is a setting under ``[mqtt]``."""

from __future__ import annotations


class Limits:
    """Bounds for each client and for all of them.

    max_packet          bytes: a larger packet is refused from its fixed header
    receive_maximum     QoS 1 and 2 messages a client may have unacknowledged towards us (Receive Maximum)
    max_inflight        QoS 1 and 2 messages we have unacknowledged towards a client, whatever it allows
    queue_count         messages that wait for one session beyond its window, or while it is away
    queue_bytes         the same in bytes of payload and topic
    offline_queue       what goes when there is no room in it: ``evict`` the oldest, ``reject`` the newest
    offline_bytes       bytes of the messages of all durable sessions together, where there is an archive
    max_output          bytes that wait for one socket before QoS 0 is dropped and QoS 1 and 2 wait
    max_sessions        connected and remembered clients together
    max_subscriptions   filters of one client
    keep_alive_max      seconds: longest keep-alive; a client that asks for more or for none gets this one (0: no bound)
    session_expiry_max  seconds that a session outlives its connection at most
    connect_timeout     seconds from the connection to a whole CONNECT
    topic_alias_maximum topic aliases a client may use towards us, and we towards a client that takes any
    slow_consumer_wait  seconds that publishers wait for a receiver that is full; then it counts as slow
    inflight_overflow   ``pending``: what is beyond a receiver's window waits within queue_count and queue_bytes;
                        ``backpressure``: publishers wait as soon as the window is full, however long, and nothing is
                        dropped for a connected client
    fan_out             ``sync``: a message reaches all its receivers before anything else happens; ``async``: it
                        reaches clients a few at a time, see ``fan_out.py``
    fan_out_count       messages that wait for that
    fan_out_bytes       the same in bytes of payload and topic
    slow_consumer       what a slow receiver gets: ``drop`` loses messages, ``disconnect`` loses its connection
    """

    __slots__ = (
        "max_packet",
        "receive_maximum",
        "max_inflight",
        "queue_count",
        "queue_bytes",
        "offline_queue",
        "offline_bytes",
        "max_output",
        "max_sessions",
        "max_subscriptions",
        "keep_alive_max",
        "session_expiry_max",
        "connect_timeout",
        "topic_alias_maximum",
        "slow_consumer_wait",
        "inflight_overflow",
        "slow_consumer",
        "fan_out",
        "fan_out_count",
        "fan_out_bytes",
    )

    def __init__(
        self,
        max_packet: int = 1 << 20,
        receive_maximum: int = 256,
        max_inflight: int = 256,
        queue_count: int = 1000,
        queue_bytes: int = 1 << 20,
        offline_queue: str = "evict",
        offline_bytes: int = 64 << 20,
        max_output: int = 256 << 10,
        max_sessions: int = 1000,
        max_subscriptions: int = 10_000,
        keep_alive_max: int = 0,
        session_expiry_max: float = 7 * 86_400,
        connect_timeout: float = 10.0,
        topic_alias_maximum: int = 10,
        slow_consumer_wait: float = 0.5,
        inflight_overflow: str = "pending",
        slow_consumer: str = "drop",
        fan_out: str = "sync",
        fan_out_count: int = 1000,
        fan_out_bytes: int = 1 << 20,
    ) -> None:
        self.max_packet = max_packet
        self.receive_maximum = receive_maximum
        self.max_inflight = max_inflight
        self.queue_count = queue_count
        self.queue_bytes = queue_bytes
        self.offline_queue = offline_queue
        self.offline_bytes = offline_bytes
        self.max_output = max_output
        self.max_sessions = max_sessions
        self.max_subscriptions = max_subscriptions
        self.keep_alive_max = keep_alive_max
        self.session_expiry_max = session_expiry_max
        self.connect_timeout = connect_timeout
        self.topic_alias_maximum = topic_alias_maximum
        self.slow_consumer_wait = slow_consumer_wait
        self.inflight_overflow = inflight_overflow
        self.slow_consumer = slow_consumer
        self.fan_out = fan_out
        self.fan_out_count = fan_out_count
        self.fan_out_bytes = fan_out_bytes
