"""A client that keeps its own state over every reconnect, as MQTT 5 section 4.1 has it, and checks what it is told.

It publishes numbered messages and repeats with DUP what was not answered; it takes QoS 2 once ("method B" of section
4.3.3); it answers late now and then, and may come and go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from e2e.crash.ledger import Inbox, Series
from e2e.crash.line import Line
from e2e.crash.stage import Stage
from gateway.errors import Malformed
from gateway.message import USER_PROPERTY, Properties
from gateway.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from gateway.mqtt.properties import RECEIVE_MAXIMUM, SESSION_EXPIRY_INTERVAL
from gateway.mqtt.reasons import PACKET_IDENTIFIER_NOT_FOUND

AGAIN = 0.03
"""Seconds between two attempts to connect."""

KEEP_SESSION = 7200
SUBSCRIBE_ID = 65_535


@dataclass(slots=True)
class Outgoing:
    """A message of ours that is not answered for. ``released``: PUBREC has come, PUBREL is on its way."""

    series: Series
    number: int
    publish: Publish
    released: bool = False


def user(key: str, value: str) -> tuple[int, tuple[str, str]]:
    """A user property."""
    return USER_PROPERTY, (key, value)


def said(publish: Publish) -> dict[str, str]:
    """Its user properties."""
    return {value[0]: value[1] for key, value in publish.props if key == USER_PROPERTY}


class Client:
    """See the module's docstring.

    inbox       where what it receives is noted
    filters     subscribed when the broker has no session for it
    clean       every connection begins a new session
    is_lazy     it answers some passes later, so that kills come between a message and its answer
    is_restless it goes now and then, with and without a word, and comes back
    has_session the broker has told that it keeps our session
    port        of the broker; the gateway's if none is given
    """

    def __init__(
        self,
        stage: Stage,
        client_id: str,
        *,
        level: int = 5,
        clean: bool = False,
        inbox: Inbox | None = None,
        filters: tuple[Filter, ...] = (),
        subscribe_props: Properties = (),
        is_lazy: bool = False,
        is_restless: bool = False,
        window: int = 40,
        port: int | None = None,
    ) -> None:
        self.stage = stage
        self.ledger = stage.ledger
        self.client_id = client_id
        self.level = level
        self.inbox = inbox
        self.is_ready = False
        self.connections = 0
        self.unanswered: dict[int, Outgoing] = {}
        self._clean = clean
        self._filters = filters
        self._subscribe_props = subscribe_props
        self._is_lazy = is_lazy
        self._is_restless = is_restless
        self._window = window
        self._port = stage.port if port is None else port
        self._line: Line | None = None
        self._next_id = 0
        self._connect_at = 0.0
        self.has_session = False
        self._held: dict[int, bytes] = {}
        self._answers: list[Packet] = []
        stage.actors.append(self)

    # -- connection ----------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Connect, answer, write."""
        line = self._line
        if line is None:
            if self.stage.now >= self._connect_at:
                self._connect()
            return
        source = self.stage.source
        if self._answers and (not self._is_lazy or source.random() < 0.2):
            answers, self._answers = self._answers, []
            for answer in answers:
                line.send(answer)
        if self.is_ready:
            self.act()
            if self._is_restless and source.random() < 0.002:
                self._go(source.random() < 0.5, source.uniform(0.0, 1.5))
                return
        line.flush()
        if not line.is_open:
            self._lost(AGAIN)

    def act(self) -> None:
        """What it does of its own accord, in every pass while it is connected."""

    def _connect(self) -> None:
        try:
            line = self._line = Line(self._port, self.level)
        except OSError:
            self._connect_at = self.stage.now + AGAIN
            return
        self.stage.selector.register(line.socket, 1, self)
        props: Properties = ()
        if self.level == 5:
            props = ((RECEIVE_MAXIMUM, 60),)
            if not self._clean:
                props += ((SESSION_EXPIRY_INTERVAL, KEEP_SESSION),)
        line.send(Connect(self.client_id, self.level, self._clean, 60, props=props))
        line.flush()

    def _go(self, with_a_word: bool, away: float) -> None:
        line = self._line
        if line is not None and with_a_word:
            line.send(Disconnect())
            line.flush()
        self._lost(away)

    def _lost(self, again: float) -> None:
        line, self._line = self._line, None
        if line is not None:
            self.stage.selector.unregister(line.socket)
            line.close()
        self.is_ready = False
        self._answers.clear()
        self._connect_at = self.stage.now + again
        self.gone()

    def gone(self) -> None:
        """The connection has ended."""

    def close(self) -> None:
        """Leave for good."""
        if self._line is not None:
            self._go(True, 0.0)
        self.stage.actors.remove(self)

    def read(self) -> None:
        """Something has come."""
        line = self._line
        if line is None:
            return
        try:
            for packet in line.receive():
                self._take(packet)
                if self._line is not line:
                    return
        except Malformed as error:
            self.ledger.problem(f"{self.client_id}: the gateway sent nonsense: {error}")
            line.is_open = False
        if not line.is_open:
            self._lost(AGAIN)

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Publish):
            self._on_publish(packet)
        elif isinstance(packet, PubAck):
            self._on_puback(packet)
        elif isinstance(packet, PubRec):
            self._on_pubrec(packet)
        elif isinstance(packet, PubRel):
            self._held.pop(packet.packet_id, None)
            self._answers.append(PubComp(packet.packet_id))
        elif isinstance(packet, PubComp):
            self._on_pubcomp(packet)
        elif isinstance(packet, ConnAck):
            self._on_connack(packet)
        elif isinstance(packet, SubAck):
            if any(reason >= 0x80 for reason in packet.reasons):
                self.ledger.problem(f"{self.client_id}: SUBACK {packet.reasons}")
            self._begin()
        elif isinstance(packet, Disconnect) and packet.reason != 0x8B:  # server shutting down
            self.ledger.problem(f"{self.client_id}: DISCONNECT 0x{packet.reason:02X}")

    def _on_connack(self, packet: ConnAck) -> None:
        if packet.reason == 0x88:  # server unavailable: it stops
            return
        if packet.reason:
            self.ledger.problem(f"{self.client_id}: CONNACK 0x{packet.reason:02X}")
            return
        if packet.session_present != (self.has_session and not self._clean):
            self.ledger.problem(f"{self.client_id}: Session Present is {packet.session_present}")
        self.connections += 1
        if not packet.session_present:
            self._held.clear()
            if self._filters:
                self._send(Subscribe(SUBSCRIBE_ID, self._filters, self._subscribe_props))
                return
        self._begin()

    def _begin(self) -> None:
        """The session stands: repeat what was not answered, in its order (section 4.4)."""
        self.has_session = self.is_ready = True
        waiting, self.unanswered = list(self.unanswered.values()), {}
        for out in waiting:
            if self._clean:
                if not out.released:
                    self._repeat(out, False, self._new_id())
            elif out.released:
                self.unanswered[out.publish.packet_id] = out
                self._send(PubRel(out.publish.packet_id))
            else:
                self._repeat(out, True, out.publish.packet_id)
        self.ready()

    def ready(self) -> None:
        """The session stands."""

    def _repeat(self, out: Outgoing, dup: bool, packet_id: int) -> None:
        old = out.publish
        out.publish = Publish(old.topic, old.payload, old.qos, old.retain, dup, packet_id, old.props)
        self.unanswered[packet_id] = out
        out.series.repeats[out.number] += 1
        self.ledger.note(self.client_id, f"sends again, id {packet_id}", out.series, out.number)
        self._send(out.publish)

    # -- publishing ----------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether it may publish."""
        return self.is_ready and len(self.unanswered) < self._window

    def publish(
        self, series: Series, topic: str, filler: bytes | None = b"", retain: bool = False, props: Properties = ()
    ) -> int:
        """The next message of a series; its number. With ``filler`` None it is empty. Only with ``has_room``."""
        number = series.sent = series.sent + 1
        payload = b"" if filler is None else b"%s:%d:%s" % (series.name.encode(), number, filler)
        packet_id = self._new_id()
        publish = Publish(topic, payload, series.qos, retain, False, packet_id, props if self.level == 5 else ())
        self.unanswered[packet_id] = Outgoing(series, number, publish)
        self.ledger.note(self.client_id, f"sends, id {packet_id}", series, number)
        self._send(publish)
        return number

    def _new_id(self) -> int:
        while True:
            self._next_id = self._next_id % 60_000 + 1
            if self._next_id not in self.unanswered:
                return self._next_id

    def _on_puback(self, packet: PubAck) -> None:
        out = self.unanswered.pop(packet.packet_id, None)
        if out is None:
            self.ledger.problem(f"{self.client_id}: PUBACK for unknown id {packet.packet_id}")
        else:
            self._answered(out, packet.reason)

    def _on_pubrec(self, packet: PubRec) -> None:
        out = self.unanswered.get(packet.packet_id)
        if out is None:
            self.ledger.problem(f"{self.client_id}: PUBREC for unknown id {packet.packet_id}")
            return
        if not out.released:
            self._answered(out, packet.reason)
            out.released = True
        if packet.reason >= 0x80:
            del self.unanswered[packet.packet_id]
        else:
            self._answers.append(PubRel(packet.packet_id))

    def _on_pubcomp(self, packet: PubComp) -> None:
        out = self.unanswered.pop(packet.packet_id, None)
        if out is None or not out.released:
            self.ledger.problem(f"{self.client_id}: PUBCOMP for unknown id {packet.packet_id}")
        # A PUBREL that was answered before and is repeated all the same is no error (section 3.7.2.1).
        elif packet.reason not in (0, PACKET_IDENTIFIER_NOT_FOUND):
            self.ledger.problem(f"{self.client_id}: PUBCOMP 0x{packet.reason:02X}", out.series, out.number)

    def _answered(self, out: Outgoing, reason: int) -> None:
        self.ledger.note(self.client_id, f"has its answer 0x{reason:02X}", out.series, out.number)
        if reason < 0x80:
            out.series.acked.add(out.number)
        else:
            self.ledger.problem(f"{self.client_id}: refused with 0x{reason:02X}", out.series, out.number)

    # -- receiving -----------------------------------------------------------------------------------------

    def _on_publish(self, packet: Publish) -> None:
        if packet.qos == 1:
            self._answers.append(PubAck(packet.packet_id))
        elif packet.qos == 2:
            self._answers.append(PubRec(packet.packet_id))
            known = self._held.get(packet.packet_id)
            if known is not None:
                if known != packet.payload:
                    series, number = self.ledger.read(packet.payload)
                    self.ledger.problem(
                        f"{self.client_id}: id {packet.packet_id} is that of {known[:40]!r}", series, number
                    )
                return
            self._held[packet.packet_id] = packet.payload
        mark = " again" if packet.dup else ""
        for message in self.messages(packet):
            series, number = self.ledger.read(message.payload)
            self.ledger.note(self.client_id, f"gets it{mark}, QoS {packet.qos} id {packet.packet_id}", series, number)
            self.got(message, series, number)

    def messages(self, packet: Publish) -> Iterable[Publish]:
        """What a packet brings: mostly itself."""
        return (packet,)

    def got(self, packet: Publish, series: Series, number: int) -> None:
        """One message for the application."""
        if self.inbox is not None:
            self.inbox.take(series, number, packet.dup, self.lane_of(packet))

    def lane_of(self, packet: Publish) -> str:
        """Messages of a series come in order among those of one lane."""
        return ""

    def _send(self, packet: Packet) -> None:
        if self._line is not None:
            self._line.send(packet)
