"""Wills and rights over a restart. Statement ids are those of the standard."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker.access import Access, Identity, User
from gateway.broker.access_rules import Action, Rule, RuleSet
from gateway.mqtt.packets import Connect, Disconnect, Publish, Will
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL, WILL_DELAY_INTERVAL
from gateway.mqtt.restore import credential_digest
from gateway.mqtt.wills import RETURN
from mqtt.durable import KEEP, DurableWorld
from mqtt.pair import Client, publishes

WILL = Will("will/c", b"gone", 1, False)
LATE = Will("will/c", b"gone", 1, False, ((WILL_DELAY_INTERVAL, 10),))


def sent(world: DurableWorld, seconds: float = 0.5) -> list[bytes]:
    """Payloads of the wills that a watcher gets within so many seconds, and a tick."""
    watcher = world.client("w")
    watcher.subscribe("will/#")
    world.advance(seconds)
    return [p.payload for p in publishes(watcher.received())]


def test_a_will_is_sent_after_a_kill_9_and_only_once() -> None:
    world = DurableWorld()
    world.client("c", will=WILL)
    world.paper.commit()
    world = world.restart()
    assert sent(world) == [b"gone"]
    world.paper.commit()
    assert sent(world.restart()) == []


def test_a_will_and_what_keeps_it_are_of_one_transaction() -> None:
    world = DurableWorld()
    world.listener("l", "will/#", 1).lose()
    world.client("c", will=WILL).lose()
    world.paper.commit()
    world = world.restart()
    assert sent(world) == []
    assert [p.payload for p in publishes(world.stay("l").resumed)] == [b"gone"]


def test_a_delay_runs_from_the_start_when_the_client_was_connected() -> None:
    world = DurableWorld()
    world.client("c", clean=False, will=LATE, props=KEEP)
    world.paper.commit()
    world = world.restart()
    assert sent(world, 9) == []
    assert sent(world, 2) == [b"gone"]


def test_a_delay_that_runs_goes_on() -> None:
    world = DurableWorld()
    world.client("c", clean=False, will=LATE, props=KEEP).lose()
    world.paper.commit()
    world.paper.away = 7
    world = world.restart()
    assert sent(world, 2) == []
    assert sent(world, 2) == [b"gone"]


def test_a_session_that_is_gone_has_no_delay_3_1_3_9() -> None:
    world = DurableWorld()
    world.client("c", will=LATE)
    world.paper.commit()
    assert sent(world.restart()) == [b"gone"]


def test_a_client_that_is_back_in_time_sends_no_will() -> None:
    world = DurableWorld()
    world.client("c", clean=False, will=LATE, props=KEEP)
    world.paper.commit()
    world = world.restart()
    world.client("c", clean=False, props=KEEP)
    assert sent(world, 20) == []
    world.paper.commit()
    assert world.paper.safe.wills == {}


@pytest.mark.parametrize("end", ["disconnect", "lost"])
def test_nothing_is_left_of_a_will_that_has_had_its_end(end: str) -> None:
    world = DurableWorld()
    client = world.client("c", will=WILL)
    world.paper.commit()
    assert world.paper.safe.wills
    if end == "lost":
        client.lose()
    else:
        client.send(Disconnect(0))
    world.paper.commit()
    assert world.paper.safe.wills == {}


def stopped(**options: Any) -> DurableWorld:
    world = DurableWorld()
    world.client("c", will=WILL, **options)
    world.server.shutdown()
    world.paper.commit()
    return world.restart()


def test_a_clean_stop_defers_wills_to_the_next_start() -> None:
    world = stopped()
    assert sent(world, RETURN - 2) == []
    assert sent(world, 3) == [b"gone"]


@pytest.mark.parametrize("clean", [True, False])
def test_whoever_comes_back_after_a_clean_stop_has_not_died(clean: bool) -> None:
    world = stopped()
    world.client("c", clean=clean)
    assert sent(world, RETURN + 2) == []
    world.paper.commit()
    assert world.paper.safe.wills == {}


def test_purging_a_session_sends_the_will_that_waits_for_it() -> None:
    world = DurableWorld()
    world.client("c", clean=False, will=LATE, props=KEEP).lose()
    watcher = world.client("w")
    watcher.subscribe("will/#")
    world.server.purge(world.server.sessions["c"])
    assert [p.payload for p in publishes(watcher.received())] == [b"gone"]
    world.paper.commit()
    assert (world.paper.safe.wills, world.paper.safe.sessions) == ({}, {})


# -- rights ------------------------------------------------------------------------------------------------


class Passwords:
    """Whoever shows a password is who it says."""

    def authenticate(self, login: Any, answer: Any) -> None:
        answer(Identity(login.client_id, login.username, address="test", credential="hash"))


def access(hash: str = "hash", rules: RuleSet | None = None, disabled: bool = False) -> Access:
    users = {"ann": User("ann", hash, disabled=disabled)}
    return Access(rules=rules, users=users, authenticator=Passwords())


def ann(world: DurableWorld, will: Will | None = None) -> Client:
    client = Client(world, local=False)
    client.version = 5
    client._decoder.version = 5
    props = ((SESSION_EXPIRY_INTERVAL, 1000),)
    client.send(Connect("c", 5, False, 0, will, "ann", b"secret", props))
    return client


def with_digest(world: DurableWorld) -> DurableWorld:
    """What the store keeps of a credential."""
    for _, _, who, _, _ in world.paper.safe.sessions.values():
        who.credential = credential_digest("hash")
        who.forget()
    return world


@pytest.mark.parametrize(
    ("then", "stays"), [(access(), True), (access("other"), False), (access(disabled=True), False)]
)
def test_a_session_is_there_again_if_its_user_may_be(then: Access, stays: bool) -> None:
    world = DurableWorld(access=access())
    ann(world)
    world.paper.commit()
    world = with_digest(world).restart(access=then)
    assert ("c" in world.server.sessions) is stays
    world.paper.commit()
    assert bool(world.paper.safe.sessions) is stays


def test_a_will_that_is_not_allowed_any_more_is_not_sent() -> None:
    world = DurableWorld(access=access())
    ann(world, WILL)
    world.paper.commit()
    world = with_digest(world).restart(access=access(disabled=True))
    world.advance(2)
    assert world.broker.metrics.drops == {"not_authorized": 1}
    assert "wills" not in world.broker.metrics.counts
    world.paper.commit()
    assert world.paper.safe.wills == {}


def deny(actions: str, topic: str) -> RuleSet:
    everything = Rule(10, "allow", frozenset({"publish", "subscribe"}), "#")
    one: frozenset[Action] = frozenset({"publish"}) if actions == "publish" else frozenset({"subscribe"})
    return RuleSet([everything, Rule(5, "deny", one, topic)])


def test_a_subscription_that_is_not_allowed_any_more_is_gone() -> None:
    world = DurableWorld(access=access())
    client = ann(world)
    for pattern in ("secret/#", "open/#"):
        client.subscribe(pattern, 1)
        world.paper.commit()
        client.received()
    client.lose()
    world = with_digest(world).restart(access=access(rules=deny("subscribe", "secret/#")))
    assert world.server.sessions["c"].subscriptions.keys() == {"open/#"}
    assert world.broker.metrics.counts["subscriptions_revoked"] == 1
    world.paper.commit()
    assert [pattern for _, pattern in world.paper.safe.filters] == ["open/#"]


def test_the_topic_of_a_will_is_asked_again() -> None:
    world = DurableWorld(access=access())
    ann(world, WILL)
    world.paper.commit()
    world = with_digest(world).restart(access=access(rules=deny("publish", "will/#")))
    world.advance(2)
    assert world.broker.metrics.drops == {"not_authorized": 1}


def test_a_retained_will_is_retained() -> None:
    world = DurableWorld()
    world.client("c", will=Will("will/c", b"gone", 0, True))
    world.paper.commit()
    world = world.restart()
    world.advance(1)
    watcher = world.client("w")
    assert Publish("will/c", b"gone", 0, True) in watcher.subscribe("will/#")
