"""An authenticator whose answers are a table, given when the test says so; and a client that shows a password."""

from __future__ import annotations

from typing import Any

from gateway.broker.access import Access, Identity, Login, User
from gateway.broker.access_rules import BOTH, Rule, RuleSet
from gateway.broker.identity import Answer
from gateway.errors import Refused
from gateway.mqtt.packets import ConnAck, Connect, Packet, Will
from mqtt.pair import Client, World

PASSWORDS = {"ann": b"secret", "bob": b"hidden"}


class Table:
    """Knows ``PASSWORDS``. ``late``: answers wait for ``answer_all``."""

    def __init__(self, late: bool = False, expires: float | None = None) -> None:
        self.late = late
        self.expires = expires
        self.waiting: list[tuple[Login, Answer]] = []

    def authenticate(self, login: Login, answer: Answer) -> None:
        self.waiting.append((login, answer))
        if not self.late:
            self.answer_all()

    def answer_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for login, answer in waiting:
            if PASSWORDS.get(login.username or "") == login.password:
                who = Identity(login.client_id, login.username, address=login.peer.host, expires=self.expires)
                who.credential = f"hash of {login.username}"
                answer(who)
            else:
                answer(Refused("wrong user name or password", 0x86))


def connect(
    world: World,
    username: str | None = None,
    password: bytes | None = None,
    client_id: str = "c",
    level: int = 5,
    local: bool = False,
    will: Will | None = None,
    props: tuple[tuple[int, object], ...] = (),
    clean: bool = True,
) -> tuple[Client, list[Packet]]:
    """A remote client that has sent CONNECT, and what it has got so far."""
    client = Client(world, local)
    client.version = level
    client._decoder.version = level
    return client, client.exchange(Connect(client_id, level, clean, 0, will, username, password, props))


def reason(packets: list[Packet]) -> int:
    """The reason of the one CONNACK that is there."""
    (packet,) = packets
    assert isinstance(packet, ConnAck)
    return packet.reason


ANN = User("ann", "hash of ann")
BOB = User("bob", "hash of bob", frozenset({"ops"}))


def world_of(late: bool = False, **options: Any) -> World:
    users = {"ann": ANN, "bob": BOB}
    access = Access(**{"users": users, "authenticator": Table(late), **options})
    return World(access)


def table(world: World) -> Table:
    found = world.server.access.authenticator
    assert isinstance(found, Table)
    return found


def only(topic: str, verdict: Any = "allow", priority: int = 100, **whom: str) -> RuleSet:
    return RuleSet([Rule(priority, verdict, BOTH, topic, **whom)])


def without_text(packets: list[Any]) -> list[tuple[str, int]]:
    """Kind and reason of each packet: the reason string is for people."""
    return [(type(packet).__name__, packet.reason) for packet in packets]
