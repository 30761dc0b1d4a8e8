"""Enhanced authentication: an exchange of AUTH packets instead of a password (MQTT 5 section 4.12).

What the packets say is the affair of the method (``broker.identity.EnhancedAuthenticator``); here is the order in
which they may come. No method comes with the gateway: without one CONNECT is refused with 0x8C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.broker.access import Challenge, Exchange, Identity, Login, Proven
from gateway.errors import Malformed, Refused
from gateway.message import Properties
from gateway.mqtt.packets import Auth, Connect, Packet
from gateway.mqtt.properties import AUTHENTICATION_DATA, AUTHENTICATION_METHOD, get
from gateway.mqtt.reasons import (
    BAD_AUTHENTICATION_METHOD,
    CONTINUE_AUTHENTICATION,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    REAUTHENTICATE,
    SUCCESS,
)

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection

LetIn = Callable[["Connection", Connect, Identity, Properties], None]


class Dialogue:
    """The authentication of one connection: at CONNECT, and whenever the client asks for it again."""

    __slots__ = ("_connect", "_connection", "_exchange", "_let_in", "_login", "_method")

    def __init__(self, connection: Connection, connect: Connect, login: Login, method: str, let_in: LetIn) -> None:
        self._connection = connection
        self._connect = connect
        self._login = login
        self._method = method
        self._let_in = let_in
        self._exchange: Exchange | None = None

    def begin(self, props: Properties) -> None:
        """CONNECT, or AUTH with Re-authenticate."""
        self._exchange = self._connection.server.access.enhanced[self._method].begin(self._login)
        self._step(props)

    def on_packet(self, packet: Packet) -> None:
        """A packet of a client that is not let in yet: only AUTH may come."""
        if not isinstance(packet, Auth):
            raise Malformed("only AUTH may come before CONNACK [MQTT-4.12.0-4]", PROTOCOL_ERROR)
        self.on_auth(packet)

    def on_auth(self, packet: Auth) -> None:
        """AUTH: go on with the exchange, or begin another."""
        if get(packet.props, AUTHENTICATION_METHOD, None) != self._method:
            # [MQTT-4.12.0-5] and [MQTT-4.12.1-1]: the method stays what it was in CONNECT.
            raise Malformed("AUTH with another authentication method", BAD_AUTHENTICATION_METHOD)
        if packet.reason == REAUTHENTICATE and not self._connection.is_new and self._exchange is None:
            self.begin(packet.props)
        elif packet.reason == CONTINUE_AUTHENTICATION and self._exchange is not None:
            self._step(packet.props)
        else:
            raise Malformed(f"AUTH with reason 0x{packet.reason:02X} has no place here", PROTOCOL_ERROR)

    def _step(self, props: Properties) -> None:
        assert self._exchange is not None
        outcome = self._exchange.step(get(props, AUTHENTICATION_DATA, None))
        if isinstance(outcome, Challenge):
            self._connection.send(Auth(CONTINUE_AUTHENTICATION, self._props(outcome.data)))
            return
        self._exchange = None
        if isinstance(outcome, Proven):
            self._proven(outcome)
        elif self._connection.is_new:
            self._connection.server.metrics.count("connects_refused")
            self._connection.refuse(outcome.reason, str(outcome))
        else:
            self._connection.end(outcome.reason, str(outcome))

    def _proven(self, outcome: Proven) -> None:
        connection = self._connection
        if connection.is_new:
            checked = connection.server.access.vouched(outcome.identity)
            if isinstance(checked, Refused):
                connection.refuse(checked.reason, str(checked))
            else:
                self._let_in(connection, self._connect, checked, self._props(outcome.data))
            return
        session = connection.session
        assert session is not None and session.identity is not None
        if outcome.identity.username != session.identity.username:
            connection.end(NOT_AUTHORIZED, "re-authentication as another user")
            return
        session.identity.expires = outcome.identity.expires
        connection.send(Auth(SUCCESS, self._props(outcome.data)))

    def _props(self, data: bytes | None) -> Properties:
        method = ((AUTHENTICATION_METHOD, self._method),)
        return method if data is None else (*method, (AUTHENTICATION_DATA, data))


def begin(connection: Connection, connect: Connect, login: Login, method: str, let_in: LetIn) -> None:
    """CONNECT asks for a method that there is."""
    connection.dialogue = Dialogue(connection, connect, login, method, let_in)
    connection.dialogue.begin(connect.props)
