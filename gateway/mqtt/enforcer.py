"""What access does to clients that are in already: changed rights, expired tokens, too many messages.

The decisions are those of ``broker.access``; here they reach sessions and connections.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.broker.access import Quota
from gateway.broker.queue_port import is_address
from gateway.delay import target_filter
from gateway.mqtt.exclusive import EXCLUSIVE
from gateway.mqtt.packets import Publish
from gateway.mqtt.reasons import MAXIMUM_CONNECT_TIME, reason_text

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session

LONGEST_REST: Final = 60.0
"""Seconds that a client is not read from at most: with less than a byte a second, a message would take days."""


class Enforcer:
    """Acts on the sessions of one server."""

    __slots__ = ("_resting", "_server")

    def __init__(self, server: MqttServer) -> None:
        self._server = server
        self._resting: dict[Connection, float] = {}

    # -- rates ----------------------------------------------------------------------------------------------

    def within_rate(self, connection: Connection, quota: Quota, topic: str, packet: Publish) -> bool:
        """Whether a message is taken; if not, its drop is counted.

        A MQTT 3 client cannot be told that it is too fast. Its QoS 1 and 2 messages are taken and it is not read
        from for a while, so that none is lost.
        """
        server = self._server
        now = server.clock.now
        size = len(topic) + len(packet.payload)
        if quota.message(size, now):
            return True
        if packet.qos and connection.version < 5:
            server.metrics.count("rate_rests")
            self._rest(connection, min(quota.late_message(size, now), LONGEST_REST))
            return True
        server.metrics.drop("rate_limited")
        return False

    def _rest(self, connection: Connection, seconds: float) -> None:
        if connection in self._resting or seconds <= 0:
            return
        connection.pause()
        self._resting[connection] = self._server.clock.now + seconds
        if self._server.alarm is not None:
            self._server.alarm(seconds, partial(self._end_rest, connection))

    def _end_rest(self, connection: Connection) -> None:
        if self._resting.pop(connection, None) is not None:
            connection.resume()

    def _wake(self) -> None:
        now = self._server.clock.now
        for connection, until in list(self._resting.items()):
            if until <= now or not connection.is_open:
                self._end_rest(connection)
            elif connection.keep_alive:
                # We do not listen, so its silence means nothing.
                connection.deadline = now + 1.5 * connection.keep_alive

    # -- time and change ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """End clients whose token has expired, read again from those that have rested. About once a second."""
        if self._resting:
            self._wake()
        now = self._server.clock.now
        for connection in list(self._server.connections):
            who = connection.session.identity if connection.session is not None else None
            if who is not None and who.expires is not None and who.expires <= now:
                self._server.metrics.count("tokens_expired")
                connection.end(MAXIMUM_CONNECT_TIME, "the token has expired")

    def recheck(self) -> None:
        """Users, bans, rules or limits have changed: end who may not be here, take back what is not allowed."""
        server = self._server
        if server.fan_out is not None:
            # What was published before goes by the rights of before.
            server.fan_out.flush()
        for session in list(server.sessions.values()):
            who = session.identity
            if who is None:
                continue  # restored after a restart; its client must log in first
            reason = server.access.recheck(who, server.clock.time)
            if reason:
                self._expel(session, reason)
                continue
            server.access.give_quota(who, server.clock.now)
            connection = session.connection
            if (
                connection is not None
                and connection.will is not None
                and not server.access.may_publish(who, target_filter(connection.will.topic))
            ):
                connection.will = None
            for pattern, subscription in list(session.subscriptions.items()):
                if not server.access.may_subscribe(who, pattern):
                    self._revoke(session, pattern)
                    continue
                may = server.access.withheld(who, pattern)
                if is_address(pattern):
                    # A message of a queue that a member may not see would wait for ever.
                    if may is not None:
                        self._revoke(session, pattern)
                    continue
                if may is not None or subscription.may is not None:
                    session.subscribe(server.broker, pattern, subscription.limited(may))
        server.forget_routes()

    def _expel(self, session: Session, reason: int) -> None:
        """End a session with all that waits in it; nobody speaks for the client any more, not even its will."""
        server = self._server
        server.metrics.count("sessions_expelled")
        session.expiry = 0.0
        if session.connection is not None:
            session.connection.will = None
            session.connection.end(reason, f"access has changed: {reason_text(reason)}")
        else:
            server.drop_session(session)

    def _revoke(self, session: Session, pattern: str) -> None:
        server = self._server
        server.metrics.count("subscriptions_revoked")
        session.unsubscribe(server.broker, pattern)
        if pattern.startswith(EXCLUSIVE):
            server.extras.exclusive.release(pattern, session)
