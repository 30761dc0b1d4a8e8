"""One client connection, sans-IO: bytes in, broker calls and bytes out.

The shell feeds ``receive`` with what the socket gave, writes what ``take_output`` returns once per loop pass,
and closes the socket when ``closing`` is set and everything is written. What a packet means is in
``handlers.py`` (one function for each packet type) and ``admission.py`` (CONNECT).

It opens no socket, reads no clock and starts no task; time is the server's ``clock``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from gateway.broker.access import Peer
from gateway.errors import Malformed, Unfit
from gateway.mqtt import express_acked
from gateway.mqtt.admission import admit
from gateway.mqtt.decode import Decoder, UnsupportedVersion
from gateway.mqtt.encode import encode
from gateway.mqtt.express import Express
from gateway.mqtt.handlers import HANDLERS
from gateway.mqtt.incoming import PUBACK, PUBACK_REASON
from gateway.mqtt.keeping import NotQueued
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, Packet, PubAck, Publish, PubRec, Will
from gateway.mqtt.properties import MAXIMUM_PACKET_SIZE, REASON_STRING, REQUEST_PROBLEM_INFORMATION, USER_PROPERTY, get
from gateway.mqtt.reasons import (
    KEEP_ALIVE_TIMEOUT,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    REASONS,
    UNSUPPORTED_PROTOCOL_VERSION,
    v3_connack,
)

if TYPE_CHECKING:
    from gateway.mqtt.enhanced import Dialogue
    from gateway.mqtt.pressure import Pressure
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session
    from gateway.mqtt.trace import Tap


OVERTAKEN: Final = 16
"""Messages that a PUBREC overtakes at most: it looks at each."""


class State(Enum):
    """Where a connection stands."""

    NEW = auto()
    """Waits for CONNECT."""
    OPEN = auto()
    """CONNACK with success was sent."""
    CLOSING = auto()
    """We end it: the output is flushed, input is ignored."""
    LOST = auto()
    """The socket is gone."""


class Connection:
    """See the module's docstring.

    on_output   called when output appears (at most once until it is taken)
    blocked     set by the shell while the socket takes no more; it then leaves the output where it is
    hold        True while the client should not be read from
    express     see ``express.py``
    aliases     topic aliases of the client
    tap         sees all bytes while the client is traced
    dialogue    enhanced authentication, if the client asked for it
    explains    the client may be told in words why something failed
    clean_end   the client said DISCONNECT: its will is not sent
    """

    __slots__ = (
        "_decoder",
        "_held",
        "_holds",
        "_on_output",
        "_out",
        "_out_bytes",
        "aliases",
        "blocked",
        "clean_end",
        "closing_reason",
        "deadline",
        "dialogue",
        "explains",
        "express",
        "keep_alive",
        "max_packet_out",
        "peer",
        "server",
        "session",
        "since",
        "state",
        "tap",
        "version",
        "will",
    )

    def __init__(self, server: MqttServer, peer: Peer, on_output: Callable[[], None]) -> None:
        self.server = server
        self.peer = peer
        self.state = State.NEW
        self.version = 0
        self.session: Session | None = None
        self.will: Will | None = None
        self.aliases: dict[int, str] = {}
        self.tap: Tap | None = None
        self.blocked = False
        self.clean_end = False
        self.dialogue: Dialogue | None = None
        self.closing_reason = ""
        self.explains = True
        self.keep_alive = 0.0
        self.since = server.clock.now
        self.deadline: float | None = server.clock.now + server.limits.connect_timeout
        self.max_packet_out = 0
        self._decoder = Decoder(0, server.limits.max_packet)
        self._held = False
        self._holds = 0
        self.express = Express()
        self._on_output = on_output
        self._out: list[bytes] = []
        self._out_bytes = 0
        server.opened(self)

    # -- bytes in ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what the socket gave and act on every whole packet in it."""
        if self.state is State.NEW or self.state is State.OPEN:
            self.server.metrics.traffic.bytes_in += len(data)
            if self.tap is not None:
                self.tap.received(data)
            self._decoder.feed(data)
            self._work()

    def _work(self) -> None:
        """Act on the packets that are there, until one has to wait."""
        decoder = self._decoder
        turn = self.server.clock
        worked = False
        turn.forget_pressure()
        try:
            while not self._held and not self._holds:
                if self.state is State.OPEN and self.server.express and express_acked.run(self, decoder):
                    worked = True
                elif not decoder.has_more:
                    break
                else:
                    packet = decoder.next()
                    if packet is None:
                        break
                    worked = True
                    self.server.metrics.traffic.packets_in += 1
                    self._act(packet)
                if turn.pressed is not None:
                    self._wait_for(turn.pressed)
                if self.state is not State.OPEN and self.state is not State.NEW:
                    return
        except Malformed as error:
            self._nonsense(error)
        if worked and self.keep_alive:
            # [MQTT-3.1.2-22]: one and a half times the keep-alive, from the last whole packet.
            self.deadline = turn.now + 1.5 * self.keep_alive

    def _nonsense(self, error: Malformed) -> None:
        """The client broke the protocol: say so in the packet that the state and the version have for it."""
        if self.state is State.NEW and isinstance(error, UnsupportedVersion):
            self.version = error.level
            self.refuse(UNSUPPORTED_PROTOCOL_VERSION, str(error))
            return
        self.server.metrics.count("malformed")
        if self.state is State.NEW:
            self.version = self._decoder.version
        # What is wrong with a second CONNECT has a reason code that only CONNACK knows.
        is_known = Disconnect.type in REASONS[error.reason][1] or self.state is State.NEW
        self.end(error.reason if is_known else PROTOCOL_ERROR, str(error))

    def _wait_for(self, pressure: Pressure) -> None:
        self.server.clock.pressed = None
        self._held = True
        if pressure.wait(self._go_on):
            self.server.be_patient(pressure)

    def _go_on(self) -> None:
        self._held = False
        self._on_output()

    def pause(self) -> None:
        """Act on no further packet until ``resume``; both may be nested."""
        self._holds += 1

    def resume(self) -> None:
        """Take back one ``pause``; the packets that are there follow with the next flush."""
        self._holds -= 1
        self._on_output()

    def _act(self, packet: Packet) -> None:
        if self.state is State.NEW:
            if self.dialogue is not None:
                self.dialogue.on_packet(packet)
                return
            if not isinstance(packet, Connect):
                raise Malformed("the first packet must be CONNECT [MQTT-3.1.0-1]", PROTOCOL_ERROR)
            self.version = packet.level
            self.max_packet_out = get(packet.props, MAXIMUM_PACKET_SIZE, 0)
            # [MQTT-3.1.2-29]: no reason strings in acknowledgements for who does not want them.
            self.explains = bool(get(packet.props, REQUEST_PROBLEM_INFORMATION, 1))
            admit(self, packet)
            return
        handler = HANDLERS.get(packet.type)
        if handler is None:
            # A second CONNECT [MQTT-3.1.0-2], or a packet that only servers send.
            raise Malformed(f"packet of type {packet.type} is not for a server now", PROTOCOL_ERROR)
        handler(self, packet)

    # -- bytes out -----------------------------------------------------------------------------------------

    def send(self, packet: Packet) -> None:
        """Queue one packet for the next flush.

        [MQTT-3.1.2-24]: nothing larger than the client takes. An answer that does not fit even without its
        properties ends the connection: the client would wait for it for ever.
        """
        data = encode(packet, self.version)
        if self.max_packet_out and len(data) > self.max_packet_out:
            self._send_shorter(packet)
        else:
            self.write(data)

    def _send_shorter(self, packet: Packet) -> None:
        props = getattr(packet, "props", ())
        needed = tuple(item for item in props if item[0] not in (REASON_STRING, USER_PROPERTY))
        if len(needed) < len(props):
            packet.props = needed  # type: ignore[union-attr]
            self.send(packet)
        elif isinstance(packet, ConnAck) and packet.reason == 0:
            self.refuse(PACKET_TOO_LARGE, "our terms are larger than the client takes")
        elif not isinstance(packet, (ConnAck, Disconnect)):
            self.end(PACKET_TOO_LARGE, "an answer is larger than the client takes")

    def write(self, data: bytes) -> None:
        """Queue encoded bytes for the next flush."""
        if self.state is State.LOST:
            return
        if not self._out:
            self._on_output()
        self._out.append(data)
        self._out_bytes += len(data)

    def take_output(self) -> bytes:
        """Everything queued since the last call, joined; the shell writes it in one call."""
        traffic = self.server.metrics.traffic
        traffic.bytes_out += self._out_bytes
        traffic.packets_out += len(self._out)
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        if self.tap is not None:
            self.tap.sent(out)
        self._out = []
        self._out_bytes = 0
        return out

    def room(self) -> bool:
        """Whether the client takes more: its socket is not blocked and little waits for the flush."""
        return not self.blocked and 2 * self._out_bytes < self.server.limits.max_output

    def full(self) -> bool:
        """Whether the bound for this client's output is reached."""
        return self._out_bytes >= self.server.limits.max_output

    def unblocked(self) -> None:
        """The shell's socket takes more again."""
        self.blocked = False
        self._on_output()

    def flushed(self) -> None:
        """The shell has written the output: go on with what waited for room, and with packets that had to wait."""
        if self.session is not None and self.session.connection is self and self.session.outgoing.waits():
            self.session.outgoing.refill()
        if self._decoder.has_more and self.state in (State.NEW, State.OPEN) and not self.hold:
            self._work()

    @property
    def hold(self) -> bool:
        """Whether reading should pause: a receiver, the store or a decision is behind with this client's packets."""
        if self._held or self._holds:
            return True
        return self.session is not None and self.session.incoming.waiting >= self.server.limits.receive_maximum

    def answer(self, packet: PubAck | PubRec, error: BaseException | None) -> None:
        """Send a PUBACK or PUBREC that was owed."""
        if error is not None and self.version < 5 and not isinstance(error, (NotQueued, Unfit)):
            # 3.1.1 has no word for it: no acknowledgement and a closed connection make the client try again.
            self.end(packet.reason, "a message could not be kept")
            return
        if isinstance(error, Unfit) and self.explains:
            packet.props = ((REASON_STRING, str(error)),)
        self.send(packet)
        if isinstance(packet, PubRec):
            self._put_first()

    def _put_first(self) -> None:
        """Send the PUBREC that was queued last before messages that the client gets in the same turn, such as its own:
        there are clients that take what follows a PUBLISH for its PUBREC."""
        out = self._out
        place = last = len(out) - 1
        while place > 0 and last - place < OVERTAKEN and out[place - 1][0] >> 4 == Publish.type:
            place -= 1
        if place < last:
            out.insert(place, out.pop())

    def acknowledge(self, packet_ids: list[bytes], reason: int) -> None:
        """PUBACKs in one piece. A reason other than 0 is for version 5 (section 3.4.2.1)."""
        if reason:
            tail = bytes((reason,))
            self.write(PUBACK_REASON + (tail + PUBACK_REASON).join(packet_ids) + tail)
        elif len(packet_ids) == 1:
            self.write(PUBACK + packet_ids[0])
        else:
            self.write(PUBACK + PUBACK.join(packet_ids))
        self.server.metrics.traffic.packets_out += len(packet_ids) - 1  # for the output they are one

    # -- the end -------------------------------------------------------------------------------------------

    def refuse(self, reason: int, why: str) -> None:
        """Answer CONNECT with an error and close (section 3.2.2.2 / 3.2.2.3)."""
        if self.version >= 5:
            self.version = 5
            self.send(ConnAck(False, reason, ((REASON_STRING, why),)))
        else:
            self.version = 4
            self.send(ConnAck(False, v3_connack(reason)))
        self._close(why)

    def end(self, reason: int, why: str) -> None:
        """Close because of ``reason``: v5 clients are told by DISCONNECT (section 4.13), others by the close."""
        if self.state is State.OPEN and self.version == 5:
            self.send(Disconnect(reason, ((REASON_STRING, why),)))
        elif self.state is State.NEW and self.version == 5:
            self.send(ConnAck(False, reason, ((REASON_STRING, why),)))
        self._close(why)

    def _close(self, why: str) -> None:
        if self.state in (State.CLOSING, State.LOST):
            return
        self.state = State.CLOSING
        self.closing_reason = why
        self.server.ended(self)
        self._on_output()

    def watch(self, tap: Tap) -> None:
        """Let ``tap`` see all bytes from here on, and those that wait to be decoded."""
        self.tap = tap
        tap.received(self._decoder.rest)

    @property
    def is_new(self) -> bool:
        """Whether it is not decided yet if the client is let in."""
        return self.state is State.NEW

    @property
    def is_open(self) -> bool:
        """Whether the client is let in and has not left."""
        return self.state is State.OPEN

    def accept(self) -> None:
        """CONNECT is admitted: from here on every other packet is welcome."""
        self.state = State.OPEN
        self.deadline = self.server.clock.now + 1.5 * self.keep_alive if self.keep_alive else None

    def leave(self) -> None:
        """The client said DISCONNECT: close from our side too [MQTT-3.14.4-3]."""
        self._close("client disconnected")

    def lost(self) -> None:
        """The socket is gone, whoever closed it."""
        if self.state is State.LOST:
            return
        if self.tap is not None:
            self.tap.lost()
        closing = self.state is State.CLOSING
        self.state = State.LOST
        self._out.clear()
        if not closing:
            self.server.ended(self)

    def check_deadline(self, now: float) -> None:
        """Close a client that is silent for too long."""
        if self.deadline is None or now < self.deadline:
            return
        if self.state is State.NEW:
            self._close("no CONNECT in time")
        elif self.state is State.OPEN:
            self.server.metrics.count("keep_alive_timeouts")
            self.end(KEEP_ALIVE_TIMEOUT, "keep-alive timeout")
