"""What each packet of a connected client does: one function for each, and the table that finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import Malformed, Refused
from gateway.message import (
    MESSAGE_EXPIRY,
    PAYLOAD_FORMAT,
    SUBSCRIPTION_IDENTIFIER,
    Message,
    Properties,
)
from gateway.mqtt import events
from gateway.mqtt.exclusive import EXCLUSIVE
from gateway.mqtt.express import learn
from gateway.mqtt.packets import (
    Auth,
    Disconnect,
    Filter,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL, TOPIC_ALIAS, get
from gateway.mqtt.reasons import (
    NO_MATCHING_SUBSCRIBERS,
    NO_SUBSCRIPTION_EXISTED,
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
from gateway.mqtt.subscription import subscription

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection

V3_FAILURE: Final = 0x80
"""The one error that a 3.1.1 SUBACK knows (section 3.9.3)."""


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
    who = session.identity
    if who is None or not server.access.may_publish(who, topic):
        server.metrics.drop("not_authorized")
        _decline(connection, packet, NOT_AUTHORIZED)
        return
    if who.quota is not None and not server.enforcer.within_rate(connection, who.quota, topic, packet):
        _decline(connection, packet, QUOTA_EXCEEDED)
        return
    if props and not _is_text_if_it_says_so(props, packet.payload):
        server.metrics.drop("payload_format")
        _decline(connection, packet, PAYLOAD_FORMAT_INVALID)
        return
    message = Message(
        topic, packet.payload, packet.qos, packet.retain, server.clock.time, expires, session.source, 0, props
    )
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
        known = incoming.exactly_once(packet.packet_id)
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
    elif outgoing.received(packet.packet_id):
        connection.send(PubRel(packet.packet_id))
    else:
        connection.server.metrics.count("acks_unknown")
        connection.send(PubRel(packet.packet_id, PACKET_IDENTIFIER_NOT_FOUND))


def on_pubrel(connection: Connection, packet: PubRel) -> None:
    """PUBREL: forget the packet id, answer PUBCOMP also when it is unknown [MQTT-4.3.3-11]."""
    known = _session(connection).incoming.release(packet.packet_id)
    connection.send(PubComp(packet.packet_id, 0 if known else PACKET_IDENTIFIER_NOT_FOUND))


def on_pubcomp(connection: Connection, packet: PubComp) -> None:
    """PUBCOMP: a QoS 2 exchange is over."""
    server = connection.server
    item = _session(connection).outgoing.completed(packet.packet_id)
    if item is None:
        server.metrics.count("acks_unknown")
    elif server.extras.slow is not None and server.clock.now - item.since > server.extras.slow.threshold:
        server.extras.slow.late(connection, item)


def on_subscribe(connection: Connection, packet: Subscribe) -> None:
    """SUBSCRIBE: add each filter, answer SUBACK, then send the retained messages that are due."""
    identifier = get(packet.props, SUBSCRIPTION_IDENTIFIER, 0)
    reasons, due = subscribe_to(connection, packet.filters, (identifier,) if identifier else ())
    connection.send(SubAck(packet.packet_id, reasons))
    send_due(connection, due)
    if connection.server.extras.events:
        events.subscribed(connection, packet.filters, reasons)


Due = list[str]
"""Filters whose retained messages have yet to be sent."""


def subscribe_to(
    connection: Connection, filters: tuple[Filter, ...], ids: tuple[int, ...]
) -> tuple[tuple[int, ...], Due]:
    """Add each filter: the reason codes of SUBACK, and what retained messages must follow it."""
    server = connection.server
    session = _session(connection)
    rewrite = server.extras.rewrite_filter
    reasons: list[int] = []
    due: Due = []
    for asked in filters:
        pattern = asked.pattern if rewrite is None else rewrite(asked.pattern)
        refusal = _refusal(connection, session, pattern)
        if refusal:
            reasons.append(refusal if connection.version == 5 else V3_FAILURE)
            continue
        may = server.access.withheld(session.identity, pattern) if session.identity is not None else None
        options = subscription(asked.qos, asked.no_local, asked.retain_as_published, ids, may)
        new = session.subscribe(server.broker, pattern, options)
        if pattern.startswith(EXCLUSIVE):
            server.extras.exclusive.claim(pattern, session)
        # Retain Handling (section 3.8.3.1): 0 always, 1 only for a new filter, 2 never.
        if asked.retain_handling == 0 or (asked.retain_handling == 1 and new):
            due.append(pattern)
        reasons.append(asked.qos)
    return tuple(reasons), due


def send_due(connection: Connection, due: Due) -> None:
    """Send the retained messages of new subscriptions; SUBACK or CONNACK must be sent."""
    for pattern in due:
        _session(connection).send_retained(connection.server.broker, pattern)


def _refusal(connection: Connection, session: Session, pattern: str) -> int:
    """Reason code against a filter, or 0."""
    server, who = connection.server, session.identity
    if who is None or not server.access.may_subscribe(who, pattern):
        return NOT_AUTHORIZED
    if who.quota is not None and not who.quota.subscription(server.clock.now):
        return QUOTA_EXCEEDED
    if pattern not in session.subscriptions and (
        len(session.subscriptions) >= connection.server.limits.max_subscriptions
    ):
        return QUOTA_EXCEEDED
    if pattern.startswith(EXCLUSIVE):
        return connection.server.extras.exclusive.refusal(pattern, session)
    return 0


def on_unsubscribe(connection: Connection, packet: Unsubscribe) -> None:
    """UNSUBSCRIBE: remove each filter, say which there were."""
    server = connection.server
    session = _session(connection)
    rewrite = server.extras.rewrite_filter
    patterns = packet.patterns if rewrite is None else tuple(rewrite(pattern) for pattern in packet.patterns)
    found = [session.unsubscribe(server.broker, pattern) for pattern in patterns]
    for pattern in patterns:
        if pattern.startswith(EXCLUSIVE):
            server.extras.exclusive.release(pattern, session)
    reasons = tuple(0 if one else NO_SUBSCRIPTION_EXISTED for one in found) if connection.version == 5 else ()
    connection.send(UnsubAck(packet.packet_id, reasons))
    if server.extras.events:
        events.unsubscribed(
            connection, [pattern for pattern, there in zip(packet.patterns, found, strict=True) if there]
        )


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
