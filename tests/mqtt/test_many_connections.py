"""Clients that come and go for years: nothing is forgotten that should stay, and nothing stays that should go."""

from __future__ import annotations

import gc

import pytest

from gateway.mqtt.packets import PubComp, PubRec, PubRel
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from mqtt.pair import World, publishes

RECONNECTS = 50
CYCLES = 10_000


@pytest.mark.parametrize("level", [4, 5])
@pytest.mark.parametrize("stop_after", ["publish", "pubrec", "pubrel"])
def test_a_qos_2_session_still_delivers_after_50_reconnects(level: int, stop_after: str) -> None:
    """Regression 13. Each connection ends in the middle of an exchange."""
    world = World()
    props = ((SESSION_EXPIRY_INTERVAL, 3600),) if level == 5 else ()
    got: list[bytes] = []
    released: set[int] = set()
    client = world.client("c", level, clean=False, props=props)
    client.subscribe("t", 2)
    publisher = world.client("p", level)
    for n in range(RECONNECTS):
        publisher.publish("t", b"%d" % n, 2, n + 1)
        publisher.exchange(PubRel(n + 1))
        packets = client.received()
        for packet in publishes(packets):
            if packet.packet_id not in released:
                got.append(packet.payload)
                released.add(packet.packet_id)
            if stop_after == "publish":
                continue
            answer = client.exchange(PubRec(packet.packet_id))
            assert answer[0] == PubRel(packet.packet_id)
            if stop_after == "pubrel":
                client.send(PubComp(packet.packet_id))
                released.discard(packet.packet_id)
        client.lose()
        client = world.client("c", level, clean=False, props=props)
        for again in client.resumed:
            if isinstance(again, PubRel):
                client.send(PubComp(again.packet_id))
                released.discard(again.packet_id)
            elif publishes([again]):
                assert stop_after == "publish"
    for packet in publishes(client.resumed):
        assert client.exchange(PubRec(packet.packet_id))[0] == PubRel(packet.packet_id)
        client.send(PubComp(packet.packet_id))
    assert got == [b"%d" % n for n in range(RECONNECTS)]
    assert publisher.publish("t", b"last", 2, 1000) == [PubRec(1000)]
    assert [packet.payload for packet in publishes(client.received())] == [b"last"]


@pytest.mark.slow
def test_ten_thousand_connections_leave_nothing_behind() -> None:
    world = World()
    watcher = world.client("watcher", 5)
    watcher.subscribe("#", 1)

    def come_and_go(first: int) -> None:
        for n in range(first, first + CYCLES // 2):
            client_id = f"c{n % 97}" if n % 3 else f"once-{n}"
            client = world.client(client_id, 4 + n % 2, clean=n % 5 > 0)
            client.subscribe(f"devices/{n}/+", n % 3)
            client.publish(f"devices/{n}/a", b"x", 0)
            client.lose()
            world.advance(0.01)
            watcher.received()
            if n % 5 == 0:
                world.client(client_id, 4, clean=True).lose()

    come_and_go(0)
    half = things()
    come_and_go(CYCLES // 2)
    assert things() - half < 200, "objects more than at half time"
    assert world.server.sessions.keys() == {"watcher"}


def things() -> int:
    """Objects that the collector knows: connections, sessions, tables and what they hold."""
    gc.collect()
    return len(gc.get_objects())
