"""The express lane of QoS 1: plain PUBLISHes to plain receivers, and the PUBACKs that come back.

Like ``express.py``, but each message gets a packet id of its own for each receiver and stays in flight there, so it
is made into a ``Message``. What is saved is decoding, routing and encoding: the bytes around the packet id are
those that came in. Where the outbox keeps a topic, it is handed the payload, and one ``Run`` holds the answers of all
messages that came together. A topic that a rule wants to see is never learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.message import Message
from gateway.mqtt.express import PLAIN as PLAIN_QOS_0
from gateway.mqtt.express import run_plain
from gateway.mqtt.incoming import Run
from gateway.mqtt.item import Item
from gateway.mqtt.reasons import NO_MATCHING_SUBSCRIBERS, SUCCESS

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.decode import Decoder

PLAIN: Final = 0x32
"""First byte of a PUBLISH with QoS 1 that is neither retained nor repeated."""

FLAGS: Final = 0x02

PUBACK_TYPE: Final = 0x40
"""First byte of every PUBACK."""


def run_acked(connection: Connection, decoder: Decoder) -> bool:
    """Deliver the plain QoS 1 messages that are next in the decoder's data; False when the next is not one."""
    session = connection.session
    assert session is not None
    incoming = session.incoming
    run: Run | None = None
    room = connection.server.limits.receive_maximum - incoming.unanswered
    data = decoder.data
    at = decoder.at
    end = len(data)
    turn = connection.server.clock
    source = session.source
    is_v5 = connection.version == 5
    key = FLAGS | is_v5 << 4
    answers: list[bytes] = []
    is_unheard = False  # the same for all answers of a run
    payload_in = 0
    while at + 6 <= end and data[at] == PLAIN:
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
        rest = body + 3 if is_v5 else body + 2
        if stop > end or rest > stop or stop - at > decoder.max_packet:
            break
        route = connection.express.acked.get(data[start + 2 : body])
        if route is None or (is_v5 and data[body + 2]) or not (data[body] or data[body + 1]):
            break
        keeper = route.keeper
        if is_v5 and is_unheard is (keeper is not None or bool(route.receivers)):
            if answers:
                break
            is_unheard = not is_unheard
        for receiver in route.receivers:
            if not receiver.is_ready():
                break
        if turn.is_pressed() or len(answers) >= room:
            break
        payload = data[rest:stop]
        if keeper is not None:
            if run is None:
                run = Run(incoming)
            run.expect()
            if not keeper.keep(payload, turn.time, source, run):
                run.cancel()
                break
        if route.receivers:
            message = Message(route.topic, payload, 1, False, turn.time, None, source)
            message.frame_key = key
            # Without properties what follows the packet id is the payload: it is not copied twice.
            message.frame = (data[at:body], data[body + 2 : stop] if is_v5 else payload)
            for receiver in route.receivers:
                receiver.take(Item(message, 1, False, (), None, turn.now))
        answers.append(data[body : body + 2])
        payload_in += len(payload)
        at = stop
        if turn.is_pressed():
            break
    if not answers:
        return turn.is_pressed()
    decoder.at = at
    if run is None and incoming.waiting:
        run = Run(incoming)  # answers leave in the order of the messages
    reason = NO_MATCHING_SUBSCRIBERS if is_unheard else SUCCESS
    if run is None:
        connection.acknowledge(answers, reason)
    else:
        incoming.owe_run(run, answers, reason)
    metrics = connection.server.metrics
    metrics.traffic.messages_in += len(answers)
    metrics.traffic.packets_in += len(answers)
    metrics.traffic.payload_in += payload_in
    return True


def run_pubacks(connection: Connection, decoder: Decoder) -> bool:
    """Take the plain PUBACKs that are next in the decoder's data; False when the next is not one."""
    server = connection.server
    session = connection.session
    assert session is not None
    slow = server.extras.slow
    now = server.clock.now
    data = decoder.data
    at = first = decoder.at
    end = len(data)
    outgoing = session.outgoing
    while at + 4 <= end and data[at] == PUBACK_TYPE and data[at + 1] == 2:
        packet_id = data[at + 2] << 8 | data[at + 3]
        if not packet_id:
            break
        at += 4
        item = outgoing.acknowledged(packet_id)
        if item is None:
            server.metrics.count("acks_unknown")
        elif slow is not None and now - item.since > slow.threshold:
            slow.late(connection, item)
    decoder.at = at
    server.metrics.traffic.packets_in += (at - first) // 4
    return at > first


def run(connection: Connection, decoder: Decoder) -> bool:
    """Take what may go the express lane from the decoder's data; False when the next packet may not."""
    data = decoder.data
    at = decoder.at
    if at >= len(data):
        return False
    first = data[at]
    if first == PUBACK_TYPE:
        return run_pubacks(connection, decoder)
    fan_out = connection.server.fan_out
    if fan_out is not None and connection.session is not None and fan_out.waits(connection.session.source):
        return False
    if first == PLAIN_QOS_0:
        return connection.express.is_current(connection.server.routes) and run_plain(connection, decoder)
    if first == PLAIN:
        return connection.express.is_current(connection.server.routes) and run_acked(connection, decoder)
    return False
