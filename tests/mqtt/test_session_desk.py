"""What ``gateway session list | show | kick`` asks of the server."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.message import SUBSCRIPTION_IDENTIFIER
from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import Disconnect, Will
from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from gateway.mqtt.session_desk import SessionDesk
from gateway.mqtt.slow import SlowBoard
from mqtt.pair import World


def test_list_in_order_with_those_that_are_away() -> None:
    world = World()
    world.client("b", 4)
    world.client("a", props=((SESSION_EXPIRY_INTERVAL, 60),)).lose()
    first, second = SessionDesk(world.server).sessions({})
    assert (first["client_id"], first["connected"], first["address"], first["idle"]) == ("a", False, None, "away")
    assert (second["client_id"], second["version"], second["address"]) == ("b", "3.1.1", "test")


def test_list_of_the_slow() -> None:
    world = World(extras=Extras(slow=SlowBoard(0.5)))
    world.client("c").subscribe("t", 1)
    world.client("p").publish("t", b"x", 1, 1)
    world.server.clock.now += 1
    assert [row["client_id"] for row in SessionDesk(world.server).sessions({"slow": True})] == ["c"]
    with pytest.raises(GatewayError, match="not measured"):
        SessionDesk(World().server).sessions({"slow": True})


def test_show() -> None:
    world = World()
    client = world.client("c", keep_alive=30, will=Will("w", b"", 1, True), props=((SESSION_EXPIRY_INTERVAL, 60),))
    client.subscribe("a/#", 1, no_local=True, props=((SUBSCRIPTION_IDENTIFIER, 4),))
    world.advance(10)
    desk = SessionDesk(world.server)
    shown = desk.session({"client_id": "c"})
    assert shown["filters"] == [
        {"filter": "a/#", "qos": 1, "no_local": True, "retain_as_published": False, "identifiers": [4]}
    ]
    assert shown["will"] == {"topic": "w", "qos": 1, "retain": True}
    assert (shown["keep_alive"], shown["connected_for"], shown["expiry"], shown["expires_in"]) == (30, 10, 60, None)
    client.lose()
    shown = desk.session({"client_id": "c"})
    assert (shown["will"], shown["connected_for"], shown["expires_in"]) == (None, None, 60)


def test_kick_tells_the_client_and_leaves_its_session() -> None:
    world = World()
    client = world.client("c", props=((SESSION_EXPIRY_INTERVAL, 60),))
    desk = SessionDesk(world.server)
    assert desk.kick({"client_id": "c", "reason": "tidy up"}) == {"client_id": "c", "address": "test"}
    assert client.received() == [Disconnect(0x98)]
    assert client.connection.closing_reason == "kicked: tidy up"
    assert "c" in world.server.sessions
    with pytest.raises(GatewayError, match="not connected"):
        desk.kick({"client_id": "c"})


def test_what_waits_for_a_client_that_is_away_and_when_it_expires() -> None:
    world = World()
    client = world.client("c", props=((SESSION_EXPIRY_INTERVAL, 60),))
    client.subscribe("t", 1)
    world.client("p").publish("t", b"12345", 1, 1)
    client.lose()
    world.client("p").publish("t", b"123", 1, 1)
    world.advance(10)
    (listed,) = [row for row in SessionDesk(world.server).sessions({}) if row["client_id"] == "c"]
    assert (listed["in_flight"], listed["pending"], listed["bytes"], listed["expires_in"]) == (1, 1, 10, 50)


def test_purge_ends_a_session_and_says_what_was_lost() -> None:
    world = World()
    client = world.client("c", props=((SESSION_EXPIRY_INTERVAL, 60),))
    client.subscribe("t", 1)
    client.lose()
    world.client("p").publish("t", b"123", 1, 1)
    desk = SessionDesk(world.server)
    assert desk.purge({"client_id": "c"}) == {
        "client_id": "c", "connected": False, "subscriptions": 1, "in_flight": 0, "pending": 1, "bytes": 4,
    }  # fmt: skip
    assert "c" not in world.server.sessions
    client = world.client("c", props=((SESSION_EXPIRY_INTERVAL, 60),))
    desk.purge({"client_id": "c"})
    assert client.received() == [Disconnect(0x98)]
    assert "c" not in world.server.sessions


@pytest.mark.parametrize("client_id", ["nobody", None, 7])
def test_unknown_clients(client_id: object) -> None:
    desk = SessionDesk(World().server)
    for command in (desk.session, desk.kick, desk.purge):
        with pytest.raises(GatewayError, match="no session"):
            command({"client_id": client_id})
