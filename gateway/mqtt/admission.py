"""CONNECT: who comes in, with which session, on what terms (MQTT 5 section 3.1, MQTT 3.1.1 section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.message import Properties
from gateway.mqtt.packets import ConnAck, Connect
from gateway.mqtt.properties import (
    ASSIGNED_CLIENT_IDENTIFIER,
    AUTHENTICATION_METHOD,
    MAXIMUM_PACKET_SIZE,
    RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE,
    SESSION_EXPIRY_INTERVAL,
    SHARED_SUBSCRIPTION_AVAILABLE,
    TOPIC_ALIAS_MAXIMUM,
    get,
)
from gateway.mqtt.reasons import (
    BAD_AUTHENTICATION_METHOD,
    CLIENT_IDENTIFIER_NOT_VALID,
    NOT_AUTHORIZED,
    QUOTA_EXCEEDED,
)

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection


NEVER: Final = 0xFFFF_FFFF
"""Session Expiry Interval that means: does not expire (section 3.1.2.11.2)."""


def admit(connection: Connection, connect: Connect) -> None:
    """Answer CONNECT: refuse with a reason, or open a session and send CONNACK."""
    server = connection.server
    if get(connect.props, AUTHENTICATION_METHOD, None) is not None:
        connection.refuse(BAD_AUTHENTICATION_METHOD, "enhanced authentication is not offered")
        return
    if not server.access.may_connect(connection.peer):
        server.metrics.count("connects_refused")
        connection.refuse(NOT_AUTHORIZED, "not authorized")
        return
    if connect.will is not None and not server.access.may_publish(connect.will.topic):
        connection.refuse(NOT_AUTHORIZED, "not authorized to publish its will")
        return
    client_id = connect.client_id
    if not client_id and (connect.level == 3 or (connect.level == 4 and not connect.clean)):
        # [MQTT-3.1.3-8]: without an id there is no session to come back to.
        connection.refuse(CLIENT_IDENTIFIER_NOT_VALID, "a client id is needed")
        return
    if not client_id:
        client_id = server.make_id()
    if client_id not in server.sessions and len(server.sessions) >= server.limits.max_sessions:
        server.metrics.count("connects_refused")
        connection.refuse(QUOTA_EXCEEDED, "too many sessions")
        return

    session, present = server.open_session(client_id, connect.clean, connection)
    session.username = connection.peer.identity or connect.username
    session.expiry = _session_expiry(connection, connect)
    connection.will = connect.will
    connection.keep_alive = _keep_alive(connection, connect)
    connection.max_packet_out = get(connect.props, MAXIMUM_PACKET_SIZE, 0)
    connection.accept()
    connection.send(ConnAck(present, 0, _terms(connection, connect, client_id) if connect.level == 5 else ()))
    session.incoming.attach(connection.answer)
    session.outgoing.resume(connection, get(connect.props, RECEIVE_MAXIMUM, 65_535), server.clock.now)


def _session_expiry(connection: Connection, connect: Connect) -> float:
    longest = connection.server.limits.session_expiry_max
    if connect.level == 5:
        asked = get(connect.props, SESSION_EXPIRY_INTERVAL, 0)
        return longest if asked == NEVER else min(float(asked), longest)
    return 0.0 if connect.clean else longest


def _keep_alive(connection: Connection, connect: Connect) -> float:
    longest = connection.server.limits.keep_alive_max
    asked = connect.keep_alive
    # Only version 5 can be told of another keep-alive (Server Keep Alive, section 3.2.2.3.14).
    if connect.level == 5 and longest and (asked == 0 or asked > longest):
        return float(longest)
    return float(asked)


def _terms(connection: Connection, connect: Connect, client_id: str) -> Properties:
    """What CONNACK tells a version 5 client of our limits (section 3.2.2.3)."""
    limits = connection.server.limits
    session = connection.session
    assert session is not None
    terms: list[tuple[int, Any]] = [
        (RECEIVE_MAXIMUM, limits.receive_maximum),
        (MAXIMUM_PACKET_SIZE, limits.max_packet),
        (TOPIC_ALIAS_MAXIMUM, limits.topic_alias_maximum),
        (SHARED_SUBSCRIPTION_AVAILABLE, 0),
    ]
    if not connect.client_id:
        terms.append((ASSIGNED_CLIENT_IDENTIFIER, client_id))
    if session.expiry != get(connect.props, SESSION_EXPIRY_INTERVAL, 0):
        terms.append((SESSION_EXPIRY_INTERVAL, int(session.expiry)))
    if int(connection.keep_alive) != connect.keep_alive:
        terms.append((SERVER_KEEP_ALIVE, int(connection.keep_alive)))
    return tuple(terms)
