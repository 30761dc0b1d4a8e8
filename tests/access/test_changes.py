"""What a change of users, bans, rules or limits does to clients that are in."""

from __future__ import annotations

import pytest

from access.desk import ANN, Table, connect, only, reason, table, without_text, world_of
from gateway.broker.access import User
from gateway.broker.access_rules import BOTH, Rule, RuleSet
from gateway.broker.bans import Ban, Bans
from gateway.broker.buckets import Rates
from gateway.mqtt.packets import PubAck, SubAck, Will
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from mqtt.pair import publishes


@pytest.mark.parametrize(
    "users",
    [{}, {"ann": ANN._replace(disabled=True)}, {"ann": ANN._replace(hash="another")}],
    ids=["removed", "disabled", "another password"],
)
def test_a_user_that_has_changed_is_ended_at_once(users: dict[str, User]) -> None:
    world = world_of()
    heard = world.client("heard")
    heard.subscribe("will")
    client, _ = connect(world, "ann", b"secret", will=Will("will", b"", 0, False))
    world.server.access.users = users
    world.server.enforcer.recheck()
    assert without_text(client.received()) == [("Disconnect", 0x87)]
    assert client.closed
    assert list(world.server.sessions) == ["heard"]
    assert heard.received() == [], "nobody speaks for it any more"


def test_a_session_that_is_away_goes_too() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret", props=((SESSION_EXPIRY_INTERVAL, 1000),))
    client.subscribe("t", 1)
    client.lose()
    world.server.access.users = {}
    world.server.enforcer.recheck()
    assert world.server.sessions == {}
    assert world.broker.status()["subscriptions"] == 0


def test_nothing_happens_to_those_who_have_not_changed() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret")
    local = world.client("local")
    world.server.access.users = {"ann": ANN, "eve": User("eve", "x")}
    world.server.enforcer.recheck()
    assert not client.closed
    assert not local.closed


def test_a_ban_ends_live_sessions() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret")
    world.server.access.bans = Bans([Ban("client", "c")])
    world.server.enforcer.recheck()
    assert without_text(client.received()) == [("Disconnect", 0x98)]


def test_anonymous_that_is_not_allowed_any_more() -> None:
    world = world_of(anonymous=True)
    client, packets = connect(world)
    assert reason(packets) == 0
    world.server.access.anonymous = False
    world.server.enforcer.recheck()
    assert without_text(client.received()) == [("Disconnect", 0x87)]


def test_rules_that_have_changed() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret")
    client.subscribe("a/#")
    client.subscribe("b/#")
    world.server.access.rules = only("a/#")
    world.server.enforcer.recheck()
    assert list(world.server.sessions["c"].subscriptions) == ["a/#"]
    publisher = world.client("p", local=True)
    world.server.access.rules = RuleSet()
    publisher.publish("b/x")
    publisher.publish("a/x")
    assert [p.topic for p in publishes(client.received())] == ["a/x"]


def test_rights_that_are_taken_back_hold_for_topics_that_were_learned() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret")
    receiver = world.client("r")
    receiver.subscribe("t")
    for _ in range(3):
        client.publish("t")
    assert len(publishes(receiver.received())) == 3
    world.server.access.rules = RuleSet(
        [Rule(1, "deny", BOTH, "t", user="ann"), Rule(2, "allow", BOTH, "#")],
    )
    world.server.enforcer.recheck()
    for _ in range(3):
        client.publish("t")
    assert publishes(receiver.received()) == []


def test_groups_that_have_changed() -> None:
    world = world_of(rules=only("ops/#", group="ops"))
    client, _ = connect(world, "ann", b"secret")
    assert without_text(client.publish("ops/x", qos=1, packet_id=1)) == [("PubAck", 0x87)]
    world.server.access.users = {"ann": ANN._replace(groups=frozenset({"ops"}))}
    world.server.enforcer.recheck()
    assert client.publish("ops/x", qos=1, packet_id=2) == [PubAck(2, 0x10)]


def test_limits_that_have_changed() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret")
    world.server.access.set_rates(Rates(messages=1, burst=1))
    world.server.enforcer.recheck()
    assert client.publish("t", qos=1, packet_id=1) == [PubAck(1, 0x10)]
    assert without_text(client.publish("t", qos=1, packet_id=2)) == [("PubAck", 0x97)]


def test_an_exclusive_subscription_that_is_revoked_is_free_again() -> None:
    world = world_of()
    client, _ = connect(world, "ann", b"secret")
    client.subscribe("$exclusive/a")
    world.server.access.rules = RuleSet([Rule(1, "allow", BOTH, "a", user="bob")])
    world.server.enforcer.recheck()
    other, _ = connect(world, "bob", b"hidden", "other")
    assert [p.reasons for p in other.subscribe("$exclusive/a") if isinstance(p, SubAck)] == [(0,)]


def test_a_token_that_expires_ends_the_connection() -> None:
    world = world_of(authenticator=Table(expires=1030.0))
    client, packets = connect(world, "ann", b"secret")
    assert reason(packets) == 0
    world.advance(29)
    assert not client.closed
    world.advance(2)
    assert without_text(client.received()) == [("Disconnect", 0xA0)]
    assert reason(connect(world, "ann", b"secret")[1]) == 0x87


def test_what_a_login_shows_is_not_in_its_text() -> None:
    world = world_of(late=True)
    connect(world, "ann", b"secret")
    (login, _) = table(world).waiting[0]
    assert "secret" not in repr(login)
