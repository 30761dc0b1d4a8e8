"""Wills: what the server publishes for a client that goes without a word (MQTT 5 section 3.1.2.5).

The will of a connected client is with its connection. Here are those that wait for their delay, and the mirror of
all of them in the archive, so that a will is sent although the process was killed:

- The client was connected when the process ended: its will is sent at the next start, after its delay.
- The gateway was stopped on purpose: the standard lets a server defer wills to its restart. A client that comes back
  within ``RETURN`` has not died, and its will is dropped; others' wills are sent. A server without an archive sends
  them all when it stops.

Whether the client may still publish its will is asked again before it is sent after a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.message import MESSAGE_EXPIRY, Message
from gateway.mqtt.archive import CONNECTED, DELAYED, STOPPED, StoredWill
from gateway.mqtt.properties import WILL_DELAY_INTERVAL, get

if TYPE_CHECKING:
    from gateway.broker.access import Identity
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.packets import Will
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session

RETURN: Final = 30.0
"""Seconds after a start in which the clients of a gateway that was stopped on purpose come back."""


class _Waiting:
    """A will that waits.

    due     monotonic
    doubt   who must be allowed to publish it, asked when it is due; None when that was asked at CONNECT
    excused  it is dropped when its client comes back, also with a clean start
    """

    __slots__ = ("doubt", "due", "excused", "source", "will")

    def __init__(self, will: Will, source: str, due: float, doubt: Identity | None, excused: bool) -> None:
        self.will = will
        self.source = source
        self.due = due
        self.doubt = doubt
        self.excused = excused


class Wills:
    """The wills of one server."""

    __slots__ = ("_defers", "_mirrored", "_server", "_waiting")

    def __init__(self, server: MqttServer) -> None:
        self._server = server
        self._waiting: dict[str, _Waiting] = {}
        self._mirrored: set[str] = set()
        self._defers = False
        """The gateway ends on purpose, and leaves wills to its next start."""

    def __len__(self) -> int:
        return len(self._waiting)

    # -- clients come and go -------------------------------------------------------------------------------

    def given(self, connection: Connection, session: Session) -> None:
        """CONNECT is admitted."""
        will = connection.will
        if will is None:
            self._forget(session.client_id)
        else:
            self._mirror(session, will, CONNECTED)

    def ended(self, connection: Connection, session: Session) -> None:
        """The connection is over: send its will, let it wait, or drop it."""
        will = connection.will
        connection.will = None
        if will is None or connection.clean_end:
            self._forget(session.client_id)
        elif self._defers:
            self._mirror(session, will, STOPPED)
        elif (delay := _delay(will, session)) > 0:
            due = self._server.clock.now + delay
            self._waiting[session.client_id] = _Waiting(will, session.source, due, None, False)
            self._mirror(session, will, DELAYED)
        else:
            self._send(session.client_id, will, session.source)

    def take(self, client_id: str) -> _Waiting | None:
        """The client is back: its will waits no more. Give it to ``settle`` when the old session's fate is known."""
        return self._waiting.pop(client_id, None)

    def settle(self, client_id: str, waiting: _Waiting | None, clean: bool) -> None:
        """Its old session goes on, or has ended by a clean start, and with it the delay (section 3.1.3.2.2)."""
        if waiting is None:
            return
        if clean and not waiting.excused:
            self._send_if_allowed(client_id, waiting)
        else:
            self._forget(client_id)

    def drop(self, client_id: str) -> None:
        """Nobody speaks for this client any more."""
        self._waiting.pop(client_id, None)
        self._forget(client_id)

    def end(self, client_id: str) -> None:
        """The session of a client that is away ends: its delay is over."""
        waiting = self._waiting.pop(client_id, None)
        if waiting is not None:
            self._send_if_allowed(client_id, waiting)

    def restore(self, stored: StoredWill) -> None:
        """A will that was not sent before the restart."""
        self._mirrored.add(stored.client_id)
        excused = stored.state == STOPPED
        due = self._server.clock.now + (max(stored.delay, RETURN) if excused else stored.delay)
        source = f"client:{stored.client_id}"
        self._waiting[stored.client_id] = _Waiting(stored.will, source, due, stored.identity, excused)

    def stop(self) -> None:
        """The gateway ends on purpose; every connection ends next. What the archive keeps is left to the next start."""
        self._defers = self._server.archive is not None

    def stopped(self) -> None:
        """All connections have ended. Without an archive nobody would be there to send what waits."""
        if not self._defers:
            for client_id in list(self._waiting):
                self.end(client_id)

    def tick(self, now: float) -> None:
        """Send what is due."""
        for client_id, waiting in list(self._waiting.items()):
            if waiting.due <= now:
                del self._waiting[client_id]
                self._send_if_allowed(client_id, waiting)

    # -- sending -------------------------------------------------------------------------------------------

    def _send_if_allowed(self, client_id: str, waiting: _Waiting) -> None:
        server, who = self._server, waiting.doubt
        if who is not None and (
            server.access.recheck(who, server.clock.time) or not server.access.may_publish(who, waiting.will.topic)
        ):
            server.metrics.drop("not_authorized")
            self._forget(client_id)
            return
        self._send(client_id, waiting.will, waiting.source)

    def _send(self, client_id: str, will: Will, source: str) -> None:
        clock = self._server.clock
        expiry = get(will.props, MESSAGE_EXPIRY)
        props = tuple(item for item in will.props if item[0] not in (WILL_DELAY_INTERVAL, MESSAGE_EXPIRY))
        expires = clock.now + expiry if expiry else None
        self._server.metrics.count("wills")
        message = Message(will.topic, will.payload, will.qos, will.retain, clock.time, expires, source, 0, props)
        self._server.broker.publish(message)
        # In the same transaction as what keeps the message: it is sent once.
        self._forget(client_id)

    # -- the mirror ----------------------------------------------------------------------------------------

    def _mirror(self, session: Session, will: Will, state: int) -> None:
        archive = self._server.archive
        if archive is not None:
            self._mirrored.add(session.client_id)
            archive.put_will(session, will, _delay(will, session), state)

    def _forget(self, client_id: str) -> None:
        archive = self._server.archive
        if archive is not None and client_id in self._mirrored:
            self._mirrored.discard(client_id)
            archive.drop_will(client_id)


def _delay(will: Will, session: Session) -> float:
    """Seconds from the end of the connection; the end of the session ends the delay too (section 3.1.3.2.2)."""
    return min(float(get(will.props, WILL_DELAY_INTERVAL, 0)), session.expiry)
