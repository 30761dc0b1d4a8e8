"""The MQTT server: sessions by client id, connections, wills, and what time does to them.

Pure: the shells set ``clock`` before they call in, and call ``tick`` about once a second. A session belongs to
at most one connection; a second one with the same client id takes it over [MQTT-3.1.4-3].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.broker.access import Access
from gateway.broker.port import Router
from gateway.message import MESSAGE_EXPIRY, Message
from gateway.metrics import Metrics
from gateway.mqtt.enforcer import Enforcer
from gateway.mqtt.extras import Extras
from gateway.mqtt.fan_out import FanOut
from gateway.mqtt.limits import Limits
from gateway.mqtt.properties import WILL_DELAY_INTERVAL, get
from gateway.mqtt.reasons import SERVER_SHUTTING_DOWN, SESSION_TAKEN_OVER
from gateway.mqtt.session import Session
from gateway.mqtt.shared import Groups
from gateway.mqtt.trace import Tracer
from gateway.mqtt.turn import Turn

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.packets import Will
    from gateway.mqtt.pressure import Pressure


Alarm = Callable[[float, Callable[[], None]], object]


class _PendingWill:
    """A will that waits for its delay (section 3.1.3.2.2)."""

    __slots__ = ("due", "session", "will")

    def __init__(self, will: Will, session: Session, due: float) -> None:
        self.will = will
        self.session = session
        self.due = due


class MqttServer:
    """See the module's docstring.

    make_id  makes a client id that nobody else has, for clients that bring none
    alarm    set by the shell: calls back after so many seconds; without it ``tick`` has to do
    express  whether plain messages may take the express lane; False while every packet is to be seen
    extras   what the settings switch on beside the protocol
    """

    def __init__(
        self,
        broker: Router,
        access: Access,
        limits: Limits,
        metrics: Metrics,
        make_id: Callable[[], str],
        extras: Extras | None = None,
    ) -> None:
        self.broker = broker
        self.access = access
        self.limits = limits
        self.metrics = metrics
        self.make_id = make_id
        self.express = True
        self.alarm: Alarm | None = None
        self._changes = 0
        self.clock = Turn()
        self.extras = extras or Extras()
        self.tracer = Tracer(self)
        self.groups = Groups(broker)
        self.enforcer = Enforcer(self)
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self._wills: dict[str, _PendingWill] = {}
        self.fan_out: FanOut | None = FanOut(self) if limits.fan_out == "async" else None
        if self.fan_out is not None:
            broker.deliver_later(self.fan_out)
        self._patience: list[tuple[float, Callable[[], None]]] = []

    # -- connections ---------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """A socket was accepted."""
        self.connections.add(connection)
        self.metrics.count("connections")

    def open_session(self, client_id: str, clean: bool, connection: Connection) -> tuple[Session, bool]:
        """The session for a CONNECT, and whether it was there before (Session Present).

        Takes it from an older connection, which is closed with 0x8E. A clean start forgets what was kept.
        """
        session = self.sessions.get(client_id)
        if session is not None and session.connection is not None:
            session.connection.end(SESSION_TAKEN_OVER, "session taken over")
        pending = self._wills.pop(client_id, None)
        # The end of the old connection may have ended the session too.
        session = self.sessions.get(client_id)
        if clean and session is not None:
            self._forget(session)
            session = None
        if pending is not None and clean:
            # A clean start ends the old session, and with it the delay (section 3.1.3.2.2).
            self._publish_will(pending.will, pending.session)
        present = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id, self.limits, self.metrics, self.clock, self.groups)
        session.connection = connection
        session.expires_at = None
        self._changes += 1
        connection.session = session
        return session, present

    def ended(self, connection: Connection) -> None:
        """A connection is over, for whatever reason: its will, and the end or the wait of its session."""
        self.connections.discard(connection)
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        self._changes += 1
        session.disconnected()
        will = connection.will
        connection.will = None
        if will is not None and not connection.clean_end:
            delay = min(float(get(will.props, WILL_DELAY_INTERVAL, 0)), session.expiry)
            if delay > 0:
                self._wills[session.client_id] = _PendingWill(will, session, self.clock.now + delay)
            else:
                self._publish_will(will, session)
        self.extras.ended(connection, session)
        if session.expiry > 0:
            session.expires_at = self.clock.now + session.expiry
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        session.forget(self.broker)
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]

    def drop_session(self, session: Session) -> None:
        """End the session of a client that is away."""
        self._wills.pop(session.client_id, None)
        self._forget(session)

    def _publish_will(self, will: Will, session: Session) -> None:
        expiry = get(will.props, MESSAGE_EXPIRY)
        props = tuple(item for item in will.props if item[0] not in (WILL_DELAY_INTERVAL, MESSAGE_EXPIRY))
        expires = self.clock.now + expiry if expiry else None
        self.metrics.count("wills")
        message = Message(
            will.topic, will.payload, will.qos, will.retain, self.clock.time, expires, session.source, 0, props
        )
        self.broker.publish(message)

    @property
    def routes(self) -> int:
        """Grows whenever what ``express.py`` has learned may not hold any more."""
        return self.broker.generation + self._changes

    def forget_routes(self) -> None:
        """A right has changed: what receivers said of topics, and what connections have learned, is asked anew."""
        self.broker.forget()

    # -- time ----------------------------------------------------------------------------------------------

    def be_patient(self, pressure: Pressure) -> None:
        """Publishers have begun to wait for a receiver: let them wait no longer than the patience."""
        if self.limits.inflight_overflow == "backpressure":
            return
        since = pressure.since

        def expire() -> None:
            if pressure.waiting and pressure.since == since:
                self.metrics.count("slow_consumers")
                pressure.give_up()

        if self.alarm is not None:
            self.alarm(self.limits.slow_consumer_wait, expire)
        else:
            self._patience.append((self.clock.now + self.limits.slow_consumer_wait, expire))

    def tick(self) -> None:
        """Close silent clients, send wills that are due, forget expired sessions. Call about once a second."""
        now = self.clock.now
        if self.fan_out is not None:
            self.fan_out.drain()
        due = [expire for at, expire in self._patience if at <= now]
        self._patience = [entry for entry in self._patience if entry[0] > now]
        for expire in due:
            expire()
        for connection in list(self.connections):
            connection.check_deadline(now)
        for client_id, pending in list(self._wills.items()):
            if pending.due <= now:
                del self._wills[client_id]
                self._publish_will(pending.will, pending.session)
        for session in list(self.sessions.values()):
            if session.expires_at is not None and session.expires_at <= now:
                self.metrics.count("sessions_expired")
                self._forget(session)
        self.enforcer.tick()
        if self.tracer.active:
            self.tracer.tick()

    def shutdown(self) -> None:
        """The gateway stops: tell version 5 clients so, and publish every will [MQTT-3.1.2-8].

        Of the ends of a connection only DISCONNECT from the client, or a newer connection, takes its will away. Who
        has a will goes first, so that the others still see it. A will that waits for its delay is published as well:
        nothing would be there to publish it later.
        """
        for connection in sorted(self.connections, key=lambda one: one.will is None):
            connection.end(SERVER_SHUTTING_DOWN, "server shutting down")
        for pending in self._wills.values():
            self._publish_will(pending.will, pending.session)
        self._wills.clear()

    def status(self) -> dict[str, Any]:
        """Sessions as a person wants to see them."""
        return {
            "connections": len(self.connections),
            "sessions": [
                {
                    "client_id": session.client_id,
                    "connected": session.connection is not None,
                    "address": session.connection.peer.address if session.connection else None,
                    "version": session.connection.version if session.connection else None,
                    "username": session.username,
                    "subscriptions": len(session.subscriptions),
                    "in_flight": len(session.outgoing.inflight),
                    "pending": len(session.outgoing.pending),
                    "idle": session.outgoing.why_idle(),
                }
                for session in self.sessions.values()
            ],
            "slow": self.extras.slow.report(self.sessions.values(), self.clock.now) if self.extras.slow else [],
        }
