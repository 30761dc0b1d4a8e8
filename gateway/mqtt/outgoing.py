"""From the broker to one client: the window of unacknowledged messages, and those that wait for it.

QoS 1 and 2 messages get a packet id and stay in ``inflight`` until the client has answered; what does not fit
the client's window, or comes while it is away, waits in ``pending``, bounded in number and bytes: the oldest
is dropped and counted. Retained messages for a new subscription are drawn one by one as room appears, so a
subscription to everything needs no memory for everything.

It writes frames (``framing.py``) to a connection, its ``wire``, and knows no socket. Whether publishers should wait for
it is in ``pressure.py``; what becomes of its messages when the process ends, in ``keeping.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gateway.broker.port import Done
from gateway.errors import Malformed
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.mqtt.empty import NO_ASKERS, NO_IDS, NO_REPLAYS, NOTHING
from gateway.mqtt.framing import Framing
from gateway.mqtt.item import Item
from gateway.mqtt.limits import Limits
from gateway.mqtt.packets import PubRel
from gateway.mqtt.pressure import Pressure
from gateway.mqtt.reasons import PROTOCOL_ERROR
from gateway.mqtt.turn import Turn

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.keeping import Keep
    from gateway.mqtt.shared import Group


class Outgoing:
    """The sending half of a session; outlives its connections."""

    __slots__ = (
        "_askers", "_framing", "_limits", "_metrics", "_next_id", "_replays", "_turn", "_unsent",
        "inflight", "keep", "pending", "pending_bytes", "pressure", "rejects", "window", "wire",
    )  # fmt: skip

    def __init__(self, limits: Limits, metrics: Metrics, turn: Turn, is_slow: Callable[[], None]) -> None:
        self._limits = limits
        self._metrics = metrics
        self._turn = turn
        self._next_id = 0
        self._replays: list[Iterator[Item]] = NO_REPLAYS
        self._unsent: list[int] = NO_IDS
        """Packet ids to repeat, the next one last."""
        self._framing = Framing(turn)
        self._askers: list[Callable[[], None]] = NO_ASKERS
        self.inflight: dict[int, Item] = {}
        self.keep: Keep | None = None
        """The mirror of a session that outlives its connection."""
        self.pending: deque[Item] = NOTHING
        self.pending_bytes = 0
        self.rejects = limits.offline_queue == "reject"
        self.pressure = Pressure(turn, is_slow)
        self.window = limits.max_inflight
        self.wire: Connection | None = None

    # -- messages in ---------------------------------------------------------------------------------------

    def send(
        self,
        message: Message,
        qos: int,
        retain: bool,
        ids: tuple[int, ...],
        group: Group | None = None,
        done: Done | None = None,
    ) -> bool:
        """Deliver now, or later, or count why not. True when it is kept: ``done`` is called once it is safe."""
        wire = self.wire
        if qos == 0:
            if wire is None:
                return False
            # A publisher that has to wait has already sent this message: only a slow receiver misses it.
            if self.pressure.is_slow and wire.full():
                self._metrics.drop("slow_consumer")
            else:
                self._write(wire, Item(message, 0, retain, ids, None, 0.0), False)
            if not wire.room():
                self.pressure.apply()
            return False
        if self.keep is not None:
            return self.keep.deliver(message, qos, retain, ids, group, self._turn.now, done)
        self.take(Item(message, qos, retain, ids, group, self._turn.now))
        return False

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
        return wire is not None and wire.version == version and not wire.max_packet_out and not self._framing.aliases

    def take(self, item: Item) -> None:
        """Send a QoS 1 or 2 message, or let it wait its turn."""
        wire = self.wire
        if wire is not None and self.has_room():
            self._start(wire, item)
        else:
            self._wait(item)
            if wire is not None and self._presses():
                self.pressure.apply()

    def restore(self, item: Item) -> None:
        """What was on its way when the process ended: sent already if it has a packet id. In order."""
        if item.packet_id:
            self.inflight[item.packet_id] = item
            self._next_id = item.packet_id
        else:
            self._wait(item)

    def has_room(self) -> bool:
        """Whether a QoS 1 or 2 message would be sent now."""
        wire = self.wire
        return wire is not None and not self.pending_bytes and self._in_use() < self.window and wire.room()

    # -- messages that their owner keeps -------------------------------------------------------------------

    def start(self, item: Item) -> bool:
        """Write a message although it has another keeper: it is never queued here. Only after ``has_room``.

        False when it has expired or the client takes none of its size.
        """
        wire = self.wire
        assert wire is not None
        if item.qos == 0:
            return self._write(wire, item, False)
        self._start(wire, item)
        return item.packet_id in self.inflight

    def ask_for_room(self, call: Callable[[], None]) -> None:
        """Call back once when there is room, on this connection or a later one."""
        if self._askers is NO_ASKERS:
            self._askers = []
        self._askers.append(call)

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
        if self._replays is NO_REPLAYS:
            self._replays = []
        self._replays.append(items)
        self.refill()

    def _wait(self, item: Item) -> None:
        if self.pending is NOTHING:
            self.pending = deque()
        self.pending.append(item)
        self.pending_bytes += item.size
        while self.pending and (reason := self.excess(0, 0)):
            lost = self.pending.pop() if self.rejects else self.pending.popleft()
            self.pending_bytes -= lost.size
            self._metrics.drop(reason)
            if lost.kept is not None:
                lost.kept.give_up(self.rejects)

    def excess(self, more: int, size: int) -> str:
        """Which bound what waits here, with so many more messages of ``size`` bytes together, is beyond, as the reason
        of a drop; empty when it is within all."""
        limits = self._limits
        count = len(self.pending) + more
        if count > limits.queue_count or (self.pending_bytes + size > limits.queue_bytes and count > 1):
            return "session_queue_full"
        if self.keep is not None and self.keep.archive.held_bytes() + size > limits.offline_bytes:
            return "offline_full"
        return ""

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
                if following.qos == 2 and self.keep is not None:
                    self.keep.keep_started(following)
                self._start(wire, following)
        if self._askers and self.has_room():
            askers, self._askers = self._askers, NO_ASKERS
            for call in askers:
                call()
        pressure = self.pressure
        if pressure.is_on() and wire.room() and (not self.pending or not self._presses()):
            pressure.release()

    def waits(self) -> bool:
        """Whether anything waits for room."""
        if self.pending_bytes or self._unsent or self._replays or self._askers:
            return True
        return self.pressure.is_on()

    # -- frames out ----------------------------------------------------------------------------------------

    def _start(self, wire: Connection, item: Item) -> None:
        item.packet_id = self._free_id()
        kept = item.kept
        if (kept is not None and not kept.may_start()) or self._write(wire, item, False):
            self.inflight[item.packet_id] = item
        elif kept is not None:
            kept.remove()

    def go_on(self, item: Item) -> None:
        """What the client may see of ``item`` is committed: send the PUBLISH or PUBREL that waited for it."""
        wire, packet_id = self.wire, item.packet_id
        if wire is None or self.inflight.get(packet_id) is not item or packet_id in self._unsent:
            return
        if item.released:
            wire.send(PubRel(packet_id))
        elif not self._write(wire, item, False):
            self._done(item)

    def take_back(self, item: Item) -> None:
        """``item`` could not be kept: it is not delivered at all."""
        if self.inflight.get(item.packet_id) is item:
            del self.inflight[item.packet_id]
        elif item in self.pending:
            self.pending.remove(item)
            self.pending_bytes -= item.size

    def _free_id(self) -> int:
        # The window is far below 65 535, so a free id is at most a few steps away [MQTT-2.2.1-3].
        while True:
            self._next_id = self._next_id % 65_535 + 1
            if self._next_id not in self.inflight:
                return self._next_id

    def _write(self, wire: Connection, item: Item, dup: bool) -> bool:
        message = item.message
        flags = (dup or item.again) << 3 | item.qos << 1 | item.retain
        # [MQTT-4.3.3-7]: what has been sent once does not expire any more.
        if message.expires is not None and message.expires <= self._turn.now and not dup:
            self._metrics.drop("expired")
            return False
        head, tail = self._framing.frame(wire.version, item, flags)
        if wire.max_packet_out and len(head) + len(tail) + 2 * (item.qos > 0) > wire.max_packet_out:
            # [MQTT-3.1.2-24]: act as if the delivery had completed.
            self._metrics.drop("too_large_for_client")
            return False
        wire.write(head + item.packet_id.to_bytes(2, "big") + tail if item.qos else head)
        self._metrics.traffic.messages_out += 1
        self._metrics.traffic.payload_out += len(message.payload)
        return True

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
        item = self.received(packet_id)
        if item is not None:
            self._done(item)

    def received(self, packet_id: int) -> Item | None:
        """PUBREC: the client has the message; from now on we owe PUBREL, not PUBLISH. None for an unknown id.

        Raises Malformed for QoS 1.
        """
        item = self.inflight.get(packet_id)
        if item is None:
            return None
        if item.qos != 2:
            raise Malformed("PUBREC for a message with QoS 1", PROTOCOL_ERROR)
        item.released = True
        return item

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
        if item.kept is not None:
            item.kept.remove()
        if item.group is not None:
            item.group.acknowledged(item)
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
        self._framing.begin(min(aliases, self._limits.topic_alias_maximum))
        self._unsent = list(reversed(self.inflight)) if self.inflight else NO_IDS
        self.refill()

    def _repeat(self, wire: Connection) -> None:
        while self._unsent and len(self.inflight) - len(self._unsent) < self.window and wire.room():
            packet_id = self._unsent.pop()
            item = self.inflight.get(packet_id)
            if item is None or (item.kept is not None and item.kept.is_parked):
                continue
            if item.released:
                wire.send(PubRel(packet_id))
            elif not self._write(wire, item, True):
                del self.inflight[packet_id]
                if item.kept is not None:
                    item.kept.remove()

    def suspend(self) -> list[Item]:
        """The connection is gone. What is in flight stays for the next one, replays are over.

        Returns what came through a shared subscription and may go to another member: what was not sent, and QoS 1
        that was not acknowledged. QoS 2 in flight is this client's for good [MQTT-4.8.2-4].
        """
        self.wire = None
        self._replays = NO_REPLAYS
        self._unsent = NO_IDS
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
