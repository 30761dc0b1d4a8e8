"""The schemas at work: the broker asks before anybody gets a message. Pure.

A topic without a schema costs one look into a table. Content that is not JSON counts as text. An empty retained
message takes a retained one away and is let through.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gateway.clock import Clock, iso_time
from gateway.delay import DELAYED, target_filter
from gateway.errors import Unfit
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.rules.fitting import compile_schema
from gateway.rules.load import LoadedSchema
from gateway.topic import matches

KNOWN_TOPICS: Final = 8192
"""Topics whose schemas are remembered."""


class RunningSchema:
    """One schema at work.

    seen    messages that it looked at
    errors  those that it refused
    """

    __slots__ = ("loaded", "seen", "errors", "last_error", "last_error_time", "_fit")

    def __init__(self, loaded: LoadedSchema) -> None:
        self.loaded = loaded
        self.seen = self.errors = 0
        self.last_error = ""
        self.last_error_time = 0.0
        self._fit = compile_schema(loaded.schema.must, (), [])

    def problem(self, message: Message) -> str | None:
        """What does not fit; None when all does."""
        self.seen += 1
        value = message.value
        if value is None and message.payload.strip() != b"null":
            return "is neither JSON nor text"
        return self._fit(value)

    def status(self) -> dict[str, Any]:
        """What a person wants to see."""
        return {
            "name": f"schema:{self.loaded.schema.name}",
            "file": self.loaded.file,
            "on": self.loaded.schema.topic,
            "seen": self.seen,
            "fired": self.seen - self.errors,
            "errors": self.errors,
            "last_error": self.last_error,
            "last_error_time": iso_time(self.last_error_time) if self.errors else None,
            "instances": 0,
        }


class SchemaGuard:
    """All schemas; implements ``broker.port.Guard``."""

    __slots__ = ("schemas", "_clock", "_metrics", "_known")

    def __init__(self, schemas: Iterable[RunningSchema], clock: Clock, metrics: Metrics) -> None:
        self.schemas = tuple(schemas)
        self._clock = clock
        self._metrics = metrics
        self._known: dict[str, tuple[RunningSchema, ...]] = {}

    def covers(self, topic: str) -> bool:
        """Whether messages on this topic are looked at."""
        return bool(self._of(topic))

    def refuse(self, message: Message) -> Unfit | None:
        """Why a message is not to be taken; None when it fits."""
        schemas = self._known.get(message.topic)
        if schemas is None:
            schemas = self._of(message.topic)
        if not schemas or (message.retain and not message.payload):
            return None
        for schema in schemas:
            problem = schema.problem(message)
            if problem is not None:
                return self._refused(schema, message, problem)
        return None

    def _refused(self, schema: RunningSchema, message: Message, problem: str) -> Unfit:
        name = schema.loaded.schema.name
        schema.errors += 1
        schema.last_error = f"{message.topic} from {message.source}: {problem}"
        schema.last_error_time = self._clock.time()
        self._metrics.drop(f"schema_{name}")
        return Unfit(f'schema "{name}": {problem}')

    def _of(self, topic: str) -> tuple[RunningSchema, ...]:
        schemas = self._known.get(topic)
        if schemas is None:
            # What is delayed is looked at when it is accepted: then its publisher can still be told.
            target = target_filter(topic) if topic.startswith(DELAYED) else topic
            schemas = tuple(one for one in self.schemas if matches(one.loaded.schema.topic, target))
            if len(self._known) >= KNOWN_TOPICS:
                self._known.clear()
            self._known[topic] = schemas
        return schemas
