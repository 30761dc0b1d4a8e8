"""Kept sessions: when they end, how they come back, who gets their shared messages, and what there is no room for."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Refused
from gateway.message import Message
from gateway.mqtt.packets import Disconnect, Filter, PubAck, SubAck, Subscribe, UnsubAck, Unsubscribe
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from gateway.mqtt.restore import GRACE
from mqtt.durable import DurableWorld
from mqtt.pair import publishes

# -- sessions ----------------------------------------------------------------------------------------------


def test_suback_and_unsuback_follow_the_commit() -> None:
    world = DurableWorld()
    client = world.stay()
    assert client.exchange(Subscribe(3, (Filter("a", 1),))) == []
    world.paper.commit()
    assert client.received() == [SubAck(3, (1,))]
    assert client.exchange(Unsubscribe(4, ("a",))) == []
    assert world.restart().server.sessions["c"].subscriptions.keys() == {"a"}
    world = DurableWorld()
    client = world.listener(pattern="a")
    client.send(Unsubscribe(4, ("a",)))
    world.paper.commit()
    assert client.received() == [UnsubAck(4, (0,))]
    assert world.restart().server.sessions["c"].subscriptions == {}


@pytest.mark.parametrize("end", ["clean start", "disconnect with expiry 0", "expiry", "resumed without expiry"])
def test_a_session_that_has_ended_is_not_there_after_a_restart(end: str) -> None:
    world = DurableWorld()
    client = world.listener()
    world.client("p").publish("t", b"1", 1, 1)
    world.paper.commit()
    if end == "clean start":
        world.client("c", clean=True)
    elif end == "disconnect with expiry 0":
        client.send(Disconnect(0, ((SESSION_EXPIRY_INTERVAL, 0),)))
    elif end == "expiry":
        client.lose()
        world.advance(10_001)
    else:
        client.lose()
        world.client("c", clean=False)
    world.paper.commit()
    assert (world.paper.safe.sessions, world.paper.safe.entries, world.paper.safe.filters) == ({}, {}, {})


def test_version_3_sessions_without_clean_session_are_durable() -> None:
    world = DurableWorld()
    world.listener(level=4).lose()
    world.client("p").publish("t", b"1", 1, 1)
    world.paper.commit()
    assert [p.payload for p in publishes(world.restart().stay(level=4).resumed)] == [b"1"]


def test_a_clock_that_is_ahead_expires_nothing_within_the_grace() -> None:
    world = DurableWorld()
    world.listener().lose()
    world.paper.commit()
    world.paper.away = 1e9
    world = world.restart()
    world.advance(GRACE - 1)
    assert "c" in world.server.sessions
    world.advance(2)
    assert "c" not in world.server.sessions


def test_time_away_counts_over_a_restart() -> None:
    world = DurableWorld()
    world.listener().lose()
    world.paper.commit()
    world.paper.away = 5000
    session = world.restart().server.sessions["c"]
    assert session.expires_at == pytest.approx(1000 + 5000)


def test_more_sessions_than_there_is_room_for_loses_those_that_expire_first() -> None:
    world = DurableWorld()
    for name, expiry in (("a", 9000), ("b", 8000), ("c", 10_000)):
        world.client(name, clean=False, props=((SESSION_EXPIRY_INTERVAL, expiry),)).lose()
    world.paper.commit()
    world = world.restart(max_sessions=2)
    assert world.server.sessions.keys() == {"a", "c"}
    world.paper.commit()
    assert len(world.paper.safe.sessions) == 2


def test_exclusive_subscriptions_end_with_the_process() -> None:
    world = DurableWorld()
    world.listener(pattern="$exclusive/t")
    world.paper.commit()
    assert world.restart().server.sessions["c"].subscriptions == {}


# -- shared subscriptions ----------------------------------------------------------------------------------


def test_a_shared_message_that_goes_to_another_member_is_kept_there() -> None:
    world = DurableWorld()
    first = world.listener("a", "$share/g/t", 1)
    publisher = world.client("p")
    publisher.publish("t", b"1", 1, 1)
    world.listener("b", "$share/g/t", 1).blocked = True  # type: ignore[attr-defined]
    first.lose()
    world.paper.commit()
    assert publisher.received() == [PubAck(1)]
    (row,) = world.paper.safe.entries.values()
    assert world.paper.safe.sessions[row[0]][0] == "b"
    world = world.restart()
    assert publishes(world.stay("a").resumed) == []
    assert [p.payload for p in publishes(world.stay("b").resumed)] == [b"1"]


def test_the_publisher_is_answered_when_the_message_passes_to_a_member_that_is_not_durable() -> None:
    world = DurableWorld()
    first = world.listener("a", "$share/g/t", 1)
    publisher = world.client("p")
    publisher.publish("t", b"1", 1, 1)
    other = world.client("b")
    other.subscribe("$share/g/t", 1)
    first.lose()
    assert publisher.received() == [PubAck(1)]
    assert [p.payload for p in publishes(other.received())] == [b"1"]
    world.paper.commit()
    assert world.paper.safe.entries == {}


# -- bounds ------------------------------------------------------------------------------------------------


def test_evict_drops_the_oldest_and_rejects_nobody() -> None:
    world = DurableWorld(queue_count=2)
    world.listener().lose()
    publisher = world.client("p")
    for n in range(4):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    world.paper.commit()
    assert publisher.received() == [PubAck(3), PubAck(4)], "1 and 2 were answered when they were dropped"
    assert world.broker.metrics.drops == {"session_queue_full": 2}
    assert [p.payload for p in publishes(world.restart().stay().resumed)] == [b"2", b"3"]


@pytest.mark.parametrize(("level", "answer"), [(5, PubAck(3, 0x97)), (4, PubAck(3))])
def test_reject_refuses_the_newest(level: int, answer: PubAck) -> None:
    world = DurableWorld(queue_count=2, offline_queue="reject")
    world.listener().lose()
    publisher = world.client("p", level)
    for n in range(3):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    world.paper.commit()
    assert publisher.received() == [PubAck(1), PubAck(2), answer]
    assert not publisher.closed
    assert world.broker.metrics.drops == {"session_queue_full": 1}
    assert [p.payload for p in publishes(world.restart().stay().resumed)] == [b"0", b"1"]


@pytest.mark.parametrize("bound", [{"queue_count": 2}, {"queue_bytes": 10}, {"offline_bytes": 11}])
def test_a_batch_that_a_session_would_refuse_in_part_is_refused_whole(bound: dict[str, Any]) -> None:
    world = DurableWorld(offline_queue="reject", **bound)
    world.listener().lose()
    world.listener("other", "#", qos=0)
    answers: list[Any] = []
    world.broker.publish_batch([Message("t", b"%4d" % n, 1) for n in range(3)], answers.append)
    (refused,) = answers
    assert isinstance(refused, Refused)
    assert refused.reason == 0x97
    assert world.broker.metrics.drops == {}
    world.broker.publish_batch([Message("t", b"%4d" % n, 1) for n in range(2)], answers.append)
    world.broker.publish_batch([Message("t", b"%4d" % n, 0) for n in range(9)], answers.append)
    world.broker.publish_batch([Message("other", b"%4d" % n, 1) for n in range(9)], answers.append)
    world.paper.commit()
    assert answers[1:] == [None, None, None]
    assert [p.payload for p in publishes(world.restart().stay().resumed)] == [b"   0", b"   1"]


def test_where_the_oldest_goes_a_batch_is_kept() -> None:
    world = DurableWorld(queue_count=2)
    world.listener().lose()
    answers: list[Any] = []
    world.broker.publish_batch([Message("t", b"%d" % n, 1) for n in range(3)], answers.append)
    world.paper.commit()
    assert answers == [None]
    assert world.broker.metrics.drops == {"session_queue_full": 1}


def test_all_sessions_together_are_bounded_and_each_gives_up_its_own_oldest() -> None:
    world = DurableWorld(offline_bytes=300)
    for name in "abc":
        world.listener(name).lose()
    publisher = world.client("p")
    for n in range(12):
        publisher.publish("t", b"%10d" % n, 1, n + 1)
        world.paper.commit()
    assert world.broker.metrics.drops == {"offline_full": 6}
    for name in "abc":
        pending = world.server.sessions[name].outgoing.pending
        assert [int(item.message.payload) for item in pending] == list(range(2, 12))


def test_room_that_was_taken_away_in_the_settings_goes_by_the_policy() -> None:
    world = DurableWorld()
    world.listener().lose()
    publisher = world.client("p")
    for n in range(5):
        publisher.publish("t", b"%d" % n, 1, n + 1)
    world.paper.commit()
    world = world.restart(queue_count=2)
    world.paper.commit()
    assert len(world.paper.safe.entries) == 2
    assert [p.payload for p in publishes(world.stay().resumed)] == [b"3", b"4"]
