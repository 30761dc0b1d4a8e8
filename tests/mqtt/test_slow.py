"""Slow subscribers: who is on the board, who is not, and that it stays small."""

from __future__ import annotations

from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import PubAck, PubComp, PubRec
from gateway.mqtt.properties import RECEIVE_MAXIMUM, SESSION_EXPIRY_INTERVAL
from gateway.mqtt.slow import SlowBoard
from mqtt.pair import World, publishes


def world_with(board: SlowBoard) -> World:
    return World(extras=Extras(slow=board))


def test_a_late_puback_is_recorded_and_a_quick_one_is_not() -> None:
    board = SlowBoard(0.5)
    world = world_with(board)
    slow, quick, publisher = world.client("slow"), world.client("quick"), world.client("p")
    slow.subscribe("t", 1)
    quick.subscribe("t", 1)
    publisher.publish("t", b"x", 1, 1)
    world.server.clock.now += 0.5
    quick.send(PubAck(publishes(quick.received())[0].packet_id))
    world.server.clock.now += 1.0
    slow.send(PubAck(publishes(slow.received())[0].packet_id))
    assert board.report(world.server.sessions.values(), world.server.clock.now) == [
        {"client_id": "slow", "worst": 1.5, "last": 1.5, "count": 1, "topic": "t", "age": 0.0, "waiting": 0.0}
    ]
    assert world.server.status()["slow"][0]["client_id"] == "slow"


def test_time_in_pending_counts() -> None:
    board = SlowBoard(0.5)
    world = world_with(board)
    client, publisher = world.client("c", props=((RECEIVE_MAXIMUM, 1),)), world.client("p")
    client.subscribe("t", 2)
    for n in (1, 2):
        publisher.publish("t", b"%d" % n, 1, n)
    for _ in (1, 2):
        (sent,) = publishes(client.received())
        world.server.clock.now += 0.4
        client.send(PubAck(sent.packet_id))
    (row,) = board.report((), world.server.clock.now)
    assert (row["count"], row["worst"]) == (1, 0.8)


def test_qos_2_is_measured_to_its_end() -> None:
    board = SlowBoard(0.5)
    world = world_with(board)
    client = world.client("c")
    client.subscribe("t", 2)
    world.client("p").publish("t", b"x", 2, 1)
    (sent,) = publishes(client.received())
    client.exchange(PubRec(sent.packet_id))
    world.server.clock.now += 2
    client.send(PubComp(sent.packet_id))
    assert board.report((), world.server.clock.now)[0]["worst"] == 2.0


def test_time_away_does_not_count() -> None:
    board = SlowBoard(0.5)
    world = world_with(board)
    props = ((SESSION_EXPIRY_INTERVAL, 1000),)
    client = world.client("c", props=props)
    client.subscribe("t", 1)
    client.lose()
    world.client("p").publish("t", b"x", 1, 1)
    world.server.clock.now += 100
    assert not board.report(world.server.sessions.values(), world.server.clock.now)
    client = world.client("c", clean=False, props=props)
    (sent,) = publishes(client.resumed)
    world.server.clock.now += 0.2
    client.send(PubAck(sent.packet_id))
    assert not board.report(world.server.sessions.values(), world.server.clock.now)


def test_a_client_that_answers_nothing_is_seen() -> None:
    board = SlowBoard(0.5)
    world = world_with(board)
    world.client("stuck").subscribe("t", 1)
    world.client("p").publish("t", b"x", 1, 1)
    world.server.clock.now += 7
    (row,) = board.report(world.server.sessions.values(), world.server.clock.now)
    assert (row["client_id"], row["waiting"], row["count"]) == ("stuck", 7.0, 0)


def test_the_worst_stay_and_who_was_fast_for_long_is_forgotten() -> None:
    board = SlowBoard(0.1, size=3, memory=60)
    for n, latency in enumerate((1.0, 3.0, 2.0, 0.5, 5.0)):
        board.record(f"c{n}", "t", latency, 10.0 + n)
    assert [row["client_id"] for row in board.report((), 20.0)] == ["c4", "c1", "c2"]
    board.record("c2", "t", 0.2, 100.0)
    assert [row["client_id"] for row in board.report((), 101.0)] == ["c2"]
    for n in range(1000):
        board.record(f"d{n}", "t", float(n), 102.0)
    assert len(board._entries) == 3


def test_off_measures_nothing() -> None:
    world = World()
    client = world.client("c")
    client.subscribe("t", 1)
    world.client("p").publish("t", b"x", 1, 1)
    world.server.clock.now += 100
    client.send(PubAck(publishes(client.received())[0].packet_id))
    assert world.server.status()["slow"] == []
