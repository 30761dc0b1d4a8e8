"""A server with queues in memory: every packet of a consumer, without a disk and without waiting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.broker.access import Access
from gateway.broker.memory_shelf import MemoryShelf
from gateway.broker.queue_desk import QueueDesk
from gateway.clock import FixedClock
from gateway.config.queue import Queue, Queues, Stream
from gateway.message import USER_PROPERTY
from gateway.mqtt.packets import Packet, PubAck, Publish
from mqtt.pair import Client, World


class Nothing:
    """What a first run finds."""

    depth = bytes = 0
    groups: list[Any] = []


class QueueWorld(World):
    """``World`` with queues; their clock goes with the server's."""

    def __init__(
        self,
        queues: Mapping[str, Queue] | None = None,
        streams: Mapping[str, Stream] | None = None,
        terms: Queues | None = None,
        access: Access | None = None,
        **limits: Any,
    ) -> None:
        super().__init__(access, **limits)
        self.clock = FixedClock(self.server.clock.time, self.server.clock.now)
        queues = {"q": Queue()} if queues is None else queues
        self.desk = QueueDesk(queues, streams or {}, terms or Queues(), self.clock, self.broker.metrics)
        names = [f"$queue/{name}" for name in queues] + [f"$dlq/{name}" for name in queues]
        names += [f"$stream/{name}" for name in streams or {}]
        self.desk.open(
            lambda address: MemoryShelf(self.clock, 10**6, 10**9), dict.fromkeys(names, Nothing()), self.broker
        )
        self.server.queues = self.desk

    def advance(self, seconds: float) -> None:
        end = self.server.clock.now + seconds
        while self.server.clock.now < end:
            step = min(1.0, end - self.server.clock.now)
            self.clock.advance(step)
            super().advance(step)
            self.desk.tick()


def said(packet: Packet) -> dict[str, str]:
    """The user properties of a packet."""
    assert isinstance(packet, Publish)
    return {value[0]: value[1] for identifier, value in packet.props if identifier == USER_PROPERTY}


def user(**said: str) -> tuple[tuple[int, Any], ...]:
    """User properties; an underscore stands for a hyphen."""
    return tuple((USER_PROPERTY, (name.replace("_", "-"), text)) for name, text in said.items())


def settle(client: Client, verb: str, message: Packet, packet_id: int = 900, **more: str) -> int:
    """Publish a verb for a message as it was delivered; the reason code of the answer."""
    names = said(message)
    asked = {"message_id": names["message-id"], "group_id": names["group-id"], **more}
    place = message.topic.partition("/")[0] if isinstance(message, Publish) else ""
    answers = client.publish(f"{place}/{names['queue']}/${verb}", b"", 1, packet_id, props=user(**asked))
    (answer,) = [one for one in answers if one.type == 4]
    rest = [one for one in answers if one.type == 3]
    client.late = rest  # type: ignore[attr-defined]
    reason: int = answer.reason  # type: ignore[union-attr]
    return reason


def fill(world: QueueWorld, count: int = 1, topic: str = "$queue/q/t") -> None:
    """Publish so many messages, each acknowledged."""
    publisher = world.client("p")
    for n in range(count):
        assert publisher.publish(topic, b"%d" % n, 1, n + 1) == [PubAck(n + 1)]
