"""A hostile crowd for the sans-IO server: packets and dialogues, most of them damaged, from one seed.

``Crowd`` keeps a few connections to one server. Each ``step`` sends one packet on one of them: a well-formed one from
a corpus, or one with bits flipped, bytes cut, put in, doubled, or another's tail. Small pools of topics, client
identifiers and packet identifiers make them meet: takeovers, repeats, answers to what was asked.

What must hold is checked all the time (``Broken`` says what did not):

- no exception leaves the server, whatever comes;
- bytes end at most their own connection, and that of a client whose identifier they take over;
- what the server sends is well-formed and no larger than the client allows;
- a witness, who minds his own business, gets each of his messages;
- when all have gone and their sessions have expired, nothing is left: no session, no will, no subscription.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any, Final

from gateway.mqtt import packets as p
from gateway.mqtt.decode import Decoder, Malformed
from gateway.mqtt.encode import encode
from gateway.mqtt.properties import BINARY, FLAG, FOUR, PAIR, TABLE, TEXT, TWO
from gateway.mqtt.wire import MAX_VARINT
from mqtt.pair import Client, World, publishes

TOPICS: Final = ("a", "a/b", "a/b/c", "b", "b/", "/", "$SYS/x", "$share/g/a", "ä", "x" * 200)
FILTERS: Final = (*TOPICS, "#", "+", "a/#", "+/b", "a/+/c", "$SYS/#", "$share/g/a/#", "$share/h/+")
CLIENT_IDS: Final = ("", *(f"c{number}" for number in range(20)))
PACKET_IDS: Final = (1, 2, 3, 4, 5, 65535)
PAYLOADS: Final = (b"", b"x", b"payload", bytes(500))
LIMITS: Final[dict[str, Any]] = {
    "max_packet": 4096,
    "receive_maximum": 8,
    "max_inflight": 8,
    "queue_count": 20,
    "queue_bytes": 8192,
    "max_sessions": 40,
    "max_subscriptions": 10,
    "session_expiry_max": 60.0,
    "keep_alive_max": 0,
    "topic_alias_maximum": 5,
}

PATIENCE: Final = 20
"""Seconds that the witness may have to wait: some for each receiver that is full."""


class Broken(AssertionError):
    """Something that must hold did not."""


class Corpus:
    """Well-formed packets of every type, by version."""

    def __init__(self, rng: random.Random, size: int = 1500) -> None:
        self._rng = rng
        self.connects = {level: self._encoded(self._connect, level, size // 10) for level in (3, 4, 5)}
        makers = (self._publish, self._publish, self._ack, self._ack, self._subscribe, self._rest)
        self.others = {
            level: [one for maker in makers for one in self._encoded(maker, level, size // len(makers))]
            for level in (3, 4, 5)
        }

    def _encoded(self, maker: Any, level: int, count: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < count:
            try:
                found.append(encode(maker(level), level))
            except ValueError:
                continue  # this version cannot say it
        return found

    def _props(self, kind: int, level: int) -> tuple[tuple[int, Any], ...]:
        rng = self._rng
        if level != 5 or rng.random() < 0.5:
            return ()
        allowed = [identifier for identifier, row in TABLE.items() if kind in row.packets]
        return tuple((identifier, self._value(TABLE[identifier].kind)) for identifier in rng.sample(allowed, 1))

    def _value(self, kind: str) -> Any:
        rng = self._rng
        if kind == FLAG:
            return rng.randint(0, 1)
        if kind == PAIR:
            return rng.choice(("k", "")), rng.choice(TOPICS)
        if kind == TEXT:
            return rng.choice(TOPICS)
        if kind == BINARY:
            return rng.choice(PAYLOADS)
        if kind == TWO:
            return rng.choice((0, 1, 2, 5, 65535))
        return rng.choice((0, 1, 2, 60, 0xFFFF_FFFF if kind == FOUR else MAX_VARINT))

    def _connect(self, level: int) -> p.Packet:
        rng = self._rng
        will = None
        if rng.random() < 0.3:
            will = p.Will(
                rng.choice(TOPICS), b"will", rng.randint(0, 2), rng.random() < 0.5, self._props(p.WILL, level)
            )
        user = rng.choice((None, "u"))
        password = rng.choice((None, b"p")) if user else None
        keep_alive = rng.choice((0, 0, 1, 5))
        clean = rng.random() < 0.4
        return p.Connect(
            rng.choice(CLIENT_IDS), level, clean, keep_alive, will, user, password, self._props(p.CONNECT, level)
        )

    def _publish(self, level: int) -> p.Packet:
        rng = self._rng
        qos = rng.randint(0, 2)
        retain, dup = rng.random() < 0.2, qos > 0 and rng.random() < 0.3
        topic, packet_id = rng.choice(TOPICS), rng.choice(PACKET_IDS)
        props = self._props(p.PUBLISH, level)
        return p.Publish(topic, rng.choice(PAYLOADS), qos, retain, dup, packet_id if qos else 0, props)

    def _ack(self, level: int) -> p.Packet:
        rng = self._rng
        cls = rng.choice((p.PubAck, p.PubRec, p.PubRel, p.PubComp))
        return cls(rng.choice(PACKET_IDS), rng.choice((0, 0, 0, 0x80, 0x92)), self._props(cls.type, level))

    def _subscribe(self, level: int) -> p.Packet:
        rng = self._rng
        packet_id, patterns = rng.choice(PACKET_IDS), rng.choices(FILTERS, k=rng.randint(1, 3))
        if rng.random() < 0.3:
            return p.Unsubscribe(packet_id, tuple(patterns), self._props(p.UNSUBSCRIBE, level))
        filters = tuple(
            p.Filter(pattern, rng.randint(0, 2), rng.random() < 0.2, rng.random() < 0.2, rng.randint(0, 2))
            for pattern in patterns
        )
        return p.Subscribe(packet_id, filters, self._props(p.SUBSCRIBE, level))

    def _rest(self, level: int) -> p.Packet:
        rng = self._rng
        match rng.randint(0, 5):
            case 0:
                return p.Disconnect(rng.choice((0, 4, 0x80)), self._props(p.DISCONNECT, level))
            case 1:
                return p.Auth(rng.choice((0, 0x18, 0x19)), self._props(p.AUTH, level))
            case 2:
                return rng.choice((p.ConnAck(False, 0), p.PingResp(), p.SubAck(1, (0,)), p.UnsubAck(1, (0,))))
            case _:
                return p.PingReq()


def damage(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One to three small injuries."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out)) if out else 0
        match rng.randint(0, 6):
            case 0 if out:
                out[at] ^= 1 << rng.randint(0, 7)
            case 1 if out:
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randint(0, 255)))
            case 2:
                out[at:at] = rng.randbytes(rng.randint(1, 4))
            case 3:
                del out[at : at + rng.randint(1, 4)]
            case 4:
                out[at:] = other[rng.randrange(len(other)) :]
            case 5:
                out[at:at] = out[at : at + 8]
            case _:
                out[1:2] = bytes((rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF)),))
    return bytes(out)


def _answer(packet: p.Packet) -> p.Packet | None:
    """What a proper client says to a packet of the server."""
    match packet:
        case p.Publish(qos=1):
            return p.PubAck(packet.packet_id)
        case p.Publish(qos=2):
            return p.PubRec(packet.packet_id)
        case p.PubRec(reason=reason) if reason < 0x80:
            return p.PubRel(packet.packet_id)
        case p.PubRel():
            return p.PubComp(packet.packet_id)
    return None


class Member:
    """One connection of the crowd."""

    def __init__(self, world: World, level: int) -> None:
        self.client = Client(world)
        self.level = level
        self.decoder = Decoder(level)
        self.owed: list[p.Packet] = []
        """Answers that a proper client would give now."""

    @property
    def identifier(self) -> str | None:
        session = self.client.connection.session
        return session.client_id if session else None


class Crowd:
    """See the module's docstring.

    harm     how many of the packets are damaged; with little harm dialogues go deep
    sent     packet types sent, by their first four bits;  got: those that came back
    closes   why connections ended, with their numbers taken out
    """

    def __init__(self, seed: int, members: int = 4, harm: float = 0.3) -> None:
        self.rng = random.Random(seed)
        self.world = World(**LIMITS)
        # As a client without a name may come any number of times.
        self.world.ids = iter(f"auto-{number}" for number in range(1 << 40))
        self.sent: Counter[str] = Counter()
        self.got: Counter[str] = Counter()
        self.closes: Counter[str] = Counter()
        self.steps = 0
        self.sessions = 0
        self._harm = harm
        self._corpus = Corpus(self.rng)
        self._witness = self.world.client("witness")
        self._witness.subscribe("witness", 1)
        self._members: list[Member] = []
        while len(self._members) < members:
            self._members.append(self._newcomer())

    def step(self) -> None:
        """One packet on one connection; now and then time passes, or a connection breaks."""
        self.steps += 1
        rng = self.rng
        if rng.random() < 0.02:
            self.world.advance(rng.choice((0.1, 1.0, 4.0)))
            self._replace_closed()
        member = rng.choice(self._members)
        if rng.random() < 0.01:
            member.client.lose()
        elif member.client.connection.hold:
            # A receiver of its messages is full; the patience with it is bounded.
            self.world.advance(1.0)
            self._read(member)
        else:
            self._feed(member, self._next(member))
        self._replace_closed()
        if self.steps % 500 == 0:
            self._ask_witness()

    def _next(self, member: Member) -> bytes:
        rng = self.rng
        choice = self._corpus.others[member.level]
        if member.owed and rng.random() < 0.5:
            data = encode(member.owed.pop(0), member.level)
        else:
            data = rng.choice(choice)
        if rng.random() < self._harm:
            return damage(rng, data, rng.choice(choice))
        return data

    def finish(self) -> None:
        """All leave, time passes, and nothing may be left."""
        self._ask_witness()
        for member in self._members:
            member.client.lose()
        self._witness.lose()
        self.world.advance(LIMITS["session_expiry_max"] + 5)
        server, broker = self.world.server, self.world.broker
        left = {
            "connections": len(server.connections),
            "sessions": len(server.sessions),
            "wills": len(server.wills),
            "subscriptions": broker.status()["subscriptions"],
        }
        if any(left.values()):
            raise Broken(f"left behind: {left}")

    def _newcomer(self) -> Member:
        self.sessions += 1
        level = self.rng.choice((3, 4, 5, 5))
        member = Member(self.world, level)
        data = self.rng.choice(self._corpus.connects[level])
        if self.rng.random() < self._harm / 5:
            data = damage(self.rng, data, data)
        self._feed(member, data)
        return member

    def _feed(self, member: Member, data: bytes) -> None:
        if data:
            self.sent[p.NAMES[data[0] >> 4]] += 1
        bystanders = [one for one in self._members if one is not member and not one.client.closed]
        names = {one: one.identifier for one in bystanders}
        member.client.raw(data)
        version = member.client.connection.version
        if version and version != member.decoder.version:
            # CONNECT was damaged where its version stands.
            member.decoder = Decoder(version)
        for one in bystanders:
            if one.client.closed and names[one] != member.identifier:
                raise Broken(f"a bystander was closed: {one.client.connection.closing_reason}")
        self._read(member)
        for one in bystanders:
            self._read(one)

    def _read(self, member: Member) -> None:
        session = member.client.connection.session
        largest = member.client.connection.max_packet_out if session else 0
        member.decoder.max_packet = largest or MAX_VARINT
        connection = member.client.connection
        idle = 0
        while idle < 2:
            data = connection.take_output()
            connection.flushed()
            idle = 0 if data else idle + 1
            try:
                member.decoder.feed(data)
                while (packet := member.decoder.next()) is not None:
                    self.got[p.NAMES[packet.type]] += 1
                    if (answer := _answer(packet)) is not None and len(member.owed) < 20:
                        member.owed.append(answer)
            except Malformed as error:
                raise Broken(f"the server sent {data.hex(' ')}: {error}") from error

    def _replace_closed(self) -> None:
        for at, member in enumerate(self._members):
            if member.client.closed:
                reason = re.sub(r"\d+", "N", member.client.connection.closing_reason)
                self.closes[reason.split(":")[0] or "connection broken"] += 1
                self._read(member)
                member.client.lose()
                self._members[at] = self._newcomer()

    def _ask_witness(self) -> None:
        """He publishes to himself. Others may listen too, and he may have to wait for them, but not for long."""
        witness = self._witness
        payload = str(self.steps).encode()
        got = publishes(witness.publish("witness", payload, 1, 7))
        for _ in range(PATIENCE):
            if got:
                break
            self.world.advance(1.0)
            got = publishes(witness.received())
        if witness.closed or [one.payload for one in got] != [payload]:
            raise Broken(f"the witness got {got}")
        witness.send(p.PubAck(got[0].packet_id))
        witness.received()
