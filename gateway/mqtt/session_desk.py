"""What ``gateway session`` asks of the server: list, show, kick and purge sessions. Plain dicts in, JSON types out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import GatewayError
from gateway.mqtt.events import VERSIONS
from gateway.mqtt.reasons import ADMINISTRATIVE_ACTION
from gateway.mqtt.slow import oldest_wait

if TYPE_CHECKING:
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session

LONGEST_REASON: Final = 200


class SessionDesk:
    """Answers for one server; each method takes a request of the control socket."""

    def __init__(self, server: MqttServer) -> None:
        self._server = server

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"sessions": self.sessions, "session": self.session, "kick": self.kick, "purge": self.purge}

    def sessions(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All sessions in the order of their client ids; with ``slow`` the slow subscribers, slowest first.

        Raises GatewayError when slow subscribers are asked for and not measured.
        """
        server = self._server
        if request.get("slow"):
            if server.extras.slow is None:
                raise GatewayError('slow subscribers are not measured; set mqtt.slow.threshold, such as "500ms"')
            return server.extras.slow.report(server.sessions.values(), server.clock.now)
        return [self._brief(server.sessions[client_id]) for client_id in sorted(server.sessions)]

    def session(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Everything about ``client_id``. Raises GatewayError when there is no such session."""
        session = self._find(request)
        server, outgoing, connection = self._server, session.outgoing, session.connection
        now = server.clock.now
        will = connection.will if connection is not None else None
        return {
            **self._brief(session),
            "keep_alive": connection.keep_alive if connection is not None else None,
            "connected_for": round(now - connection.since, 1) if connection is not None else None,
            "expiry": session.expiry,
            "window": outgoing.window,
            "pending_bytes": outgoing.pending_bytes,
            "waiting": round(oldest_wait(session, now), 3),
            "will": {"topic": will.topic, "qos": will.qos, "retain": will.retain} if will is not None else None,
            "filters": [
                {
                    "filter": pattern,
                    "qos": one.qos,
                    "no_local": one.no_local,
                    "retain_as_published": one.retain_as_published,
                    "identifiers": list(one.ids),
                }
                for pattern, one in session.subscriptions.items()
            ],
        }

    def kick(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Close the connection of ``client_id`` with 0x98, telling it ``reason``; its session is kept as usual.

        Raises GatewayError when it is unknown or not connected.
        """
        session = self._find(request)
        connection = session.connection
        if connection is None:
            raise GatewayError(f"client {session.client_id!r} is not connected")
        reason = str(request.get("reason") or "")[:LONGEST_REASON]
        address = connection.peer.address
        connection.end(ADMINISTRATIVE_ACTION, f"kicked: {reason}" if reason else "kicked")
        return {"client_id": session.client_id, "address": address}

    def purge(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """End the session of ``client_id`` with all that waits in it; its client, if it is there, gets 0x98.

        Returns what was lost. Raises GatewayError when there is no such session.
        """
        session = self._find(request)
        lost = self._brief(session)
        self._server.purge(session)
        self._server.metrics.count("sessions_purged")
        return {key: lost[key] for key in ("client_id", "connected", "subscriptions", "in_flight", "pending", "bytes")}

    def _find(self, request: Mapping[str, Any]) -> Session:
        client_id = request.get("client_id")
        session = self._server.sessions.get(client_id) if isinstance(client_id, str) else None
        if session is None:
            raise GatewayError(f"there is no session of client {client_id!r}")
        return session

    def _brief(self, session: Session) -> dict[str, Any]:
        connection, expires_at = session.connection, session.expires_at
        return {
            "client_id": session.client_id,
            "connected": connection is not None,
            "address": connection.peer.address if connection is not None else None,
            "version": VERSIONS[connection.version] if connection is not None else None,
            "username": session.username,
            "subscriptions": len(session.subscriptions),
            "in_flight": len(session.outgoing.inflight),
            "pending": len(session.outgoing.pending),
            "bytes": session.outgoing.pending_bytes + sum(item.size for item in session.outgoing.inflight.values()),
            "expires_in": round(expires_at - self._server.clock.now, 1) if expires_at is not None else None,
            "idle": session.outgoing.why_idle(),
        }
