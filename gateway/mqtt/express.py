"""The express lane: plain QoS 0 messages are forwarded as the bytes they came in.

Most messages of a busy broker are QoS 0 PUBLISHes on a few topics, without properties, to receivers of the same
protocol version. Nothing in such a packet changes on its way. So the bytes of a whole run of them (same size, same
topic) are handed to each receiver as one piece, without decoding a single one.

A topic takes this lane only after one of its messages has gone the long way and was found plain: every receiver is
a connected session of the same version whose subscription adds nothing; for QoS 1 also one keeper that takes payloads
as they are (the outbox). What was found is kept for each connection,
because the right to publish is the publisher's, and forgotten whenever a subscription, a connection or a right
changes (``MqttServer.routes``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.broker.port import Keeper
from gateway.message import Message

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.decode import Decoder
    from gateway.mqtt.outgoing import Outgoing

PLAIN: Final = 0x30
"""First byte of a PUBLISH with QoS 0 that is not retained."""

MAX_ROUTES: Final = 256
"""Topics remembered for one connection."""

LONGEST_TOPIC: Final = 256


class Route:
    """Where the messages of one topic go. ``keeper`` answers when it has them safe; None: they are answered at once."""

    __slots__ = ("keeper", "receivers", "topic")

    def __init__(self, topic: str, receivers: list[Outgoing], keeper: Keeper | None) -> None:
        self.topic = topic
        self.receivers = receivers
        self.keeper = keeper


class Express:
    """What one connection has learned: routes by the bytes of their topic, and when (``MqttServer.routes``)."""

    __slots__ = ("acked", "plain", "since")

    def __init__(self) -> None:
        self.plain: dict[bytes, Route] = {}
        self.acked: dict[bytes, Route] = {}
        self.since = -1

    def is_current(self, routes: int) -> bool:
        """Whether what was learned still holds; if not, it is forgotten."""
        if self.since == routes:
            return True
        self.plain.clear()
        self.acked.clear()
        self.since = routes
        return False


def run_plain(connection: Connection, decoder: Decoder) -> bool:
    """Forward the plain QoS 0 messages that are next in the decoder's data; False when the next is not one."""
    data = decoder.data
    at = decoder.at
    end = len(data)
    is_v5 = connection.version == 5
    turn = connection.server.clock
    # A run is cut so that the bound of a receiver's output is not passed by far.
    longest = connection.server.limits.max_output >> 2
    count = payload = 0
    while at + 4 <= end and data[at] == PLAIN:
        length = data[at + 1]
        start = at + 2
        if length > 0x7F:
            high = data[start]
            if high > 0x7F or high == 0:
                break
            length = length & 0x7F | high << 7
            start += 1
        stop = start + length
        body = start + 2 + (data[start] << 8 | data[start + 1]) if start + 2 <= end else end + 1
        if stop > end or body > stop or stop - at > decoder.max_packet:
            break
        route = connection.express.plain.get(data[start + 2 : body])
        if route is None:
            break
        receivers = route.receivers
        for receiver in receivers:
            if not receiver.is_ready():
                break
        if turn.is_pressed():
            break
        if is_v5:
            if body >= stop or data[body]:
                break
            body += 1
        size = stop - at
        head = data[at:body]
        first = at
        at = stop
        most = first + longest
        while at + size <= end and at < most and data.startswith(head, at):
            at += size
        packets = (at - first) // size
        count += packets
        payload += packets * (stop - body)
        run = data[first:at]
        for receiver in receivers:
            receiver.forward(run, packets, packets * (stop - body))
    if not count:
        return turn.is_pressed()
    decoder.at = at
    metrics = connection.server.metrics
    metrics.traffic.messages_in += count
    metrics.traffic.packets_in += count
    metrics.traffic.payload_in += payload
    return True


def learn(connection: Connection, message: Message) -> None:
    """A QoS 0 or 1 message has gone the long way: remember its topic if all its receivers are plain."""
    server, express = connection.server, connection.express
    if message.retain or message.props or message.expires is not None or express.since != server.routes:
        return
    routes = express.acked if message.qos else express.plain
    topic = message.topic.encode()
    if len(routes) >= MAX_ROUTES or len(topic) > LONGEST_TOPIC:
        return
    found: list[Outgoing] = []
    keeper: Keeper | None = None
    if server.broker.is_guarded(message.topic):
        return
    receivers = server.broker.receivers(message.topic)
    if server.fan_out is not None and server.fan_out.wants(message.source, len(receivers)):
        return
    for receiver in receivers:
        way = receiver.express(connection.version, message.qos)
        if way is None:
            return
        if not isinstance(way, Keeper):
            found.append(way)
        elif keeper is None:
            keeper = way
        else:
            return
    routes[topic] = Route(message.topic, found, keeper)
