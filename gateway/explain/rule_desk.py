"""What ``gateway rules`` asks of the running gateway: list, run, trace. JSON types in and out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from gateway.errors import GatewayError
from gateway.message import Message, Value
from gateway.rules.engine import RuleEngine
from gateway.rules.program import Answered, Asked
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

    async def run(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What the rule ``name`` would do with a message now; see ``message_of``. Raises GatewayError."""
        name = str(request.get("name"))
        running = self._engine.rule(name)
        topic = request.get("topic") or (topic_of(running) if running is not None else "")
        message = message_of(str(topic), request, self._engine.clock.time())
        trial = try_rule(self._engine, name, message, request.get("was"))
        try:
            asked = next(trial)
            while True:
                asked = trial.send(await self._answer(asked))
        except StopIteration as end:
            line: dict[str, Any] = end.value
            return line

    async def _answer(self, asked: Asked) -> Answered:
        if self._engine.functions is None:
            return Answered(None, "functions are off")
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()

        def answer(value: Value, problem: str) -> None:
            if not future.done():
                future.set_result(Answered(value, problem))

        self._engine.functions.call(asked.name, asked.inputs, answer)
        return await future


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
