"""The MQTT server: sessions by client id, connections, and what time does to them.

Pure: the shells set ``clock`` before they call in, and call ``tick`` about once a second. A session belongs to
at most one connection; a second one with the same client id takes it over [MQTT-3.1.4-3].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.broker.access import Access
from gateway.broker.port import Router
from gateway.broker.queue_port import Desk
from gateway.metrics import Metrics
from gateway.mqtt import keeping
from gateway.mqtt.archive import Archive
from gateway.mqtt.enforcer import Enforcer
from gateway.mqtt.extras import Extras
from gateway.mqtt.fan_out import FanOut
from gateway.mqtt.limits import Limits
from gateway.mqtt.reasons import ADMINISTRATIVE_ACTION, SERVER_SHUTTING_DOWN, SESSION_TAKEN_OVER
from gateway.mqtt.session import Session
from gateway.mqtt.shared import Groups
from gateway.mqtt.trace import Tracer
from gateway.mqtt.turn import Turn
from gateway.mqtt.wills import Wills

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.pressure import Pressure


Alarm = Callable[[float, Callable[[], None]], object]


class MqttServer:
    """See the module's docstring.

    make_id  makes a client id that nobody else has, for clients that bring none
    alarm    set by the shell: calls back after so many seconds; without it ``tick`` has to do
    express  whether plain messages may take the express lane; False while every packet is to be seen
    extras   what the settings switch on beside the protocol
    archive  mirrors what must outlive the process; None when nothing does
    queues   set by the shell: where ``$queue/``, ``$stream/`` and ``$dlq/`` lead
    is_stopping  nobody is let in any more
    """

    def __init__(
        self,
        broker: Router,
        access: Access,
        limits: Limits,
        metrics: Metrics,
        make_id: Callable[[], str],
        extras: Extras | None = None,
        archive: Archive | None = None,
    ) -> None:
        self.broker = broker
        self._generation = broker.generation
        self.access = access
        self.limits = limits
        self.metrics = metrics
        self.make_id = make_id
        self.express = True
        self.is_stopping = False
        self.alarm: Alarm | None = None
        self._changes = 0
        self.clock = Turn()
        self.extras = extras or Extras()
        self.archive = archive
        self.wills = Wills(self)
        self.tracer = Tracer(self)
        self.groups = Groups(broker)
        self.queues: Desk | None = None
        self.enforcer = Enforcer(self)
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
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
        will = self.wills.take(client_id)
        # The end of the old connection may have ended the session too.
        session = self.sessions.get(client_id)
        if clean and session is not None:
            self._forget(session)
            session = None
        self.wills.settle(client_id, will, clean)
        present = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id, self.limits, self.metrics, self.clock, self.groups)
        session.connection = connection
        session.expires_at = None
        self._changes += 1
        connection.session = session
        return session, present

    def admitted(self, session: Session) -> None:
        """Identity and expiry of a session are known: it is mirrored while it outlives its connection."""
        if self.archive is None:
            return
        if session.keep is None and session.expiry > 0:
            keeping.begin(self.archive, self.archive.new_number(), session, self.metrics)
        if session.keep is not None:
            if session.expiry > 0:
                session.keep.update()
            else:
                session.keep.drop()

    def ended(self, connection: Connection) -> None:
        """A connection is over, for whatever reason: its will, and the end or the wait of its session."""
        self.connections.discard(connection)
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        self._changes += 1
        session.disconnected()
        self.wills.ended(connection, session)
        self.extras.ended(connection, session)
        if session.expiry > 0:
            session.expires_at = self.clock.now + session.expiry
            if session.keep is not None:
                session.keep.update()
        else:
            self._forget(session)

    def _forget(self, session: Session) -> None:
        session.forget(self.broker)
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]

    def drop_session(self, session: Session) -> None:
        """End the session of a client that is away."""
        self.wills.drop(session.client_id)
        self._forget(session)

    def purge(self, session: Session) -> None:
        """End a session on an operator's word, whether its client is there or not. Its will is sent."""
        session.expiry = 0.0
        if session.connection is not None:
            session.connection.end(ADMINISTRATIVE_ACTION, "its session was purged")
        else:
            self.wills.end(session.client_id)
            self._forget(session)

    @property
    def routes(self) -> int:
        """Grows whenever what ``express.py`` has learned may not hold any more."""
        return self._generation.number + self._changes

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
        self.wills.tick(now)
        for session in list(self.sessions.values()):
            if session.expires_at is not None and session.expires_at <= now:
                self.metrics.count("sessions_expired")
                self._forget(session)
        self.enforcer.tick()
        if self.tracer.active:
            self.tracer.tick()

    def shutdown(self) -> None:
        """The gateway stops: tell version 5 clients so, and let nobody in; what becomes of their wills is in
        ``wills.py``.

        Who has a will goes first, so that the others still see one that is sent.
        """
        self.is_stopping = True
        self.wills.stop()
        for connection in sorted(self.connections, key=lambda one: one.will is None):
            connection.end(SERVER_SHUTTING_DOWN, "server shutting down")
        self.wills.stopped()

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
