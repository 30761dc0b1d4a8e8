"""One client connection, sans-IO: bytes in, broker calls and bytes out.

The shell feeds ``receive`` with what the socket gave, writes what ``take_output`` returns once per loop pass,
and closes the socket when ``closing`` is set and everything is written. What a packet means is in
``handlers.py`` (one function for each packet type) and ``admission.py`` (CONNECT).

It opens no socket, reads no clock and starts no task; time is the server's ``clock``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from gateway.broker.access import Peer
from gateway.errors import Malformed
from gateway.mqtt.admission import admit
from gateway.mqtt.decode import Decoder, UnsupportedVersion
from gateway.mqtt.encode import encode
from gateway.mqtt.handlers import HANDLERS
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, Packet, PubAck, PubRec, Will
from gateway.mqtt.reasons import KEEP_ALIVE_TIMEOUT, PROTOCOL_ERROR, v3_connack

if TYPE_CHECKING:
    from gateway.mqtt.server import MqttServer
    from gateway.mqtt.session import Session


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
    blocked     set by the shell while the socket takes no more
    hold        True while the client should not be read from: too many of its messages wait for the store
    aliases     topic aliases of the client
    clean_end   the client said DISCONNECT: its will is not sent
    """

    __slots__ = (
        "_decoder",
        "_on_output",
        "_out",
        "_out_bytes",
        "aliases",
        "blocked",
        "clean_end",
        "closing_reason",
        "deadline",
        "keep_alive",
        "max_packet_out",
        "peer",
        "server",
        "session",
        "since",
        "state",
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
        self.blocked = False
        self.clean_end = False
        self.closing_reason = ""
        self.keep_alive = 0.0
        self.since = server.clock.now
        self.deadline: float | None = server.clock.now + server.limits.connect_timeout
        self.max_packet_out = 0
        self._decoder = Decoder(0, server.limits.max_packet)
        self._on_output = on_output
        self._out: list[bytes] = []
        self._out_bytes = 0
        server.opened(self)

    # -- bytes in ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what the socket gave and act on every whole packet in it."""
        if self.state not in (State.NEW, State.OPEN):
            return
        if self.keep_alive:
            # [MQTT-3.1.2-22]: one and a half times the keep-alive, from the last packet.
            self.deadline = self.server.clock.now + 1.5 * self.keep_alive
        decoder = self._decoder
        try:
            decoder.feed(data)
            while True:
                packet = decoder.next()
                if packet is None:
                    return
                self._act(packet)
                if self.state not in (State.NEW, State.OPEN):
                    return
        except UnsupportedVersion as error:
            self.version = error.level
            self.refuse(0x84, str(error))
        except Malformed as error:
            self.server.metrics.count("malformed")
            if self.state is State.NEW:
                self.version = decoder.version
            self.end(error.reason, str(error))

    def _act(self, packet: Packet) -> None:
        if self.state is State.NEW:
            if not isinstance(packet, Connect):
                raise Malformed("the first packet must be CONNECT [MQTT-3.1.0-1]", PROTOCOL_ERROR)
            self.version = packet.level
            admit(self, packet)
            return
        handler = HANDLERS.get(packet.type)
        if handler is None:
            # A second CONNECT [MQTT-3.1.0-2], or a packet that only servers send.
            raise Malformed(f"packet of type {packet.type} is not for a server now", PROTOCOL_ERROR)
        handler(self, packet)

    # -- bytes out -----------------------------------------------------------------------------------------

    def send(self, packet: Packet) -> None:
        """Queue one packet for the next flush."""
        self.write(encode(packet, self.version))

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
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        return out

    def room(self) -> bool:
        """Whether the client takes more: its socket is not blocked and little waits for the flush."""
        return not self.blocked and self._out_bytes < self.server.limits.max_output

    def unblocked(self) -> None:
        """The shell's socket takes more again."""
        self.blocked = False
        if self.session is not None and self.session.connection is self:
            self.session.outgoing.refill(self.server.clock.now)

    def flushed(self) -> None:
        """The shell has written the output: go on with what waited for room."""
        if not self.blocked and self.session is not None and self.session.connection is self:
            self.session.outgoing.refill(self.server.clock.now)

    @property
    def hold(self) -> bool:
        """Whether reading should pause: the store is behind with this client's messages."""
        return self.session is not None and self.session.incoming.waiting >= self.server.limits.receive_maximum

    def answer(self, packet: PubAck | PubRec, error: BaseException | None) -> None:
        """Send a PUBACK or PUBREC that was owed."""
        if error is not None and self.version < 5:
            # 3.1.1 has no word for it: no acknowledgement and a closed connection make the client try again.
            self.end(packet.reason, "a message could not be kept")
            return
        self.send(packet)

    # -- the end -------------------------------------------------------------------------------------------

    def refuse(self, reason: int, why: str) -> None:
        """Answer CONNECT with an error and close (section 3.2.2.2 / 3.2.2.3)."""
        if self.version >= 5:
            self.version = 5
            self.send(ConnAck(False, reason))
        else:
            self.version = 4
            self.send(ConnAck(False, v3_connack(reason)))
        self._close(why)

    def end(self, reason: int, why: str) -> None:
        """Close because of ``reason``: v5 clients are told by DISCONNECT (section 4.13), others by the close."""
        if self.state is State.OPEN and self.version == 5:
            self.send(Disconnect(reason))
        elif self.state is State.NEW and self.version == 5:
            self.send(ConnAck(False, reason))
        self._close(why)

    def _close(self, why: str) -> None:
        if self.state in (State.CLOSING, State.LOST):
            return
        self.state = State.CLOSING
        self.closing_reason = why
        self.server.ended(self)
        self._on_output()

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
