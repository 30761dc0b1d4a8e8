"""Two ends and no wire: a server and clients that are function calls, for the tests of ``gateway.mqtt``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.broker.access import Access, Peer
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.message import Message
from gateway.mqtt.archive import Archive
from gateway.mqtt.connection import Connection, State
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.extras import Extras
from gateway.mqtt.limits import Limits
from gateway.mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Publish,
    Subscribe,
    Will,
)
from gateway.mqtt.properties import REASON_STRING
from gateway.mqtt.server import MqttServer


class Keeper(Subscriber):
    """A store that says "safe" when the test says so."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.waiting: list[Done] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.messages.append(message)
        if done is not None:
            self.waiting.append(done)
        return True


class World:
    """A broker with an MQTT server and any number of clients; time moves when told to."""

    def __init__(
        self, access: Access | None = None, extras: Extras | None = None, archive: Archive | None = None, **limits: Any
    ) -> None:
        self.broker = Broker()
        self.ids = iter(f"auto-{n}" for n in range(1000))
        self.server = MqttServer(
            self.broker,
            access or Access(),
            Limits(**limits),
            self.broker.metrics,
            lambda: next(self.ids),
            extras,
            archive,
        )
        self.server.clock.now = 1000.0
        self.server.clock.time = 1_700_000_000.0

    def advance(self, seconds: float) -> None:
        """Let time pass, with a tick each second as the shell gives it."""
        end = self.server.clock.now + seconds
        while self.server.clock.now < end:
            self.server.clock.now = min(end, self.server.clock.now + 1.0)
            self.server.tick()

    def client(self, client_id: str = "c", level: int = 5, clean: bool = True, **options: Any) -> Client:
        """A client that has sent CONNECT and been accepted."""
        client = Client(self, options.pop("local", True))
        client.connect(client_id, level, clean, **options)
        return client


class Client:
    """The other end of one connection."""

    def __init__(self, world: World, local: bool = True) -> None:
        self.connection = Connection(world.server, Peer("test", local), lambda: None)
        self._decoder = Decoder(4)
        self.version = 4
        self.connack: ConnAck | None = None

    def connect(
        self,
        client_id: str = "c",
        level: int = 5,
        clean: bool = True,
        keep_alive: int = 0,
        will: Will | None = None,
        props: tuple[tuple[int, Any], ...] = (),
    ) -> ConnAck:
        self.version = level
        self._decoder = Decoder(level)
        first, *rest = self.exchange(Connect(client_id, level, clean, keep_alive, will, None, None, props))
        assert isinstance(first, ConnAck)
        self.connack = first
        self.resumed = rest
        return first

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.connection.receive(data)

    def send(self, packet: Packet) -> None:
        self.raw(encode(packet, self.version))

    def received(self) -> list[Packet]:
        """Every packet that the server sent since the last call, after one flush."""
        packets: list[Packet] = []
        while (data := self._flush()) or (self.connection._out and not self.connection.blocked):
            self._decoder.feed(data)
            while (packet := self._decoder.next()) is not None:
                packets.append(without_reason_string(packet))
        return packets

    def _flush(self) -> bytes:
        """What the shell does once in a pass of the loop."""
        if self.connection.blocked:
            return b""
        data = self.connection.take_output()
        self.connection.flushed()
        return data

    def exchange(self, packet: Packet) -> list[Packet]:
        self.send(packet)
        return self.received()

    def subscribe(self, pattern: str, qos: int = 0, **options: Any) -> list[Packet]:
        props = options.pop("props", ())
        return self.exchange(Subscribe(1, (Filter(pattern, qos, **options),), props))

    def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 0, packet_id: int = 0, **options: Any
    ) -> list[Packet]:
        return self.exchange(
            Publish(
                topic,
                payload,
                qos,
                options.get("retain", False),
                options.get("dup", False),
                packet_id,
                options.get("props", ()),
            )
        )

    @property
    def closed(self) -> bool:
        return self.connection.state in (State.CLOSING, State.LOST)

    def lose(self) -> None:
        """The socket breaks."""
        self.connection.lost()


def without_reason_string(packet: Packet) -> Packet:
    """The words of a reason are for people; tests compare codes."""
    if isinstance(packet, (ConnAck, Disconnect)):
        packet.props = tuple(item for item in packet.props if item[0] != REASON_STRING)
    return packet


def publishes(packets: Iterable[Packet]) -> list[Publish]:
    return [packet for packet in packets if isinstance(packet, Publish)]
