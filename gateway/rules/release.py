"""Publishing what a rule has made, so that the cause is acknowledged when that is safe."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.broker.port import Done, Gather, Publisher
from gateway.message import Message

Messages = Message | tuple[Message, ...]
"""A message, or several that are all stored or none."""


def release(publisher: Publisher, outputs: Sequence[Messages], done: Done | None) -> bool:
    """Publish all. True when ``done`` will be called: one of them has QoS 1 or 2, and somebody waits."""
    if done is None or not any(map(_is_awaited, outputs)):
        for output in outputs:
            _publish(publisher, output, None)
        return False
    gather = Gather(done)
    for output in outputs:
        if _is_awaited(output):
            gather.expect()
            _publish(publisher, output, gather)
        else:
            _publish(publisher, output, None)
    gather.close()
    return True


def count(outputs: Sequence[Messages]) -> int:
    """Messages in all."""
    return sum(1 if isinstance(output, Message) else len(output) for output in outputs)


def _publish(publisher: Publisher, output: Messages, done: Done | None) -> None:
    if isinstance(output, Message):
        publisher.publish(output, done)
    else:
        publisher.publish_batch(output, done)


def _is_awaited(output: Messages) -> bool:
    return output.qos > 0 if isinstance(output, Message) else any(message.qos for message in output)
