"""What a rule file may say: the declared shape of ``[[action]]`` and ``[[case]]``.

    [[action]]
    name = "high_temperature"
    on   = { topic = "plant/+/temperature" }
    when = "q == 'good' and v > 85"
    do   = [{ publish = { topic = "alarm/{topic.2}/high", value = { v = "v" }, qos = 1 } }]

Reading such a file compiles every expression, so that a mistake is an error with its line when the file is
loaded. What makes an action run is in ``trigger.py``, what it may do in ``step.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.config.declare import Duration, between, not_empty, setting, topic_level, topic_name
from gateway.rules.codec import Codec
from gateway.rules.compile_action import compile_action
from gateway.rules.model import Model
from gateway.rules.program import Problems
from gateway.rules.schema import Schema
from gateway.rules.step import Step
from gateway.rules.trigger import LONGEST, Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do in answer to messages."""

    name: str = setting(text="Unique among all rule files.", check=topic_level, example='"high_temperature"')
    on: Trigger | None = setting(
        None,
        text="What makes it run. Without it only other actions do, by call.",
        example='{ topic = "plant/+/state" }',
    )
    when: str | None = setting(None, text="Expression; the steps run only when it is true. Default: always.")
    per: str | None = setting(
        None,
        text="What functions remember is kept apart by this text; {expression} fills in. Default: by topic.",
        example='"{topic.2}"',
    )
    inputs: tuple[str, ...] = setting((), text="Names that whoever calls it may give.")
    returns: str | None = setting(None, text="Expression: what whoever calls it gets.")
    persist: bool = setting(False, text="true: what its functions remember survives a restart.")
    do: tuple[Step, ...] = setting(text="The steps, in order. When one fails, nothing is published.", check=not_empty)
    enabled: bool = setting(True, text="false: read and checked, but not run.")
    loop: bool = setting(False, text="true: it may come back to itself through other actions, up to the hop limit.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """Every expression that does not compile."""
        found: Problems = []
        compile_action(self, found)
        return found


def _is_hex(value: str) -> str | None:
    try:
        bytes.fromhex(value)
    except ValueError:
        return 'must be bytes as hex text, such as "01 ff"'
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A message that a case publishes."""

    topic: str = setting(text="Its topic.", check=topic_name)
    payload: str | None = setting(None, text="Its content as text.")
    value: Any = setting(None, text="Its content as a value, published as JSON.")
    bytes: str | None = setting(None, text="Its content as hex text.", check=_is_hex, example='"01 ff"')
    qos: Literal[0, 1, 2] = setting(0, text="As published.")
    retain: bool = setting(False, text="As published.")
    at: Duration = setting(0.0, text="Virtual time after the begin of the case.", check=between(0, LONGEST))

    def problems(self) -> Iterable[tuple[str, str]]:
        """A message has one content."""
        return _one_content(self.payload, self.value, self.bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A message that the actions must publish; what is left out is not compared."""

    topic: str = setting(text="Its topic.", check=topic_name)
    payload: str | None = setting(None, text="Its content as text, compared character by character.")
    value: Any = setting(None, text="Its content as a value; numbers may differ in the ninth digit.")
    bytes: str | None = setting(None, text="Its content as hex text.", check=_is_hex)
    qos: Literal[0, 1, 2] | None = setting(None, text="Its QoS.")
    retain: bool | None = setting(None, text="Whether it is kept.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """A message has one content."""
        return _one_content(self.payload, self.value, self.bytes)


def _moment(value: str) -> str | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        return 'must be a time with its offset, such as "2026-06-01T05:59:00Z"'
    if not 1970 < moment.year < 3000:
        return "must be a time between 1971 and 2999"
    return None


def _one_content(*contents: Any) -> Iterable[tuple[str, str]]:
    if sum(content is not None for content in contents) > 1:
        yield "payload", "give one of payload (a text), value and bytes (hex text), not both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test of the actions in the same file."""

    name: str = setting(text="What is shown, in a few words.", check=not_empty)
    given: tuple[Given, ...] = setting((), text="Messages that come in, by time.")
    begin: str = setting(
        "2026-01-01T00:00:00Z",
        text="The time when the case begins, with its offset from UTC.",
        check=_moment,
        example='"2026-06-01T05:59:00+02:00"',
    )
    then: Duration = setting(
        0.0, text="How long time goes on after the last message.", check=between(0, LONGEST), example='"1h"'
    )
    kept: dict[str, Any] = setting(factory=dict, text="What is kept when the case begins: name = value.")
    expect: tuple[Expected, ...] = setting(text="All that the actions publish, in order; [] for nothing.")
    errors: int = setting(0, text="How many times an action fails in this case, or a record is bad.")
    refused: int = setting(0, text="How many messages a schema refuses in this case.")
    env: dict[str, str] = setting(factory=dict, text="What env() finds in this case: name = text.")

    @property
    def begins(self) -> float:
        """``begin``, in seconds since 1970."""
        return datetime.fromisoformat(self.begin).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFile:
    """One rule file."""

    action: tuple[Action, ...] = setting((), text="Its actions.")
    model: tuple[Model, ...] = setting((), text="Its models.")
    codec: tuple[Codec, ...] = setting((), text="Its codecs.")
    schema: tuple[Schema, ...] = setting((), text="What messages must be.")
    case: tuple[Case, ...] = setting((), text="Their tests.")
