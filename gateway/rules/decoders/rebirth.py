"""Asks Sparkplug nodes to be born once more when their data cannot be read without their birth. Pure.

Source: Eclipse Sparkplug 3.0.0, sections 5.17 (a host asks for a birth by an NCMD with the metric
``Node Control/Rebirth``, true), 4.2.1.4 and 6.4.23 (NCMD: QoS 0, not retained, with a time, without a sequence number).

A node that does not answer is asked seldom: what asks a whole plant at once must not do so for each of its messages.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.message import Message
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, encode

REBIRTH: Final = "Node Control/Rebirth"

FIRST: Final = 10.0
LAST: Final = 600.0
"""Seconds from one question to the next: twice as long each time, until the node is born."""

MAX_NODES: Final = 1000
"""Nodes that are remembered; the one that was asked first gives way."""


class Asked(NamedTuple):
    """When a node may be asked again, and how long it is left alone then."""

    due: float
    pause: float


class Rebirths:
    """Who was asked. Times are monotonic seconds."""

    __slots__ = ("_asked", "_missed")

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str, str], Asked] = {}
        self._missed: dict[tuple[str, str, str], None] = {}

    def miss(self, namespace: str, group: str, node: str) -> None:
        """A birth of this node is needed."""
        self._missed[namespace, group, node] = None

    def born(self, namespace: str, group: str, node: str) -> None:
        """There it is."""
        self._asked.pop((namespace, group, node), None)
        self._missed.pop((namespace, group, node), None)

    def take(self, now: float, time: float) -> list[Message]:
        """The questions that are due; ``time``: wall clock."""
        found = []
        for key in self._missed:
            asked = self._asked.get(key)
            if asked is not None and now < asked.due:
                continue
            pause = FIRST if asked is None else min(LAST, asked.pause * 2)
            if asked is None and len(self._asked) >= MAX_NODES:
                del self._asked[next(iter(self._asked))]
            self._asked[key] = Asked(now + pause, pause)
            found.append(request(*key, time))
        self._missed.clear()
        return found


def request(namespace: str, group: str, node: str, time: float) -> Message:
    """The NCMD that asks a node to be born once more."""
    moment = max(0, int(time * 1000))
    # A command should not say its type [payloads-metric-datatype-not-req], but nodes of version 2 need it to read one.
    metric = Metric(REBIRTH, True, DataType.BOOLEAN, time=moment)
    payload = encode([(metric, DataType.BOOLEAN)], moment, None)
    return Message(f"{namespace}/{group}/NCMD/{node}", payload, 0, time=time)
