"""``gateway why TOPIC``: the path of the last value of a topic through the gateway, as far as it is known.

Device -> decode -> scale -> quality -> deadband -> broker -> rules, subscribers, outbox -> uplink. Nothing is recorded
for this: it is put together from what the parts know anyhow, and what they do not know is said (``unknown``). Whoever
wants to see more follows the next value, see ``follow.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.broker.broker import Broker
from gateway.clock import Clock, iso_time
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.connectors.port import DevicePort
from gateway.errors import GatewayError
from gateway.explain.why_point import point_of, point_path
from gateway.message import Message
from gateway.mqtt.server import MqttServer
from gateway.mqtt.shared import PREFIX as SHARED
from gateway.mqtt.shared import split
from gateway.outbound import CLASSES, Row
from gateway.rules.engine import RuleEngine
from gateway.rules.language import RuleError
from gateway.rules.running import RunningAction
from gateway.rules.trial import listens, try_at_once
from gateway.rules.watched import shown_bytes
from gateway.store.accounts import is_for
from gateway.store.newest import WINDOW, NewestRows
from gateway.store.outbox import Outbox
from gateway.topic import matches, name_problem

MOST: Final = 20
"""Rules, and as many subscribers, that are told of one by one."""

ROWS: Final = 3
"""Rows of the outbox that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The parts that are asked.

    date  puts the time of a row right, see ``outbound.Timing``
    """

    loaded: Callable[[], Loaded[Settings]]
    ports: Mapping[str, DevicePort]
    broker: Broker
    server: MqttServer
    engine: RuleEngine
    outbox: Outbox
    rows: NewestRows
    clock: Clock
    date: Callable[[Row], Row] = lambda row: row


class WhyDesk:
    """Answers for one gateway."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"why": self.why}

    async def why(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The path of the last value of ``topic``. Raises GatewayError when that is no topic."""
        topic = topic_of(request)
        site = self._site
        unknown: list[str] = []
        rows = await site.rows.of(topic, ROWS)
        point = point_path(site.loaded(), site.ports, topic, site.clock, unknown)
        message = last_message(site, topic, rows)
        if message is None:
            unknown.append(
                "the last message: it is not retained, no device of this gateway publishes it, and it is not among "
                f"the last {WINDOW} rows of the outbox"
            )
        return {
            "topic": topic,
            "time": site.clock.time(),
            "point": point,
            "message": None if message is None else _shown(*message),
            "made_by": makers(site, topic),
            "rules": rules_of(site, topic, None if message is None else message[0]),
            "subscribers": subscribers(site, topic),
            "outbox": self._outbox(topic, rows, unknown),
            "unknown": unknown,
        }

    def _outbox(self, topic: str, rows: list[tuple[int, Row]], unknown: list[str]) -> dict[str, Any]:
        site = self._site
        forwards = [
            {"uplink": name, "filter": entry.filter, "class": entry.class_}
            for name, uplink in site.loaded().value.uplink.items()
            for entry in uplink.forward
            if matches(entry.filter, topic)
        ]
        if rows:
            unknown.append("when the cloud acknowledged: that is not kept; gateway why --watch measures it")
        elif forwards:
            unknown.append(
                f"its rows: there is none among the last {WINDOW}; what the cloud acknowledges at once is not written"
            )
        return {"forwards": forwards, "rows": [row_status(site, room, row) for room, row in rows]}


def topic_of(request: Mapping[str, Any]) -> str:
    """The topic that is asked for. Raises GatewayError."""
    topic = request.get("topic")
    if not isinstance(topic, str) or not topic:
        raise GatewayError("topic must be a text that is not empty")
    problem = name_problem(topic)
    if problem:
        raise GatewayError(f"topic {topic!r} {problem}")
    return topic


def last_message(site: Site, topic: str, rows: list[tuple[int, Row]]) -> tuple[Message, str] | None:
    """The last message of a topic that is known, and from where; None when none is."""
    found = point_of(site.loaded().value, topic)
    if found is not None and found[0] in site.ports:
        port, point = site.ports[found[0]], found[1]
        sample = port.outlet(point.name).reporter.published
        if sample is not None:
            return port.message(sample), "the last that the device has published"
    retained = next(iter(site.broker.retained(topic)), None)
    if retained is not None:
        return retained, "retained"
    if rows:
        row = rows[0][1]
        message = Message(row.topic, row.payload, row.qos, row.retain, row.time, source=row.source)
        return message, "the newest row of the outbox"
    return None


def _shown(message: Message, known_from: str) -> dict[str, Any]:
    return {
        "known_from": known_from,
        "payload": shown_bytes(message.payload),
        "bytes": len(message.payload),
        "hex": message.payload[:32].hex(" "),
        "qos": message.qos,
        "retain": message.retain,
        "source": message.source,
        "time": iso_time(message.time) if message.time else None,
        "hops": message.hops,
    }


def makers(site: Site, topic: str) -> list[str]:
    """The rules that publish this topic, or may."""
    found = []
    for running in site.engine.rules():
        outputs = running.program.outputs if isinstance(running, RunningAction) else (running.program.filter,)
        if any(matches(pattern, topic) for pattern in outputs):
            found.append(running.program.name)
    return found


def rules_of(site: Site, topic: str, message: Message | None) -> list[dict[str, Any]]:
    """The rules that see this topic: their counts, and what each would do with the last message now."""
    found: list[dict[str, Any]] = []
    for running in site.engine.rules():
        if len(found) >= MOST or not listens(running, topic):
            continue
        status = running.status()
        one: dict[str, Any] = {key: status[key] for key in ("name", "seen", "fired", "errors")}
        one["last_error"] = status["last_error"] or None
        if message is not None:
            try:
                line = try_at_once(site.engine, running.program.name, message)
                one["now"] = {key: line.get(key) for key in ("when", "did", "error", "names")}
            except RuleError as error:
                one["now"] = {"error": str(error)}
        found.append(one)
    return found


def subscribers(site: Site, topic: str) -> dict[str, Any]:
    """Who gets this topic: MQTT clients one by one, queues and streams that capture it, and how many in all."""
    clients = []
    for session in site.server.sessions.values():
        filters = [pattern for pattern in session.subscriptions if _catches(pattern, topic)]
        if filters:
            clients.append(
                {
                    "client": session.client_id,
                    "connected": session.connection is not None,
                    "filters": filters,
                    "qos": max(session.subscriptions[pattern].qos for pattern in filters),
                    "in_flight": len(session.outgoing.inflight),
                    "pending": len(session.outgoing.pending),
                    "idle": session.outgoing.why_idle(),
                }
            )
    settings = site.loaded().value
    captures = [
        f"{place}/{name}"
        for place, parts in (("$queue", settings.queue), ("$stream", settings.stream))
        for name, part in parts.items()
        if any(matches(pattern, topic) for pattern in part.topics)
    ]
    return {
        "receivers": len(site.broker.receivers(topic)),
        "clients": clients[:MOST],
        "more_clients": max(0, len(clients) - MOST),
        "captured_by": captures,
        "retained": next(iter(site.broker.retained(topic)), None) is not None,
    }


def _catches(pattern: str, topic: str) -> bool:
    return matches(split(pattern)[1] if pattern.startswith(SHARED) else pattern, topic)


def row_status(site: Site, room: int, row: Row) -> dict[str, Any]:
    """One row: its number, its class, and how each uplink stands to it."""
    row = site.date(row)
    states = {}
    for name in site.outbox.uplinks:
        if is_for(name, row.uplinks, site.outbox.heirs):
            states[name] = "acknowledged" if row.seq in site.outbox.reader(name).acked(room) else "waiting or under way"
    return {
        "seq": row.seq,
        "message_id": row.message_id,
        "class": CLASSES[room],
        "time": iso_time(row.time),
        "payload": shown_bytes(row.payload),
        "uplinks": states,
    }
