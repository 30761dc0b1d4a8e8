"""What an action may do: the declared shape of its steps. What they do when they run is in ``steps.py``.

A step does one thing; the key that says which comes first, and its other keys belong to it::

    { publish = { topic = "alarm/{topic.2}", value = "v", qos = 1 } }
    { if = "v > 85", then = [...], else = [...] }
    { switch = "state", case = [{ is = "'run'", do = [...] }], else = [...] }
    { each = "value['items']", as = "item", do = [...] }
    { after = "30s", name = "light/{topic.2}", do = [...] }
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config.declare import Duration, between, not_empty, setting, topic_level

MAX_MESSAGES_OF_BATCH: Final = 64
"""Messages that one step publishes together."""

LONGEST_DELAY: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Step: publish a message. Without ``payload``, ``value`` and ``bytes`` the content that came is passed
    on, byte for byte."""

    topic: str = setting(text="Where to; {expression} fills a level.", example='"alarm/{topic.2}/high"')
    payload: str | None = setting(None, text="The content as text; {expression} fills in.")
    value: Any = setting(None, text="The content as a value: every text in it is an expression.")
    bytes: str | None = setting(None, text="The content as bytes: an expression that gives hex text, such as pack().")
    qos: Literal[0, 1, 2] | None = setting(None, text="Default: that of the message that came.")
    retain: bool = setting(False, text="Keep it as the last value of its topic.")
    expires: Duration | None = setting(None, text="Not worth delivering after this time.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """Two contents are one too many."""
        if sum(content is not None for content in (self.payload, self.value, self.bytes)) > 1:
            yield "payload", "give one of payload (a text), value (expressions) and bytes (an expression), not both"
        if self.expires == 0:
            yield "expires", "must be longer than 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Step: append a message to a queue of the settings, for one consumer of each of its groups to work off. It is
    ``$queue/NAME/KEY`` with QoS 1. Without ``payload``, ``value`` and ``bytes`` the content that came is passed on."""

    name: str = setting(text="Name of the queue, as in [queue.NAME].", check=topic_level, example='"orders"')
    key: str = setting(
        text="Its topic within the queue, which consumers may filter by; {expression} fills a level.",
        example='"line/{topic.2}"',
    )
    payload: str | None = setting(None, text="The content as text; {expression} fills in.")
    value: Any = setting(None, text="The content as a value: every text in it is an expression.")
    bytes: str | None = setting(None, text="The content as bytes: an expression that gives hex text, such as pack().")
    expires: Duration | None = setting(None, text="Not worth working off after this time.")

    def problems(self) -> Iterable[tuple[str, str]]:
        """As of a message, and a key that is no verb."""
        if any(level.startswith("$") for level in self.key.split("/")):
            yield "key", "has a level that begins with '$'; such a level settles messages, and appends none"
        yield from self.message.problems()

    @property
    def message(self) -> Publish:
        """What is published."""
        return Publish(
            topic=f"$queue/{self.name}/{self.key}",
            payload=self.payload,
            value=self.value,
            bytes=self.bytes,
            qos=1,
            expires=self.expires,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Step: keep a value under a name; ``get(name)`` gives it, here and in every other action."""

    name: str = setting(text="The name; {expression} fills in.", example='"limit/{topic.2}"')
    value: Any = setting(None, text="The value: every text in it is an expression. A missing value forgets the name.")
    persist: bool = setting(False, text="true: it survives a restart.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Step: write a point of a device. Goes through its command desk: limits, read-back, result topic."""

    point: str = setting(text="Topic of the point; {expression} fills a level.", example='"plant/boiler/setpoint"')
    value: Any = setting(text="The value, in the point's unit: an expression.", example='"v - 5"')
    id: str | None = setting(None, text="Id of the command; {expression} fills in. Each id is carried out once.")
    expires: Duration = setting(
        60.0, text="Not carried out after this time.", check=between(0.1, LONGEST_DELAY), example='"30s"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """Step: raise an alarm; nothing happens while it stands already."""

    alarm: str = setting(text="Its name; {expression} fills a level.", example='"too_hot/{topic.2}"')
    text: str = setting("", text="What to tell a person; {expression} fills in.")
    severity: Literal["info", "warning", "critical"] = setting("warning", text="How bad it is.")
    latch: bool = setting(False, text="true: it stands until somebody acknowledges it, also when it was cleared.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear:
    """Step: clear an alarm; nothing happens when it does not stand."""

    alarm: str = setting(text="Its name; {expression} fills a level.", example='"too_hot/{topic.2}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One case of a switch."""

    is_: Any = setting(text="An expression, a number, true or false; or a list of them.", example="\"'run'\"")
    do: tuple[Step, ...] = setting(text="The steps.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of an action: one thing, with what belongs to it."""

    set: dict[str, Any] | None = setting(None, text="Name values: each text is an expression; later lines see it.")
    publish: Publish | None = setting(None, text="Publish a message.")
    batch: tuple[Publish, ...] | None = setting(
        None, text="Publish several messages, which are all stored or none of them.", check=not_empty
    )
    queue: Queue | None = setting(None, text="Append a message to a queue.")
    keep: Keep | None = setting(None, text="Keep a value.")
    write: Write | None = setting(None, text="Write a point of a device.")
    raise_: Raise | None = setting(None, text="Raise an alarm.")
    clear: Clear | None = setting(None, text="Clear an alarm.")
    call: str | None = setting(None, text="Run another action by its name; with and into belong to it.")
    python: str | None = setting(
        None,
        text="Run a Python function of rules/functions: FILE.FUNCTION; with and into belong to it.",
        example='"convert.to_celsius"',
    )
    if_: str | None = setting(None, text="An expression; then and else belong to it.")
    switch: str | None = setting(None, text="An expression; case and else belong to it.")
    each: str | None = setting(None, text="An expression that gives a list; as and do belong to it.")
    after: Duration | None = setting(
        None, text="Run do later; name belongs to it.", check=between(0, LONGEST_DELAY), example='"30s"'
    )
    cancel: str | None = setting(None, text="Forget what was to be done later under this name; {expression} fills in.")

    with_: dict[str, Any] | None = setting(None, text="call, python: its inputs, each an expression.")
    into: str | None = setting(None, text="call, python: the name that its result gets.")
    then: tuple[Step, ...] | None = setting(None, text="if: the steps when it is true.")
    else_: tuple[Step, ...] | None = setting(None, text="if, switch: the steps when nothing else fits.")
    case: tuple[Branch, ...] | None = setting(None, text="switch: its cases; the first that fits is taken.")
    as_: str = setting("item", text="each: the name that the item gets; its place in the list, from 0, is index.")
    do: tuple[Step, ...] | None = setting(None, text="each, after: the steps.")
    name: str | None = setting(
        None, text="after: planning it again under this name replaces it; {expression} fills in."
    )

    def problems(self) -> Iterable[tuple[str, ...]]:
        """A step does one thing, so that the order of steps says the order of what happens."""
        given = [name for name in _VERBS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(verb.rstrip("_") for verb in given) if given else "none"
            known = ", ".join(verb.rstrip("_") for verb in _VERBS)
            yield "", f"a step has exactly one of {known}; here: {found}", *(verb.rstrip("_") for verb in _VERBS)
            return
        (verb,) = given
        belong, needed = _VERBS[verb]
        for key in ("with_", "into", "then", "else_", "case", "do", "name"):
            if getattr(self, key) is not None and key not in belong:
                yield key.rstrip("_"), f"does not belong to {verb.rstrip('_')}"
        for key in needed:
            if not getattr(self, key):
                yield key.rstrip("_"), f"{verb.rstrip('_')} needs it", key.rstrip("_")
        if self.batch is not None and len(self.batch) > MAX_MESSAGES_OF_BATCH:
            yield "batch", f"has {len(self.batch)} messages; a batch has at most {MAX_MESSAGES_OF_BATCH}"


_VERBS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    # the key that says what a step does: what may stand beside it, and what must
    **dict.fromkeys(("set", "publish", "batch", "queue", "keep", "write", "raise_", "clear", "cancel"), ((), ())),
    "call": (("with_", "into"), ()),
    "python": (("with_", "into"), ()),
    "if_": (("then", "else_"), ("then",)),
    "switch": (("case", "else_"), ("case",)),
    "each": (("do",), ("do",)),
    "after": (("do", "name"), ("do",)),
}
