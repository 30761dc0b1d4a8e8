"""What ``gateway rules`` asks of the running gateway: list, run, trace. JSON types in and out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.message import Message
from gateway.rules.engine import RuleEngine
from gateway.rules.running import RunningAction
from gateway.rules.trial import topic_of, try_rule
from gateway.topic import name_problem


class RuleDesk:
    """Answers for one engine."""

    def __init__(self, engine: RuleEngine) -> None:
        self._engine = engine

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"rules": self.listed, "rules-run": self.run}

    def listed(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Every action and model that runs, with what is known of it."""
        return [
            {"kind": "action" if isinstance(running, RunningAction) else "model", **running.status()}
            for running in self._engine.rules()
        ]

    def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the rule ``name`` would do with a message now; see ``message_of``. Raises GatewayError."""
        name = str(request.get("name"))
        running = self._engine.rule(name)
        topic = request.get("topic") or (topic_of(running) if running is not None else "")
        message = message_of(str(topic), request, self._engine.clock.time())
        return try_rule(self._engine, name, message, request.get("was"))


def message_of(topic: str, request: Mapping[str, Any], time: float) -> Message:
    """A message to try, from ``value``, which is JSON, or ``payload``, which is text. Raises GatewayError."""
    problem = name_problem(topic) if topic else None
    if problem:
        raise GatewayError(f"topic {topic!r} {problem}")
    payload = request.get("payload")
    if payload is None:
        value = request.get("value")
        payload = "" if value is None else json.dumps(value)
    return Message(topic, str(payload).encode(), int(request.get("qos") or 0), time=time, source="console")
