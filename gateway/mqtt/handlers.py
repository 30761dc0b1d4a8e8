"""What each packet of a connected client does: one function for each, and the table that finds it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.broker.queue_port import is_address
from gateway.delay import DELAYED
from gateway.errors import Malformed, Refused
from gateway.message import (
    MESSAGE_EXPIRY,
    PAYLOAD_FORMAT,
    SUBSCRIPTION_IDENTIFIER,
    Message,
    Properties,
)
from gateway.mqtt.dedup import DEDUP_ID
from gateway.mqtt.express import learn
from gateway.mqtt.once import publish_once
from gateway.mqtt.packets import (
    Auth,
    Disconnect,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Unsubscribe,
)
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL, TOPIC_ALIAS, get
from gateway.mqtt.reasons import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    NO_MATCHING_SUBSCRIBERS,
    NORMAL_DISCONNECTION,
    NOT_AUTHORIZED,
    PACKET_IDENTIFIER_NOT_FOUND,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    RECEIVE_MAXIMUM_EXCEEDED,
    SUCCESS,
    TOPIC_ALIAS_INVALID,
    reason_text,
)
from gateway.mqtt.session import Session
from gateway.mqtt.subscribing import on_subscribe, on_unsubscribe

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection


def _session(connection: Connection) -> Session:
    assert connection.session is not None, "handlers run only after CONNECT"
    return connection.session


def on_publish(connection: Connection, packet: Publish) -> None:
    """PUBLISH: hand the message to the broker; answer when it is safe."""
    server = connection.server
    session = _session(connection)
    server.metrics.traffic.messages_in += 1
    server.metrics.traffic.payload_in += len(packet.payload)
    topic, expires, props = packet.topic, None, packet.props
    if props:
        topic, expires, props = _read_properties(connection, packet)
    asked = topic
    if server.extras.rewrite_topic is not None:
        topic = server.extras.rewrite_topic(topic)
    if packet.qos and connection.version == 5 and session.incoming.unanswered >= server.limits.receive_maximum:
        raise Malformed("more messages in flight than the Receive Maximum", RECEIVE_MAXIMUM_EXCEEDED)
    target = topic
    if topic.startswith(DELAYED):
        try:
            target = server.extras.read_delay(topic).target
        except Refused as refused:
            server.metrics.drop("delayed_invalid")
            _decline(connection, packet, refused.reason)
            return
    who = session.identity
    if who is None or not server.access.may_publish(who, target):
        server.metrics.drop("not_authorized")
        _decline(connection, packet, NOT_AUTHORIZED)
        return
    if who.quota is not None and not server.enforcer.within_rate(connection, who.quota, target, packet):
        _decline(connection, packet, QUOTA_EXCEEDED)
        return
    if props and not _is_text_if_it_says_so(props, packet.payload):
        server.metrics.drop("payload_format")
        _decline(connection, packet, PAYLOAD_FORMAT_INVALID)
        return
    # A queue keeps the message itself: it is not the last value of anything.
    retain = packet.retain and not is_address(topic)
    message = Message(topic, packet.payload, packet.qos, retain, server.clock.time, expires, session.source, 0, props)
    if props and packet.qos and server.extras.dedup is not None:
        id = message.user_property(DEDUP_ID)
        if id is not None:
            if not publish_once(connection, packet, message, id, server.extras.dedup):
                _decline(connection, packet, IMPLEMENTATION_SPECIFIC_ERROR)
            return
    incoming = session.incoming
    if packet.qos < 2:
        # Of what has no receiver, 0x10 tells a version 5 client so (section 3.4.2.1). PUBREC stays plain, as other
        # brokers keep it: the standard leaves both open.
        is_heard = packet.qos == 0 or connection.version < 5 or bool(server.broker.receivers(topic))
        reason = SUCCESS if is_heard else NO_MATCHING_SUBSCRIBERS
        server.broker.publish(message, incoming.at_least_once(packet.packet_id, reason) if packet.qos else None)
        if server.express and who.quota is None and topic == asked:
            learn(connection, message)
        return
    done = incoming.exactly_once(packet.packet_id)
    if done is not None:
        server.broker.publish(message, done)


def _read_properties(connection: Connection, packet: Publish) -> tuple[str, float | None, Properties]:
    topic = packet.topic
    expires: float | None = None
    kept: list[tuple[int, Any]] = []
    for identifier, value in packet.props:
        if identifier == TOPIC_ALIAS:
            topic = _resolve_alias(connection, topic, value)
        elif identifier == MESSAGE_EXPIRY:
            expires = connection.server.clock.now + value
        elif identifier == SUBSCRIPTION_IDENTIFIER:
            # [MQTT-3.3.4-6]: only a server may send it.
            raise Malformed("PUBLISH to a server with a Subscription Identifier", PROTOCOL_ERROR)
        else:
            kept.append((identifier, value))
    return topic, expires, tuple(kept)


def _is_text_if_it_says_so(props: Properties, payload: bytes) -> bool:
    """Payload Format Indicator 1 promises UTF-8 (section 3.3.2.3.2)."""
    if get(props, PAYLOAD_FORMAT, 0) != 1:
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _resolve_alias(connection: Connection, topic: str, alias: int) -> str:
    """Topic Alias (section 3.3.2.3.4)."""
    if not 0 < alias <= connection.server.limits.topic_alias_maximum:
        raise Malformed(f"topic alias {alias} is out of range", TOPIC_ALIAS_INVALID)
    if topic:
        connection.aliases[alias] = topic
        return topic
    known = connection.aliases.get(alias)
    if known is None:
        raise Malformed(f"topic alias {alias} was never set", PROTOCOL_ERROR)
    return known


def _decline(connection: Connection, packet: Publish, reason: int) -> None:
    """Not taken: version 5 is told why, 3.1.1 gets a plain acknowledgement (section 3.3.5, MQTT 3.1.1)."""
    if packet.qos == 0:
        return
    incoming = _session(connection).incoming
    if packet.qos == 1:
        done = incoming.at_least_once(packet.packet_id)
    else:
        known = incoming.exactly_once(packet.packet_id, keeps=False)
        if known is None:
            return
        done = known
    done(Refused(reason_text(reason), reason) if connection.version == 5 else None)


def on_puback(connection: Connection, packet: PubAck) -> None:
    """PUBACK: one message is with the client."""
    server = connection.server
    item = _session(connection).outgoing.acknowledged(packet.packet_id)
    if item is None:
        server.metrics.count("acks_unknown")
    elif server.extras.slow is not None and server.clock.now - item.since > server.extras.slow.threshold:
        server.extras.slow.late(connection, item)


def on_pubrec(connection: Connection, packet: PubRec) -> None:
    """PUBREC: the client has it; answer PUBREL, or end the exchange when it refused."""
    outgoing = _session(connection).outgoing
    if packet.reason >= 0x80:
        outgoing.refused(packet.packet_id)
        return
    item = outgoing.received(packet.packet_id)
    if item is not None:
        if item.kept is None or item.kept.may_release():
            connection.send(PubRel(packet.packet_id))
    else:
        connection.server.metrics.count("acks_unknown")
        connection.send(PubRel(packet.packet_id, PACKET_IDENTIFIER_NOT_FOUND))


def on_pubrel(connection: Connection, packet: PubRel) -> None:
    """PUBREL: forget the packet id, answer PUBCOMP also when it is unknown [MQTT-4.3.3-11]."""
    incoming = _session(connection).incoming
    known = incoming.release(packet.packet_id)
    answer = PubComp(packet.packet_id, 0 if known else PACKET_IDENTIFIER_NOT_FOUND)
    if incoming.keep is not None:
        # The client may use the id for another message once it has the answer. Also when the id is not known: the
        # commit of an earlier PUBREL may be under way.
        incoming.keep.release(packet.packet_id, partial(_send_when_safe, connection, answer))
    else:
        connection.send(answer)


def _send_when_safe(connection: Connection, answer: PubComp, error: BaseException | None) -> None:
    if connection.is_open:
        connection.send(answer)


def on_pubcomp(connection: Connection, packet: PubComp) -> None:
    """PUBCOMP: a QoS 2 exchange is over."""
    server = connection.server
    item = _session(connection).outgoing.completed(packet.packet_id)
    if item is None:
        server.metrics.count("acks_unknown")
    elif server.extras.slow is not None and server.clock.now - item.since > server.extras.slow.threshold:
        server.extras.slow.late(connection, item)


def on_pingreq(connection: Connection, packet: PingReq) -> None:
    """PINGREQ: answer [MQTT-3.12.4-1]."""
    connection.send(PingResp())


def on_disconnect(connection: Connection, packet: Disconnect) -> None:
    """DISCONNECT: the client leaves; its will is dropped unless it asks for it (section 3.14.4)."""
    session = _session(connection)
    if connection.version == 5:
        asked = get(packet.props, SESSION_EXPIRY_INTERVAL, None)
        if asked is not None:
            if asked and not session.expiry:
                raise Malformed("DISCONNECT sets a session expiry where CONNECT had none", PROTOCOL_ERROR)
            session.expiry = min(float(asked), connection.server.limits.session_expiry_max)
    # [MQTT-3.14.4-3]: only a normal end drops the will.
    connection.clean_end = packet.reason == NORMAL_DISCONNECTION
    connection.leave()


def on_auth(connection: Connection, packet: Auth) -> None:
    """AUTH: authenticate again; without an authentication method in CONNECT a protocol error (section 4.12)."""
    if connection.dialogue is None:
        raise Malformed("AUTH without enhanced authentication", PROTOCOL_ERROR)
    connection.dialogue.on_auth(packet)


HANDLERS: Final[dict[int, Callable[[Connection, Any], None]]] = {
    Publish.type: on_publish,
    PubAck.type: on_puback,
    PubRec.type: on_pubrec,
    PubRel.type: on_pubrel,
    PubComp.type: on_pubcomp,
    Subscribe.type: on_subscribe,
    Unsubscribe.type: on_unsubscribe,
    PingReq.type: on_pingreq,
    Disconnect.type: on_disconnect,
    Auth.type: on_auth,
}
