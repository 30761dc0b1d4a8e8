"""CONNECT: who comes in, with which session, on what terms (MQTT 5 section 3.1, MQTT 3.1.1 section 3.1).

``admit`` asks ``broker.access`` who it is. The answer may come later, from a password that is checked elsewhere or
after an exchange of AUTH packets (``enhanced.py``); until then the connection acts on nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.broker.access import LOCAL, Identity, Login
from gateway.delay import DELAYED
from gateway.errors import Refused
from gateway.message import Properties
from gateway.mqtt import enhanced, events
from gateway.mqtt.packets import ConnAck, Connect
from gateway.mqtt.properties import (
    ASSIGNED_CLIENT_IDENTIFIER,
    AUTHENTICATION_METHOD,
    MAXIMUM_PACKET_SIZE,
    RECEIVE_MAXIMUM,
    SERVER_KEEP_ALIVE,
    SESSION_EXPIRY_INTERVAL,
    TOPIC_ALIAS_MAXIMUM,
    get,
)
from gateway.mqtt.reasons import (
    BAD_AUTHENTICATION_METHOD,
    CLIENT_IDENTIFIER_NOT_VALID,
    NOT_AUTHORIZED,
    QUOTA_EXCEEDED,
    SERVER_UNAVAILABLE,
)
from gateway.mqtt.subscribing import send_due, subscribe_to

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection


NEVER: Final = 0xFFFF_FFFF
"""Session Expiry Interval that means: does not expire (section 3.1.2.11.2)."""


def admit(connection: Connection, connect: Connect) -> None:
    """Answer CONNECT: refuse with a reason, or open a session and send CONNACK."""
    server = connection.server
    server.metrics.count("connects")
    if server.tracer.active:
        server.tracer.connecting(connection, connect)
    if connect.will is not None and server.extras.rewrite_topic is not None:
        connect.will.topic = server.extras.rewrite_topic(connect.will.topic)
    knock = server.access.knocks(
        connect.client_id, connect.username, connection.peer, server.clock.now, server.clock.time
    )
    if knock is not None:
        _refuse(connection, knock)
        return
    client_id = connect.client_id
    if not client_id and (connect.level == 3 or (connect.level == 4 and not connect.clean)):
        # [MQTT-3.1.3-8]: without an id there is no session to come back to.
        connection.refuse(CLIENT_IDENTIFIER_NOT_VALID, "a client id is needed")
        return
    login = Login(client_id or server.make_id(), connect.username, connect.password, connection.peer)
    method = get(connect.props, AUTHENTICATION_METHOD, None)
    if method is None:
        _Candidate(connection, connect).begin(login)
    elif method in server.access.enhanced:
        enhanced.begin(connection, connect, login, method, let_in)
    else:
        _refuse(connection, Refused("this authentication method is not offered", BAD_AUTHENTICATION_METHOD))


class _Candidate:
    """A client while it is found out who it is."""

    __slots__ = ("_connect", "_connection", "_is_answered", "_is_held")

    def __init__(self, connection: Connection, connect: Connect) -> None:
        self._connection = connection
        self._connect = connect
        self._is_answered = False
        self._is_held = False

    def begin(self, login: Login) -> None:
        """Ask; when the answer is not there at once, the client's next packets wait for it."""
        self._connection.server.access.login(login, self._answer)
        if not self._is_answered:
            self._is_held = True
            self._connection.pause()

    def _answer(self, found: Identity | Refused) -> None:
        if self._is_answered:
            return
        self._is_answered = True
        if self._is_held:
            self._connection.resume()
        if not self._connection.is_new:
            return  # it has left, or its time is over
        if isinstance(found, Refused):
            _refuse(self._connection, found)
        else:
            let_in(self._connection, self._connect, found)


def _refuse(connection: Connection, why: Refused) -> None:
    connection.server.metrics.count("connects_refused")
    connection.refuse(why.reason, str(why))


def let_in(connection: Connection, connect: Connect, who: Identity, proof: Properties = ()) -> None:
    """The client is who it is: open its session and send CONNACK, unless something speaks against it.

    ``proof``: properties of CONNACK that end an enhanced authentication.
    """
    server = connection.server
    access, client_id = server.access, who.client_id
    refusal = access.admit(who, server.clock.now, server.clock.time)
    if refusal is None and connect.will is not None:
        refusal = _will_refusal(connection, who, connect.will.topic)
    if server.is_stopping:
        refusal = Refused("the gateway is stopping", SERVER_UNAVAILABLE)
    if refusal is None and client_id not in server.sessions and len(server.sessions) >= server.limits.max_sessions:
        refusal = Refused("too many sessions", QUOTA_EXCEEDED)
    if refusal is not None:
        _refuse(connection, refusal)
        return

    session, present = server.open_session(client_id, connect.clean or _is_anothers(connection, who), connection)
    session.identity = who
    # On a loopback listener a name need not be proven; it is shown, and rules do not see it.
    session.username = connect.username if who.username is None and LOCAL in who.groups else who.username
    session.expiry = _session_expiry(connection, connect)
    server.admitted(session)
    connection.will = connect.will
    server.wills.given(connection, session)
    connection.keep_alive = _keep_alive(connection, connect)
    connection.accept()
    auto = server.extras.auto_subscriptions(connection)
    reasons, due = subscribe_to(connection, auto, ())
    connection.send(ConnAck(present, 0, _terms(connection, connect, client_id) + proof if connect.level == 5 else ()))
    session.incoming.attach(connection.answer, connection.acknowledge)
    session.outgoing.resume(
        connection, get(connect.props, RECEIVE_MAXIMUM, 65_535), get(connect.props, TOPIC_ALIAS_MAXIMUM, 0)
    )
    send_due(connection, due)
    if server.extras.events:
        events.connected(connection, connect.clean, present)
        events.subscribed(connection, auto, reasons)


def _will_refusal(connection: Connection, who: Identity, topic: str) -> Refused | None:
    server = connection.server
    if topic.startswith(DELAYED):
        try:
            topic = server.extras.read_delay(topic).target
        except Refused as refused:
            return refused
    if server.access.may_publish(who, topic):
        return None
    return Refused("not authorized to publish its will", NOT_AUTHORIZED)


def _is_anothers(connection: Connection, who: Identity) -> bool:
    """Whether the session of that client id was opened by another user: what waits in it is not for this one."""
    session = connection.server.sessions.get(who.client_id)
    return session is not None and session.identity is not None and session.identity.username != who.username


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
    ]
    if not connect.client_id:
        terms.append((ASSIGNED_CLIENT_IDENTIFIER, client_id))
    if session.expiry != get(connect.props, SESSION_EXPIRY_INTERVAL, 0):
        terms.append((SESSION_EXPIRY_INTERVAL, int(session.expiry)))
    if int(connection.keep_alive) != connect.keep_alive:
        terms.append((SERVER_KEEP_ALIVE, int(connection.keep_alive)))
    return tuple(terms)
