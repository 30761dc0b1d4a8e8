"""What a rule file may say: the declared shape of ``[[action]]`` and ``[[case]]``.

    [[action]]
    name = "high_temperature"
    on   = { topic = "plant/+/temperature" }
    when = "q == 'good' and v > 85"
    do   = [{ publish = { topic = "alarm/{topic.2}/high", value = { v = "v" }, qos = 1 } }]

Reading such a file compiles every expression, so that a mistake is an error with its line when the file is
loaded. What an action does when it runs is in ``steps.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from gateway.config.declare import Duration, not_empty, setting, topic_filter, topic_level, topic_name
from gateway.rules.steps import MAX_MESSAGES_OF_BATCH, Problems, compile_action


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What makes an action run."""

    topic: str = setting(
        text="Each message whose topic matches this filter.", check=topic_filter, example='"plant/+/temperature"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Step: publish a message. Without ``payload`` and ``value`` the content that came is passed on, byte for byte."""

    topic: str = setting(text="Where to; {expression} fills a level.", example='"alarm/{topic.2}/high"')
    payload: str | None = setting(None, text="The content as text; {expression} fills in.")
    value: Any = setting(None, text="The content as a value: every text in it is an expression.")
    qos: Literal[0, 1, 2] | None = setting(None, text="Default: that of the message that came.")
    retain: bool = setting(False, text="Keep it as the last value of its topic.")
    expires: Duration | None = setting(None, text="Not worth delivering after this time.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """Two contents are one too many."""
        if self.payload is not None and self.value is not None:
            yield "payload", "give either payload (a text) or value (expressions), not both"
        if self.expires == 0:
            yield "expires", "must be longer than 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an action: exactly one of its keys."""

    set: dict[str, Any] | None = setting(None, text="Name values: each text is an expression; later lines see it.")
    publish: Publish | None = setting(None, text="Publish a message.")
    batch: tuple[Publish, ...] | None = setting(
        None, text="Publish several messages, which are all stored or none of them.", check=not_empty
    )

    def problems(self) -> Iterable[tuple[str, str]]:
        """A step does one thing, so that the order of steps says the order of what happens."""
        given = [name for name in ("set", "publish", "batch") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            yield "", f"a step has exactly one of set, publish, batch; here: {found}"
        if self.batch is not None and len(self.batch) > MAX_MESSAGES_OF_BATCH:
            yield "batch", f"has {len(self.batch)} messages; a batch has at most {MAX_MESSAGES_OF_BATCH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something to do in answer to messages."""

    name: str = setting(text="Unique among all rule files.", check=topic_level, example='"high_temperature"')
    on: Trigger = setting(text="What makes it run.", example='{ topic = "plant/+/temperature" }')
    when: str | None = setting(None, text="Expression; the steps run only when it is true. Default: always.")
    do: tuple[Step, ...] = setting(text="The steps, in order. When one fails, nothing is published.", check=not_empty)
    enabled: bool = setting(True, text="false: read and checked, but not run.")
    loop: bool = setting(False, text="true: it may come back to itself through other actions, up to the hop limit.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """Every expression that does not compile."""
        found: Problems = []
        compile_action(self, found)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A message that a case publishes."""

    topic: str = setting(text="Its topic.", check=topic_name)
    payload: str | None = setting(None, text="Its content as text.")
    value: Any = setting(None, text="Its content as a value, published as JSON.")
    qos: Literal[0, 1, 2] = setting(0, text="As published.")
    retain: bool = setting(False, text="As published.")
    at: Duration = setting(0.0, text="Virtual time after the begin of the case.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """A message has one content."""
        return _one_content(self.payload, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A message that the actions must publish; what is left out is not compared."""

    topic: str = setting(text="Its topic.", check=topic_name)
    payload: str | None = setting(None, text="Its content as text, compared character by character.")
    value: Any = setting(None, text="Its content as a value; numbers may differ in the ninth digit.")
    qos: Literal[0, 1, 2] | None = setting(None, text="Its QoS.")
    retain: bool | None = setting(None, text="Whether it is kept.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """A message has one content."""
        return _one_content(self.payload, self.value)


def _one_content(payload: str | None, value: Any) -> Iterable[tuple[str, str]]:
    if payload is not None and value is not None:
        yield "payload", "give either payload (a text) or value, not both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test of the actions in the same file."""

    name: str = setting(text="What is shown, in a few words.", check=not_empty)
    given: tuple[Given, ...] = setting(text="Messages that come in, by time.", check=not_empty)
    expect: tuple[Expected, ...] = setting(text="All that the actions publish, in order; [] for nothing.")
    errors: int = setting(0, text="How many times an action fails in this case.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFile:
    """One rule file."""

    action: tuple[Action, ...] = setting((), text="Its actions.")
    case: tuple[Case, ...] = setting((), text="Their tests.")
