"""From the broker to one client: the window of unacknowledged messages, and those that wait for it.

QoS 1 and 2 messages get a packet id and stay in ``inflight`` until the client has answered; what does not fit
the client's window, or comes while it is away, waits in ``pending``, bounded in number and bytes: the oldest
is dropped and counted. Retained messages for a new subscription are drawn one by one as room appears, so a
subscription to everything needs no memory for everything.

It writes frames to a connection, its ``wire``, and knows no socket. Whether publishers should wait for it is in
``pressure.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import ceil
from typing import TYPE_CHECKING, Final

from gateway.errors import Malformed
from gateway.message import MESSAGE_EXPIRY, SUBSCRIPTION_IDENTIFIER, Message
from gateway.metrics import Metrics
from gateway.mqtt.encode import publish_frame
from gateway.mqtt.limits import Limits
from gateway.mqtt.packets import PubRel
from gateway.mqtt.pressure import Pressure
from gateway.mqtt.properties import TOPIC_ALIAS
from gateway.mqtt.reasons import PROTOCOL_ERROR
from gateway.mqtt.turn import Turn

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.shared import Group


NOTHING: Final[deque[Item]] = deque()
"""Stands for an empty queue: a deque of its own takes 700 bytes, and most clients never need it. Never changed."""


class Item:
    """One message on its way to one client."""

    __slots__ = ("message", "qos", "retain", "ids", "packet_id", "released", "group", "since")

    def __init__(
        self, message: Message, qos: int, retain: bool, ids: tuple[int, ...], group: Group | None, since: float
    ) -> None:
        self.message = message
        self.qos = qos
        self.retain = retain
        self.ids = ids
        self.packet_id = 0
        self.released = False
        """QoS 2: the client has answered PUBREC, and we owe it PUBREL until PUBCOMP."""
        self.group = group
        """The shared subscription that chose this client; another member may get the message instead."""
        self.since = since
        """Monotonic: when the broker handed it over."""

    @property
    def size(self) -> int:
        return len(self.message.payload) + len(self.message.topic)


class Outgoing:
    """The sending half of a session; outlives its connections."""

    __slots__ = (
        "_aliases",
        "_aliases_max",
        "_limits",
        "_metrics",
        "_next_id",
        "_replays",
        "_turn",
        "_unsent",
        "inflight",
        "pending",
        "pending_bytes",
        "pressure",
        "window",
        "wire",
    )

    def __init__(self, limits: Limits, metrics: Metrics, turn: Turn, is_slow: Callable[[], None]) -> None:
        self._limits = limits
        self._metrics = metrics
        self._turn = turn
        self._next_id = 0
        self._replays: list[Iterator[Item]] = []
        self._unsent: list[int] = []
        """Packet ids to repeat, the next one last."""
        self._aliases: dict[str, int] = {}
        self._aliases_max = 0
        self.inflight: dict[int, Item] = {}
        self.pending: deque[Item] = NOTHING
        self.pending_bytes = 0
        self.pressure = Pressure(turn, is_slow)
        self.window = limits.max_inflight
        self.wire: Connection | None = None

    # -- messages in ---------------------------------------------------------------------------------------

    def send(self, message: Message, qos: int, retain: bool, ids: tuple[int, ...], group: Group | None = None) -> None:
        """Deliver now, or later, or count why not."""
        wire = self.wire
        if qos == 0:
            if wire is None:
                return
            # A publisher that has to wait has already sent this message: only a slow receiver misses it.
            if self.pressure.is_slow and wire.full():
                self._metrics.drop("slow_consumer")
            else:
                self._write(wire, Item(message, 0, retain, ids, None, 0.0), False)
            if not wire.room():
                self.pressure.apply()
            return
        self.take(Item(message, qos, retain, ids, group, self._turn.now))

    def forward(self, run: bytes, count: int, payload: int) -> None:
        """Send ``count`` whole QoS 0 PUBLISHes, with ``payload`` bytes in them, as they are; see ``express.py``."""
        wire = self.wire
        if wire is None:
            return
        if self.pressure.is_slow and wire.full():
            self._metrics.drop("slow_consumer", count)
            return
        wire.write(run)
        self._metrics.traffic.messages_out += count
        # For the connection the run is one packet.
        self._metrics.traffic.packets_out += count - 1
        self._metrics.traffic.payload_out += payload

    def is_ready(self) -> bool:
        """Whether more may be forwarded now; if not, the publisher has to wait."""
        wire = self.wire
        if wire is None or wire.room() or self.pressure.is_slow:
            return True
        self.pressure.apply()
        return False

    def is_plain(self, version: int) -> bool:
        """Whether a QoS 0 PUBLISH of this version reaches the client as it is."""
        wire = self.wire
        return wire is not None and wire.version == version and not wire.max_packet_out and not self._aliases_max

    def take(self, item: Item) -> None:
        """Send a QoS 1 or 2 message, or let it wait its turn."""
        wire = self.wire
        if wire is not None and not self.pending and self._in_use() < self.window and wire.room():
            self._start(wire, item)
        else:
            self._wait(item)
            if wire is not None and self._presses():
                self.pressure.apply()

    def _in_use(self) -> int:
        # What has yet to be repeated after a reconnect has a packet id and takes no room in the window.
        return len(self.inflight) if not self._unsent else self.window

    def _presses(self) -> bool:
        limits = self._limits
        return (
            limits.inflight_overflow == "backpressure"
            or 2 * len(self.pending) > limits.queue_count
            or 2 * self.pending_bytes > limits.queue_bytes
        )

    def replay(self, items: Iterator[Item]) -> None:
        """Send a series (retained messages) as fast as the client takes it."""
        self._replays.append(items)
        self.refill()

    def _wait(self, item: Item) -> None:
        limits = self._limits
        if self.pending is NOTHING:
            self.pending = deque()
        self.pending.append(item)
        self.pending_bytes += item.size
        while len(self.pending) > limits.queue_count or (
            self.pending_bytes > limits.queue_bytes and len(self.pending) > 1
        ):
            oldest = self.pending.popleft()
            self.pending_bytes -= oldest.size
            self._metrics.drop("session_queue_full")

    def refill(self) -> None:
        """Send what waits, as far as window and socket allow: repeats first, then new messages, then replays."""
        wire = self.wire
        if wire is None:
            return
        if self._unsent:
            self._repeat(wire)
        while self.pending and self._in_use() < self.window and wire.room():
            item = self.pending.popleft()
            self.pending_bytes -= item.size
            self._start(wire, item)
        while self._replays and not self.pending and self._in_use() < self.window and wire.room():
            following = next(self._replays[0], None)
            if following is None:
                self._replays.pop(0)
            elif following.qos == 0:
                self._write(wire, following, False)
            else:
                self._start(wire, following)
        pressure = self.pressure
        if (pressure.waiting or pressure.is_slow) and wire.room() and (not self.pending or not self._presses()):
            pressure.release()

    def waits(self) -> bool:
        """Whether anything waits for room."""
        return bool(self.pending or self._unsent or self._replays or self.pressure.waiting or self.pressure.is_slow)

    # -- frames out ----------------------------------------------------------------------------------------

    def _start(self, wire: Connection, item: Item) -> None:
        item.packet_id = self._free_id()
        if self._write(wire, item, False):
            self.inflight[item.packet_id] = item

    def _free_id(self) -> int:
        # The window is far below 65 535, so a free id is at most a few steps away [MQTT-2.2.1-3].
        while True:
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self.inflight:
                return self._next_id

    def _write(self, wire: Connection, item: Item, dup: bool) -> bool:
        message = item.message
        flags = dup << 3 | item.qos << 1 | item.retain
        # [MQTT-4.3.3-7]: what has been sent once does not expire any more.
        if message.expires is not None and message.expires <= self._turn.now and not dup:
            self._metrics.drop("expired")
            return False
        head, tail = self._frame(wire.version, item, flags)
        if wire.max_packet_out and len(head) + len(tail) + 2 * (item.qos > 0) > wire.max_packet_out:
            # [MQTT-3.1.2-24]: act as if the delivery had completed.
            self._metrics.drop("too_large_for_client")
            return False
        wire.write(head + item.packet_id.to_bytes(2, "big") + tail if item.qos else head)
        self._metrics.traffic.messages_out += 1
        self._metrics.traffic.payload_out += len(message.payload)
        return True

    def _frame(self, version: int, item: Item, flags: int) -> tuple[bytes, bytes]:
        """The PUBLISH in two parts around the packet id; shared among all receivers that need the same."""
        message = item.message
        topic, alias = (message.topic, 0) if not self._aliases_max else self._alias(message.topic)
        if version == 5 and (item.ids or message.expires is not None):
            return publish_frame(topic, message.payload, 5, flags, self._special(item, alias))
        # Bits: flags, version, "the alias is known", the alias.
        key = flags | (version == 5) << 4 | (not topic) << 5 | alias << 6
        if message.frame_key == key:
            return message.frame
        frames = message.frames
        found = frames.get(key) if frames is not None else None
        if found is not None:
            return found
        props = message.props + ((TOPIC_ALIAS, alias),) if alias else message.props
        frame = publish_frame(topic, message.payload, version, flags, props)
        if message.frame_key < 0:
            message.frame_key = key
            message.frame = frame
        elif frames is None:
            message.frames = {key: frame}
        else:
            frames[key] = frame
        return frame

    def _alias(self, topic: str) -> tuple[str, int]:
        """Topic and Topic Alias to send (section 3.3.2.3.4): the first topics of a connection get an alias each."""
        alias = self._aliases.get(topic)
        if alias is not None:
            return "", alias
        if len(self._aliases) >= self._aliases_max:
            return topic, 0
        alias = self._aliases[topic] = len(self._aliases) + 1
        return topic, alias

    def _special(self, item: Item, alias: int) -> tuple[tuple[int, object], ...]:
        """Properties that are this receiver's, or this moment's, own."""
        message = item.message
        props = message.props
        if message.expires is not None:
            # [MQTT-3.3.2-6]: the interval shrinks by the whole seconds that the message waited here.
            props += ((MESSAGE_EXPIRY, max(1, ceil(message.expires - self._turn.now))),)
        if alias:
            props += ((TOPIC_ALIAS, alias),)
        return props + tuple((SUBSCRIPTION_IDENTIFIER, identifier) for identifier in item.ids)

    # -- answers of the client -----------------------------------------------------------------------------

    # An identifier that is not in flight is nothing bad (section 4.3.3). One that is in flight and waits for another
    # packet is a violation of the protocol, which ends the connection [MQTT-4.8.0-1 in 3.1.1; 4.13.1-1 in 5].

    def acknowledged(self, packet_id: int) -> Item | None:
        """PUBACK: this message is done. None for an id that is not in flight. Raises Malformed for QoS 2."""
        item = self.inflight.get(packet_id)
        if item is None:
            return None
        if item.qos != 1:
            raise Malformed("PUBACK for a message with QoS 2", PROTOCOL_ERROR)
        return self._done(item)

    def refused(self, packet_id: int) -> None:
        """PUBREC with an error: this message is done. Raises Malformed for QoS 1."""
        if self.received(packet_id):
            self._done(self.inflight[packet_id])

    def received(self, packet_id: int) -> bool:
        """PUBREC: the client has the message; from now on we owe PUBREL, not PUBLISH. False for an unknown id.

        Raises Malformed for QoS 1.
        """
        item = self.inflight.get(packet_id)
        if item is None:
            return False
        if item.qos != 2:
            raise Malformed("PUBREC for a message with QoS 1", PROTOCOL_ERROR)
        item.released = True
        return True

    def completed(self, packet_id: int) -> Item | None:
        """PUBCOMP: the exchange is over. None for an unknown id. Raises Malformed when PUBREC has not come."""
        item = self.inflight.get(packet_id)
        if item is None:
            return None
        if not item.released:
            raise Malformed("PUBCOMP for a message that waits for another answer", PROTOCOL_ERROR)
        return self._done(item)

    def _done(self, item: Item) -> Item:
        del self.inflight[item.packet_id]
        if self.waits():
            self.refill()
        return item

    # -- connections come and go ---------------------------------------------------------------------------

    def resume(self, wire: Connection, window: int, aliases: int) -> None:
        """A connection is there: repeat what is in flight, in order, then go on [MQTT-4.4.0-1].

        ``window``: the client's Receive Maximum, which also bounds what is repeated at once [MQTT-3.3.4-9].
        ``aliases``: topic aliases that it takes.
        """
        self.wire = wire
        self.window = min(window, self._limits.max_inflight)
        self._aliases = {}
        self._aliases_max = min(aliases, self._limits.topic_alias_maximum)
        self._unsent = list(reversed(self.inflight))
        self.refill()

    def _repeat(self, wire: Connection) -> None:
        while self._unsent and len(self.inflight) - len(self._unsent) < self.window and wire.room():
            packet_id = self._unsent.pop()
            item = self.inflight.get(packet_id)
            if item is None:
                continue
            if item.released:
                wire.send(PubRel(packet_id))
            elif not self._write(wire, item, True):
                del self.inflight[packet_id]

    def suspend(self) -> list[Item]:
        """The connection is gone. What is in flight stays for the next one, replays are over.

        Returns what came through a shared subscription and may go to another member: what was not sent, and QoS 1
        that was not acknowledged. QoS 2 in flight is this client's for good [MQTT-4.8.2-4].
        """
        self.wire = None
        self._replays.clear()
        self._unsent.clear()
        self.pressure.release()
        moved = [item for item in self.inflight.values() if item.group is not None and item.qos == 1]
        for item in moved:
            del self.inflight[item.packet_id]
        waiting = [item for item in self.pending if item.group is not None]
        if waiting:
            self.pending = deque(item for item in self.pending if item.group is None)
            self.pending_bytes = sum(item.size for item in self.pending)
        return moved + waiting

    def why_idle(self) -> str:
        """Why nothing moves: ``caught_up``, ``in_flight_full``, ``socket_full`` or ``away``."""
        if self.wire is None:
            return "away"
        if not self.wire.room():
            return "socket_full"
        if self._in_use() >= self.window:
            return "in_flight_full"
        return "caught_up"
