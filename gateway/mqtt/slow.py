"""Slow subscribers: which sessions take long to acknowledge what they are sent, and how long.

The latency of a QoS 1 or 2 message is the time from the broker to the client's PUBACK or PUBCOMP, waiting in
``pending`` included, waiting while the client was away not. The hot path has one comparison for each answer;
what is below the threshold costs no more. The board keeps the worst few and forgets who was fast for a while.
A client that answers nothing has no latency to record: ``report`` also looks at the oldest message under way.

Pure: ``now`` is the server's cached monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.item import Item
    from gateway.mqtt.session import Session


class _Entry:
    """What is known of one slow session. Times in seconds."""

    __slots__ = ("at", "count", "last", "topic", "worst")

    def __init__(self) -> None:
        self.at = 0.0
        self.count = 0
        self.last = 0.0
        self.topic = ""
        self.worst = 0.0


class SlowBoard:
    """The slowest sessions of late.

    threshold  seconds: a latency beyond it is recorded
    size       most sessions kept
    memory     seconds until a session that was not slow again is forgotten
    """

    __slots__ = ("_entries", "memory", "size", "threshold")

    def __init__(self, threshold: float = 0.5, size: int = 10, memory: float = 300.0) -> None:
        self.threshold = threshold
        self.size = size
        self.memory = memory
        self._entries: dict[str, _Entry] = {}

    def late(self, connection: Connection, item: Item) -> None:
        """The answer to ``item`` came later than the threshold after the message."""
        now = connection.server.clock.now
        # While the client was away nobody was there to be slow.
        latency = now - max(item.since, connection.since)
        if latency > self.threshold and connection.session is not None:
            self.record(connection.session.client_id, item.message.topic, latency, now)

    def record(self, client_id: str, topic: str, latency: float, now: float) -> None:
        """One message took ``latency`` seconds, which is beyond the threshold."""
        entry = self._entries.get(client_id)
        if entry is None:
            if not self._make_room(latency, now):
                return
            entry = self._entries[client_id] = _Entry()
        entry.at = now
        entry.count += 1
        entry.last = latency
        if latency >= entry.worst:
            entry.worst = latency
            entry.topic = topic

    def _make_room(self, latency: float, now: float) -> bool:
        if len(self._entries) < self.size:
            return True
        self._forget(now)
        if len(self._entries) < self.size:
            return True
        best = min(self._entries, key=lambda client_id: self._entries[client_id].worst)
        if self._entries[best].worst >= latency:
            return False
        del self._entries[best]
        return True

    def _forget(self, now: float) -> None:
        for client_id in [client_id for client_id, entry in self._entries.items() if now - entry.at > self.memory]:
            del self._entries[client_id]

    def report(self, sessions: Iterable[Session], now: float) -> list[dict[str, Any]]:
        """The slowest first. ``waiting`` is the age of the oldest message that the client has not answered."""
        self._forget(now)
        rows = {client_id: _row(client_id, entry, now) for client_id, entry in self._entries.items()}
        for session in sessions:
            waiting = oldest_wait(session, now)
            if waiting > self.threshold:
                row = rows.setdefault(session.client_id, _row(session.client_id, _Entry(), now))
                row["waiting"] = round(waiting, 3)
        return sorted(rows.values(), key=lambda row: -max(row["worst"], row["waiting"]))[: self.size]


def _row(client_id: str, entry: _Entry, now: float) -> dict[str, Any]:
    return {
        "client_id": client_id,
        "worst": round(entry.worst, 3),
        "last": round(entry.last, 3),
        "count": entry.count,
        "topic": entry.topic,
        "age": round(now - entry.at, 1) if entry.count else 0.0,
        "waiting": 0.0,
    }


def oldest_wait(session: Session, now: float) -> float:
    """Seconds that a connected client has owed its oldest answer; 0 when it owes none or is away."""
    connection, outgoing = session.connection, session.outgoing
    if connection is None:
        return 0.0
    item = next(iter(outgoing.inflight.values()), None) or (outgoing.pending[0] if outgoing.pending else None)
    return now - max(item.since, connection.since) if item is not None else 0.0
