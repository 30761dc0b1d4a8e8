"""What each packet of a connected client does: one function for each, and the table that finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import Malformed, Refused
from gateway.message import (
    MESSAGE_EXPIRY,
    SUBSCRIPTION_IDENTIFIER,
    Message,
    Properties,
)
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
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL, TOPIC_ALIAS, get
from gateway.mqtt.reasons import (
    DISCONNECT_WITH_WILL,
    NO_SUBSCRIPTION_EXISTED,
    NOT_AUTHORIZED,
    PACKET_IDENTIFIER_NOT_FOUND,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    RECEIVE_MAXIMUM_EXCEEDED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    TOPIC_ALIAS_INVALID,
)
from gateway.mqtt.session import Session, Subscription

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
    server.metrics.count("messages_in")
    topic, expires, props = packet.topic, None, packet.props
    if props:
        topic, expires, props = _read_properties(connection, packet)
    if packet.qos and connection.version == 5 and session.incoming.unanswered >= server.limits.receive_maximum:
        raise Malformed("more messages in flight than the Receive Maximum", RECEIVE_MAXIMUM_EXCEEDED)
    if not server.access.may_publish(topic):
        server.metrics.drop("not_authorized")
        _decline(connection, packet)
        return
    message = Message(
        topic, packet.payload, packet.qos, packet.retain, server.clock.time, expires, session.source, 0, props
    )
    if packet.qos == 0:
        server.broker.publish(message)
        return
    incoming = session.incoming
    if packet.qos == 1:
        server.broker.publish(message, incoming.at_least_once(packet.packet_id))
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


def _decline(connection: Connection, packet: Publish) -> None:
    """Not authorized: version 5 is told, 3.1.1 gets a plain acknowledgement (section 3.3.5, MQTT 3.1.1)."""
    if packet.qos == 0:
        return
    reason = NOT_AUTHORIZED if connection.version == 5 else 0
    incoming = _session(connection).incoming
    if packet.qos == 1:
        done = incoming.at_least_once(packet.packet_id)
    else:
        known = incoming.exactly_once(packet.packet_id)
        if known is None:
            return
        done = known
    done(Refused("not authorized", reason) if reason else None)


def on_puback(connection: Connection, packet: PubAck) -> None:
    """PUBACK: one message is with the client."""
    if not _session(connection).outgoing.acknowledged(packet.packet_id, connection.server.clock.now):
        connection.server.metrics.count("acks_unknown")


def on_pubrec(connection: Connection, packet: PubRec) -> None:
    """PUBREC: the client has it; answer PUBREL, or end the exchange when it refused."""
    outgoing = _session(connection).outgoing
    if packet.reason >= 0x80:
        outgoing.acknowledged(packet.packet_id, connection.server.clock.now)
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
    if not _session(connection).outgoing.completed(packet.packet_id, connection.server.clock.now):
        connection.server.metrics.count("acks_unknown")


def on_subscribe(connection: Connection, packet: Subscribe) -> None:
    """SUBSCRIBE: add each filter, answer SUBACK, then send the retained messages that are due."""
    server = connection.server
    session = _session(connection)
    identifier = get(packet.props, SUBSCRIPTION_IDENTIFIER, 0)
    ids = (identifier,) if identifier else ()
    reasons: list[int] = []
    due: list[tuple[str, Subscription]] = []
    for asked in packet.filters:
        refusal = _refusal(connection, session, asked.pattern)
        if refusal:
            reasons.append(refusal if connection.version == 5 else V3_FAILURE)
            continue
        subscription = Subscription(asked.qos, asked.no_local, asked.retain_as_published, ids)
        new = session.subscribe(server.broker, asked.pattern, subscription)
        # Retain Handling (section 3.8.3.1): 0 always, 1 only for a new filter, 2 never.
        if asked.retain_handling == 0 or (asked.retain_handling == 1 and new):
            due.append((asked.pattern, subscription))
        reasons.append(asked.qos)
    connection.send(SubAck(packet.packet_id, tuple(reasons)))
    for pattern, subscription in due:
        session.send_retained(server.broker, pattern, subscription)


def _refusal(connection: Connection, session: Session, pattern: str) -> int:
    """Reason code against a filter, or 0."""
    if pattern.startswith("$share/"):
        return SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if pattern not in session.subscriptions and (
        len(session.subscriptions) >= connection.server.limits.max_subscriptions
    ):
        return QUOTA_EXCEEDED
    return 0


def on_unsubscribe(connection: Connection, packet: Unsubscribe) -> None:
    """UNSUBSCRIBE: remove each filter, say which there were."""
    server = connection.server
    session = _session(connection)
    found = [session.unsubscribe(server.broker, pattern) for pattern in packet.patterns]
    reasons = tuple(0 if one else NO_SUBSCRIPTION_EXISTED for one in found) if connection.version == 5 else ()
    connection.send(UnsubAck(packet.packet_id, reasons))


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
    connection.clean_end = packet.reason != DISCONNECT_WITH_WILL
    connection.leave()


def on_auth(connection: Connection, packet: Auth) -> None:
    """AUTH without an authentication method in CONNECT is a protocol error (section 4.12)."""
    raise Malformed("AUTH without enhanced authentication", PROTOCOL_ERROR)


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
