"""Random traffic between clients with kept sessions, commits that come late or fail, and kill -9, against a model.

The model knows what every client was told and got. Whatever happens:

- a message whose publisher was answered reaches every subscriber, with QoS 1 at least and with QoS 2 exactly once;
- a QoS 2 message that was refused or never answered, and is not repeated, reaches them at most once;
- what one publisher sends with one level arrives in order, repeats left out, as long as every commit succeeds: what
  was refused, or would have been if the publisher had stayed to hear it, is repeated behind what came after it;
- a session that was answered with SUBACK is there after a restart.
"""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.errors import Refused
from gateway.mqtt.packets import Packet, PubAck, PubComp, Publish, PubRec, PubRel
from mqtt.durable import KEEP, DurableWorld
from mqtt.pair import Client

RECEIVERS = ("a", "b")
LEVELS = st.sampled_from([1, 2])


class Receiver:
    """A subscriber that follows MQTT 5 section 4.3: its state is its own and outlives every connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client: Client | None = None
        self.waiting: dict[int, Publish] = {}
        self.got: list[Publish] = []
        self.unread: list[Packet] = []

    def act(self, packet: Packet) -> None:
        """QoS 2 is handed on when PUBLISH arrives, once for each packet id until PUBREL (method B)."""
        assert self.client is not None
        match packet:
            case Publish(qos=1, packet_id=packet_id):
                self.got.append(packet)
                self.client.send(PubAck(packet_id))
            case Publish(qos=2, packet_id=packet_id):
                if packet_id not in self.waiting:
                    self.waiting[packet_id] = packet
                    self.got.append(packet)
                self.client.send(PubRec(packet_id))
            case PubRel(packet_id=packet_id):
                self.waiting.pop(packet_id, None)
                self.client.send(PubComp(packet_id))

    def lose(self) -> None:
        if self.client is not None:
            self.client.lose()
        self.client = None
        self.unread = []


class Sender:
    """A publisher that repeats until it is answered."""

    def __init__(self) -> None:
        self.client: Client | None = None
        self.open: dict[int, Publish] = {}
        self.released: set[int] = set()
        self.answered: list[Publish] = []
        self.refused: list[Publish] = []
        self.number = 0

    def publish(self, qos: int) -> None:
        assert self.client is not None
        packet_id = next(n for n in range(1, 1000) if n not in self.open)
        self.number += 1
        packet = Publish("t", b"%d" % self.number, qos, False, False, packet_id)
        self.open[packet_id] = packet
        self.client.send(packet)

    def act(self, packet: Packet) -> None:
        assert self.client is not None
        match packet:
            case PubAck(packet_id=packet_id, reason=reason):
                (self.answered if reason < 0x80 else self.refused).append(self.open.pop(packet_id))
            case PubRec(packet_id=packet_id, reason=reason) if reason >= 0x80:
                self.refused.append(self.open.pop(packet_id))
            case PubRec(packet_id=packet_id):
                if packet_id not in self.released:
                    self.released.add(packet_id)
                    self.answered.append(self.open[packet_id])
                self.client.send(PubRel(packet_id))
            case PubComp(packet_id=packet_id):
                self.released.discard(packet_id)
                del self.open[packet_id]

    def repeat(self) -> None:
        """After a reconnect [MQTT-4.4.0-1]."""
        assert self.client is not None
        for packet_id, packet in list(self.open.items()):
            if packet_id in self.released:
                self.client.send(PubRel(packet_id))
            else:
                packet.dup = True
                self.client.send(packet)


class Sessions(RuleBasedStateMachine):
    @initialize(window=st.integers(1, 4))
    def start(self, window: int) -> None:
        self.world = DurableWorld(max_inflight=window)
        self.receivers = [Receiver(name) for name in RECEIVERS]
        self.sender = Sender()
        self.has_failed = False
        for receiver in self.receivers:
            receiver.client = self.world.listener(receiver.name, "t", 2)
        self.come()

    def come(self) -> None:
        if self.sender.client is None:
            self.sender.client = self.world.client("p", clean=False, props=KEEP)
            self.sender.repeat()
        for receiver in self.receivers:
            if receiver.client is None:
                receiver.client = self.world.client(receiver.name, clean=False, props=KEEP)
                assert receiver.client.connack is not None
                assert receiver.client.connack.session_present
                receiver.unread += receiver.client.resumed

    def read(self) -> None:
        if self.sender.client is not None:
            for packet in self.sender.client.received():
                self.sender.act(packet)
        for receiver in self.receivers:
            if receiver.client is not None:
                receiver.unread += receiver.client.received()

    @precondition(lambda self: self.sender.client is not None)
    @rule(qos=LEVELS)
    def publish(self, qos: int) -> None:
        self.sender.publish(qos)

    @rule(who=st.sampled_from([0, 1]), count=st.integers(1, 5))
    def answer(self, who: int, count: int) -> None:
        receiver = self.receivers[who]
        for _ in range(min(count, len(receiver.unread))):
            receiver.act(receiver.unread.pop(0))

    @rule()
    def commit(self) -> None:
        self.world.paper._commit_once()

    @rule()
    def fail(self) -> None:
        self.has_failed = True
        self.world.paper.fail(Refused("disk full", 0x97))

    @rule(who=st.sampled_from([0, 1]))
    def receiver_leaves(self, who: int) -> None:
        self.receivers[who].lose()

    @rule()
    def sender_leaves(self) -> None:
        if self.sender.client is not None:
            self.sender.client.lose()
            self.sender.client = None

    @rule()
    def everybody_comes(self) -> None:
        self.come()

    @rule()
    def kill(self) -> None:
        self.world = self.world.restart()
        self.sender.client = None
        for receiver in self.receivers:
            receiver.client = None
            receiver.unread = []

    @invariant()
    def qos_2_comes_once_and_in_order(self) -> None:
        self.read()
        for receiver in self.receivers:
            numbers: dict[int, list[int]] = defaultdict(list)
            for packet in receiver.got:
                number = int(packet.payload)
                if packet.qos == 2:
                    assert number not in numbers[2], "twice"
                if number not in numbers[packet.qos]:
                    numbers[packet.qos].append(number)
            for level in numbers.values():
                assert self.has_failed or level == sorted(level), "out of order"
            refused = {packet.payload for packet in self.sender.refused if packet.qos == 2}
            assert not refused & {packet.payload for packet in receiver.got}, "delivered although it was refused"

    def teardown(self) -> None:
        """When the trouble is over, everything that was answered is everywhere."""
        if not hasattr(self, "world"):
            return
        for _ in range(60):
            self.come()
            self.world.paper.commit()
            self.read()
            for receiver in self.receivers:
                while receiver.unread:
                    receiver.act(receiver.unread.pop(0))
        assert not self.sender.open
        wanted = {packet.payload for packet in self.sender.answered}
        for receiver in self.receivers:
            assert wanted <= {packet.payload for packet in receiver.got}
        self.qos_2_comes_once_and_in_order()
        self.world.paper.commit()
        assert self.world.paper.safe.entries == {}, "nothing is left behind"
        assert self.world.paper.safe.held == set()


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
