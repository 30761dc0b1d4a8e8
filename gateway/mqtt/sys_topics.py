"""``$SYS/broker/#``: what the broker says of itself, under the names that mosquitto uses.

Retained, QoS 0, and published again only when the text has changed. The numbers are taken once in an interval and
never in between. Mosquitto's ``heap/`` topics are not here: they count the bytes of its own allocator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from gateway.message import Message
from gateway.mqtt.load import MINUTES, Load

if TYPE_CHECKING:
    from gateway.mqtt.server import MqttServer

ROOT: Final = "$SYS/broker"


class SysTopics:
    """See the module's docstring.

    sizes     the broker's ``retained`` and ``retained_bytes``
    interval  seconds between two looks; 0 publishes nothing
    version   of the program, for ``$SYS/broker/version``
    """

    def __init__(
        self, server: MqttServer, sizes: Callable[[], Mapping[str, int]], interval: float, version: str
    ) -> None:
        self._server = server
        self._sizes = sizes
        self._interval = interval
        self._version = version
        self._started: float | None = None
        self._updated = 0.0
        self._said: dict[str, str] = {}
        self._loads: dict[str, Load] = {}
        self._maximum = 0

    def tick(self) -> None:
        """Publish what has changed, when an interval has passed. Call about once a second."""
        now = self._server.clock.now
        if not self._interval:
            return
        if self._started is None:
            self._started = self._updated = now
        elif now - self._updated < self._interval:
            return
        values = {"version": self._version, "uptime": f"{int(now - self._started)} seconds"}
        for topic, text in (values | self._clients() | self._kept() | self._traffic()).items():
            if self._said.get(topic) != text:
                self._say(topic, text)
        for name, total in self._rates().items():
            self._update_load(name, total, now - self._updated)
        self._updated = now

    def _clients(self) -> dict[str, str]:
        server = self._server
        total = len(server.sessions)
        connected = sum(session.connection is not None for session in server.sessions.values())
        self._maximum = max(self._maximum, connected)
        return {
            "clients/total": str(total),
            "clients/connected": str(connected),
            "clients/active": str(connected),
            "clients/disconnected": str(total - connected),
            "clients/inactive": str(total - connected),
            "clients/maximum": str(self._maximum),
            "clients/expired": str(server.metrics.counts.get("sessions_expired", 0)),
        }

    def _kept(self) -> dict[str, str]:
        """Messages that are retained, wait or are in flight, and the subscriptions of clients."""
        sizes = self._sizes()
        sessions = self._server.sessions.values()
        waiting = sum(len(session.outgoing.pending) + len(session.outgoing.inflight) for session in sessions)
        stored = str(sizes["retained"] + waiting)
        subscriptions = sum(len(session.subscriptions) for session in sessions)
        shared = self._server.groups.size
        return {
            "messages/stored": stored,
            "store/messages/count": stored,
            "store/messages/bytes": str(
                sizes["retained_bytes"] + sum(session.outgoing.pending_bytes for session in sessions)
            ),
            "subscriptions/count": str(subscriptions - shared),
            "shared_subscriptions/count": str(shared),
            "retained messages/count": str(sizes["retained"]),
        }

    def _traffic(self) -> dict[str, str]:
        metrics = self._server.metrics
        traffic = metrics.traffic
        return {
            "messages/received": str(traffic.packets_in),
            "messages/sent": str(traffic.packets_out),
            "bytes/received": str(traffic.bytes_in),
            "bytes/sent": str(traffic.bytes_out),
            "publish/messages/received": str(traffic.messages_in),
            "publish/messages/sent": str(traffic.messages_out),
            "publish/messages/dropped": str(sum(metrics.drops.values())),
            "publish/bytes/received": str(traffic.payload_in),
            "publish/bytes/sent": str(traffic.payload_out),
        }

    def _rates(self) -> dict[str, int]:
        metrics = self._server.metrics
        traffic, counts = metrics.traffic, metrics.counts
        return {
            "messages/received": traffic.packets_in,
            "messages/sent": traffic.packets_out,
            "publish/dropped": sum(metrics.drops.values()),
            "publish/received": traffic.messages_in,
            "publish/sent": traffic.messages_out,
            "bytes/received": traffic.bytes_in,
            "bytes/sent": traffic.bytes_out,
            "sockets": counts.get("connections", 0),
            "connections": counts.get("connects", 0),
        }

    def _update_load(self, name: str, total: int, elapsed: float) -> None:
        load = self._loads.get(name)
        if load is None:
            load = self._loads[name] = Load(total)
            told = [True] * len(MINUTES)
        else:
            told = load.update(total, elapsed)
        for minutes, average, tell in zip(MINUTES, load.averages, told, strict=True):
            if tell:
                self._say(f"load/{name}/{minutes}min", f"{average:.2f}")

    def _say(self, topic: str, text: str) -> None:
        self._said[topic] = text
        time = self._server.clock.time
        self._server.broker.publish(Message(f"{ROOT}/{topic}", text.encode(), retain=True, time=time))
