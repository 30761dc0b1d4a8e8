"""What each queue may hold on the disk before its oldest messages go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.broker.queue_port import DEAD, QUEUE, STREAM
from gateway.config.queue import Queue, Stream, dead_letter_names


class Bounds(NamedTuple):
    """0 is no bound. ``log``: whether it is a stream, whose messages go only by these bounds."""

    max_count: int = 0
    max_bytes: int = 0
    max_age: float = 0.0
    log: bool = False


def bounds_of(queues: Mapping[str, Queue], streams: Mapping[str, Stream]) -> dict[str, Bounds]:
    """By address. A queue that rejects when it is full lets nothing go but what is too old."""
    found: dict[str, Bounds] = {}
    for name, queue in queues.items():
        lets_go = queue.when_full == "drop_oldest"
        found[f"{QUEUE}/{name}"] = Bounds(
            queue.max_depth if lets_go else 0, queue.max_bytes if lets_go else 0, queue.ttl
        )
    for name, letters in dead_letter_names(queues).items():
        found[f"{DEAD}/{name}"] = Bounds(letters.max_depth, letters.max_bytes)
    for name, stream in streams.items():
        found[f"{STREAM}/{name}"] = Bounds(stream.max_count, stream.max_bytes, stream.max_age, True)
    return found
