"""Steps that make messages: publish, batch, queue, and the command that write is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.config.keys import KeyPath
from gateway.delay import target_filter
from gateway.message import Message, Value
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.octets import read_hex
from gateway.rules.program import Output, Step
from gateway.rules.scope import Scope

if TYPE_CHECKING:
    from gateway.rules.step import Publish, Queue, Write

Maker = Callable[[Frame], Message]
"""Makes one message to publish."""


def publish_step(publish: Publish, scope: Scope, path: KeyPath) -> Step:
    """One message."""
    make = message_maker(publish, scope, path)

    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(make(frame))

    return run


def batch_step(batch: Sequence[Publish], scope: Scope, path: KeyPath) -> Step:
    """Several that belong together."""
    makers = [message_maker(publish, scope, (*path, number)) for number, publish in enumerate(batch)]

    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(tuple([make(frame) for make in makers]))

    return run


def queue_step(queue: Queue, scope: Scope, path: KeyPath) -> Step:
    """One message to a queue."""
    scope.queues.append(queue.name)
    make = message_maker(queue.message, scope, path, "key")

    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(make(frame))

    return run


def message_maker(publish: Publish, scope: Scope, path: KeyPath, where_it_goes: str = "topic") -> Maker:
    """What makes the message of one publish. ``where_it_goes``: the key that its topic comes from."""
    topic = scope.topic(publish.topic, (*path, where_it_goes))
    text = value = octets = None
    if publish.payload is not None:
        text = scope.text(publish.payload, (*path, "payload"))
    if publish.value is not None:
        value = scope.value(publish.value, (*path, "value"))
    if publish.bytes is not None:
        octets = scope.expression(publish.bytes, (*path, "bytes"))
    if topic is not None:
        # A loop through a delayed message is a loop.
        scope.outputs.append(target_filter(topic.filter))
    qos, retain, expires, source = publish.qos, publish.retain, publish.expires, scope.source

    def make(frame: Frame) -> Message:
        cause = frame.message
        where = topic(frame)
        level = cause.qos if qos is None else qos
        if text is not None:
            made = Message(where, text(frame).encode("utf-8", "replace"), level, retain, source=source)
        elif value is not None:
            content = value(frame)
            frame.charge_value(content)
            made = Message(where, None, level, retain, source=source, value=content)
        elif octets is not None:
            made = Message(where, read_hex(octets(frame)), level, retain, source=source)
        else:
            made = cause.replace(where, level, retain, source)
        return _completed(made, frame, expires)

    return make


def write_step(write: Write, scope: Scope, path: KeyPath) -> Step:
    """A command to the point of a device."""
    topic = scope.topic(f"{write.point}/set", (*path, "point"))
    value = scope.value(write.value, (*path, "value"))
    id = scope.text(write.id, (*path, "id")) if write.id is not None else None
    if topic is not None:
        scope.outputs.append(topic.filter)
    expires, source = write.expires, scope.source

    def run(frame: Frame, outputs: list[Output]) -> None:
        content = value(frame)
        if content is None:
            raise RuleError(f"write {write.point}: the value is missing")
        command: dict[str, Value] = {"value": content}
        if id is not None:
            command["id"] = id(frame)
        outputs.append(_completed(Message(topic(frame), None, 1, source=source, value=command), frame, expires))

    return run


def _completed(made: Message, frame: Frame, expires: float | None) -> Message:
    made.hops = frame.message.hops + 1
    made.time = frame.message.time or frame.time
    if expires is not None:
        made.expires = frame.now + expires
    return made
