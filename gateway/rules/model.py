"""What a model says: one record out of many topics, or many topics out of one record.

    [[model]]
    name  = "line"
    topic = "line/{1}/reading"
    [[model.field]]
    name = "temperature"
    topic = "line/+/raw/temp"
    type = "float"
    trigger = true
    [[model.field]]
    name = "speed"
    topic = "line/+/raw/speed"
    [[model.field]]
    name = "hot"
    value = "temperature > 85"

There is one instance for each line: ``{1}`` is what the first ``+`` of the fields' topics has matched. Each message of
a field is remembered; one of a field with ``trigger`` publishes the record with the last known values of the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config.declare import Duration, between, setting, topic_filter, topic_level

FieldType = Literal["any", "float", "int", "bool", "str", "timestamp"]

MAX_FIELDS: Final = 256
"""Fields of one model, inherited ones with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a record."""

    name: str = setting(text="Its key in the record, and its level where each field has a topic.", check=topic_level)
    topic: str | None = setting(
        None,
        text="The messages that bring it; each + is one hole of the model's topic. Without it the field is computed.",
        check=topic_filter,
        example='"line/+/raw/temp"',
    )
    value: Any = setting(
        None,
        text="Expression: with topic what to take of the message that came (default: v), else what to compute; a "
        "computed field sees the fields above it by their names.",
    )
    type: FieldType = setting(
        "any", text="What it must be; what can be converted is, anything else is an error and not taken."
    )
    unit: str | None = setting(None, text="Published beside the value where each field has a topic.")
    trigger: bool = setting(False, text="true: each message of it publishes the record.")
    required: bool = setting(False, text="true: nothing is published until it is known.")
    default: Any = setting(None, text="Its value until it is known. Default: null.")
    max_age: Duration | None = setting(
        None, text="A value older than this counts as not known.", check=between(0.1, 366 * 86_400)
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        """Who has no topic is computed, and nothing comes that could trigger."""
        if self.topic is None:
            if self.value is None:
                yield "", "needs a topic that brings it, or a value that computes it"
            if self.trigger:
                yield "trigger", "nothing comes for a computed field; let a field with a topic trigger"
            if self.max_age is not None:
                yield "max_age", "a computed field has no age"
        elif "#" in self.topic:
            yield "topic", "must not end in #: each + stands for one level of the model's topic"
        if self.type == "timestamp" and self.trigger:
            yield "trigger", "a timestamp must not trigger: every message of a clock would publish the record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Shapes topics into records, or a record into topics."""

    name: str = setting(text="Unique among all rule files.", check=topic_level, example='"line"')
    topic: str | None = setting(
        None,
        text="Where records go; {1} is what the first + of the fields has matched. Without it the model is only a base "
        "for others.",
        example='"line/{1}/reading"',
    )
    extends: str | None = setting(
        None, text="A model whose fields this one has too; a field of the same name replaces."
    )
    output: Literal["json", "topics", "both"] = setting(
        "json", text="json: one message with the record; topics: one for each field at <topic>/<field>; both."
    )
    twin: str | None = setting(
        None, text="A model that does the opposite: what it publishes is not taken, so that the two do not echo."
    )
    qos: Literal[0, 1, 2] | None = setting(None, text="Default: that of the message that came.")
    retain: bool = setting(False, text="Keep records as the last value of their topic.")
    field: tuple[Field, ...] = setting((), text="Its fields, in order.")
    enabled: bool = setting(True, text="false: read and checked, but not run.")
    loop: bool = setting(False, text="true: it may come back to itself through actions, up to the hop limit.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """A field replaces one of a base, never one beside it."""
        first: dict[str, int] = {}
        for index, field in enumerate(self.field):
            if first.setdefault(field.name, index) != index:
                yield f"field[{index}].name", f'"{field.name}" is the name of field[{first[field.name]}] already'
