"""From the broker to one client: the window of unacknowledged messages, and those that wait for it.

QoS 1 and 2 messages get a packet id and stay in ``inflight`` until the client has answered; what does not fit
the client's window, or comes while it is away, waits in ``pending``, bounded in number and bytes: the oldest
is dropped and counted. Retained messages for a new subscription are drawn one by one as room appears, so a
subscription to everything needs no memory for everything.

It writes frames to a connection and knows no socket; times are the server's cached monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Protocol

from gateway.message import MESSAGE_EXPIRY, SUBSCRIPTION_IDENTIFIER, Message
from gateway.metrics import Metrics
from gateway.mqtt.encode import encode, publish_frame
from gateway.mqtt.limits import Limits
from gateway.mqtt.packets import PubRel


class Wire(Protocol):
    """What the window needs of a connection."""

    version: int
    max_packet_out: int

    def write(self, data: bytes) -> None:
        """Queue bytes for the next flush."""

    def room(self) -> bool:
        """Whether the socket takes more."""


class Item:
    """One message on its way to one client."""

    __slots__ = ("message", "qos", "retain", "ids", "packet_id", "released")

    def __init__(self, message: Message, qos: int, retain: bool, ids: tuple[int, ...]) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.ids = ids
        self.packet_id = 0
        self.released = False
        """QoS 2: the client has answered PUBREC, and we owe it PUBREL until PUBCOMP."""

    @property
    def size(self) -> int:
        return len(self.message.payload) + len(self.message.topic)


class Outgoing:
    """The sending half of a session; outlives its connections."""

    __slots__ = (
        "_limits",
        "_metrics",
        "_next_id",
        "_replays",
        "inflight",
        "pending",
        "pending_bytes",
        "window",
        "wire",
    )

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._next_id = 0
        self._replays: deque[Iterator[Item]] = deque()
        self.inflight: dict[int, Item] = {}
        self.pending: deque[Item] = deque()
        self.pending_bytes = 0
        self.window = limits.max_inflight
        self.wire: Wire | None = None

    # -- messages in ---------------------------------------------------------------------------------------

    def send(self, message: Message, qos: int, retain: bool, ids: tuple[int, ...], now: float) -> None:
        """Deliver now, or later, or count why not."""
        wire = self.wire
        if qos == 0:
            if wire is None:
                return
            if wire.room():
                self._write(wire, Item(message, 0, retain, ids), False, now)
            else:
                self._metrics.drop("slow_consumer")
            return
        item = Item(message, qos, retain, ids)
        if wire is not None and not self.pending and len(self.inflight) < self.window and wire.room():
            self._start(wire, item, now)
        else:
            self._wait(item)

    def replay(self, items: Iterator[Item], now: float) -> None:
        """Send a series (retained messages) as fast as the client takes it."""
        self._replays.append(items)
        self.refill(now)

    def _wait(self, item: Item) -> None:
        limits = self._limits
        self.pending.append(item)
        self.pending_bytes += item.size
        while len(self.pending) > limits.queue_count or (
            self.pending_bytes > limits.queue_bytes and len(self.pending) > 1
        ):
            oldest = self.pending.popleft()
            self.pending_bytes -= oldest.size
            self._metrics.drop("session_queue_full")

    def refill(self, now: float) -> None:
        """Send what waits, as far as window and socket allow."""
        wire = self.wire
        if wire is None:
            return
        while self.pending and len(self.inflight) < self.window and wire.room():
            item = self.pending.popleft()
            self.pending_bytes -= item.size
            self._start(wire, item, now)
        while self._replays and not self.pending and len(self.inflight) < self.window and wire.room():
            item_or_none = next(self._replays[0], None)
            if item_or_none is None:
                self._replays.popleft()
            elif item_or_none.qos == 0:
                self._write(wire, item_or_none, False, now)
            else:
                self._start(wire, item_or_none, now)

    # -- frames out ----------------------------------------------------------------------------------------

    def _start(self, wire: Wire, item: Item, now: float) -> None:
        item.packet_id = self._free_id()
        if self._write(wire, item, False, now):
            self.inflight[item.packet_id] = item

    def _free_id(self) -> int:
        # The window is far below 65 535, so a free id is at most a few steps away [MQTT-2.2.1-3].
        while True:
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self.inflight:
                return self._next_id

    def _write(self, wire: Wire, item: Item, dup: bool, now: float) -> bool:
        message = item.message
        flags = dup << 3 | item.qos << 1 | item.retain
        if message.expires is not None and message.expires <= now:
            self._metrics.drop("expired")
            return False
        if wire.version == 5 and (item.ids or message.expires is not None):
            head, tail = self._special_frame(item, flags, now)
        else:
            frames = message.frames
            if frames is None:
                frames = message.frames = {}
            key = (wire.version == 5) << 4 | flags
            frame = frames.get(key)
            if frame is None:
                frame = frames[key] = publish_frame(message.topic, message.payload, wire.version, flags, message.props)
            head, tail = frame
        if wire.max_packet_out and len(head) + len(tail) + 2 * (item.qos > 0) > wire.max_packet_out:
            # [MQTT-3.1.2-24]: act as if the delivery had completed.
            self._metrics.drop("too_large_for_client")
            return False
        wire.write(head + item.packet_id.to_bytes(2, "big") + tail if item.qos else head)
        self._metrics.count("messages_out")
        return True

    @staticmethod
    def _special_frame(item: Item, flags: int, now: float) -> tuple[bytes, bytes]:
        message = item.message
        props = message.props
        if message.expires is not None:
            # [MQTT-3.3.2-6]: the interval shrinks by the time that the message waited here.
            props += ((MESSAGE_EXPIRY, max(1, int(message.expires - now))),)
        props += tuple((SUBSCRIPTION_IDENTIFIER, identifier) for identifier in item.ids)
        return publish_frame(message.topic, message.payload, 5, flags, props)

    # -- answers of the client -----------------------------------------------------------------------------

    def acknowledged(self, packet_id: int, now: float) -> bool:
        """PUBACK, or PUBREC with an error: this message is done. False for an id that is not in flight."""
        if self.inflight.pop(packet_id, None) is None:
            return False
        self.refill(now)
        return True

    def received(self, packet_id: int) -> bool:
        """PUBREC: the client has the message; from now on we owe PUBREL, not PUBLISH. False for an unknown id."""
        item = self.inflight.get(packet_id)
        if item is None or item.qos != 2:
            return False
        item.released = True
        return True

    def completed(self, packet_id: int, now: float) -> bool:
        """PUBCOMP: the exchange is over. False for an id that waits for no PUBCOMP."""
        item = self.inflight.get(packet_id)
        if item is None or not item.released:
            return False
        return self.acknowledged(packet_id, now)

    # -- connections come and go ---------------------------------------------------------------------------

    def resume(self, wire: Wire, window: int, now: float) -> None:
        """A connection is there: repeat what is in flight, in order, then go on [MQTT-4.4.0-1]."""
        self.wire = wire
        self.window = min(window, self._limits.max_inflight)
        for packet_id, item in list(self.inflight.items()):
            if item.released:
                wire.write(encode(PubRel(packet_id), wire.version))
            elif not self._write(wire, item, True, now):
                del self.inflight[packet_id]
        self.refill(now)

    def suspend(self) -> None:
        """The connection is gone; what is in flight stays for the next one, replays are over."""
        self.wire = None
        self._replays.clear()

    def why_idle(self) -> str:
        """Why nothing moves: ``caught_up``, ``in_flight_full``, ``socket_full`` or ``away``."""
        if self.wire is None:
            return "away"
        if not self.wire.room():
            return "socket_full"
        if len(self.inflight) >= self.window:
            return "in_flight_full"
        return "caught_up"
