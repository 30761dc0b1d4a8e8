"""What is said of an uplink, when, and the colour of its lamp."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.errors import GatewayError
from gateway.uplinks.report import Reports
from uplinks.bench import ListPublisher

OWN: dict[str, Any] = {
    "state": "up",
    "reason": "caught_up",
    "host": "broker:8883",
    "connected_since": "2027-01-15T08:00:00.000Z",
    "in_flight": 0,
    "sent": 5,
    "acked": 5,
    "refused": 0,
    "wire_out": 1000,
    "wire_in": 100,
    "last_error": "",
}


class World:
    def __init__(self, interval: float = 10.0) -> None:
        self.clock = FixedClock(1_800_000_000.0)
        self.publisher = ListPublisher()
        self.own = dict(OWN)
        self.waiting = {"depth": 0, "oldest_age": None}
        self.budget: dict[str, Any] | None = None
        self.reports = Reports(
            {"cloud": self}, lambda name: dict(self.waiting), lambda name: self.budget, self.publisher, self.clock,
            interval,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        return dict(self.own)

    def said(self) -> list[dict[str, Any]]:
        said = [json.loads(message.payload) for message, _ in self.publisher.messages]
        self.publisher.messages.clear()
        return said


def test_it_is_retained_and_said_again_only_when_it_has_changed() -> None:
    world = World()
    world.reports.tick()
    ((message, _),) = world.publisher.messages
    assert (message.topic, message.retain, message.qos) == ("$SYS/gateway/uplinks/cloud/status", True, 0)
    assert json.loads(message.payload) == {
        "uplink": "cloud",
        "state": "green",
        "connection": "up",
        "reason": "caught_up",
        "host": "broker:8883",
        "connected_since": "2027-01-15T08:00:00.000Z",
        "depth": 0,
        "oldest_age": None,
        "in_flight": 0,
        "sent": 5,
        "acked": 5,
        "refused": 0,
        "bytes_out": 1000,
        "bytes_in": 100,
        "rates": {"acked": 0.0, "bytes_out": 0.0, "bytes_in": 0.0},
        "budget": None,
        "last_error": "",
        "time": "2027-01-15T08:00:00.000Z",
    }
    world.said()
    world.clock.advance(10)
    world.reports.tick()
    assert world.said() == []
    world.own |= {"acked": 25, "wire_out": 3000}
    world.clock.advance(5)
    world.reports.tick()
    assert world.said() == [], "not before its time"
    world.clock.advance(5)
    world.reports.tick()
    (said,) = world.said()
    assert said["rates"] == {"acked": 2.0, "bytes_out": 200.0, "bytes_in": 0.0}


def test_a_lamp_that_changes_is_said_at_once() -> None:
    world = World()
    world.reports.tick()
    world.said()
    world.own |= {"state": "down", "reason": "offline", "last_error": "no connection to broker:8883"}
    world.clock.advance(1)
    world.reports.tick()
    (said,) = world.said()
    assert (said["state"], said["reason"], said["last_error"]) == ("red", "offline", "no connection to broker:8883")


@pytest.mark.parametrize(
    ("own", "waiting", "budget", "state"),
    [
        ({}, {}, None, "green"),
        ({"reason": "moving"}, {"depth": 100, "oldest_age": 59}, {"level": 0}, "green"),
        ({"reason": "moving"}, {"depth": 100, "oldest_age": 61}, None, "yellow"),
        ({"reason": "paused"}, {}, None, "yellow"),
        ({"last_error": "the broker refused the subscription"}, {}, None, "yellow"),
        ({}, {}, {"level": 1}, "yellow"),
        ({"state": "connecting"}, {}, None, "red"),
    ],
)
def test_lamps(own: dict[str, Any], waiting: dict[str, Any], budget: dict[str, Any] | None, state: str) -> None:
    world = World()
    world.own |= own
    world.waiting |= waiting
    world.budget = budget
    assert world.reports.of("cloud")["state"] == state


def test_nothing_is_published_without_an_interval() -> None:
    world = World(0.0)
    world.reports.tick()
    assert world.said() == []


def test_commands() -> None:
    commands = World().reports.commands()
    assert [one["uplink"] for one in commands["uplinks"]({})] == ["cloud"]
    assert commands["uplink"]({"uplink": "cloud"})["state"] == "green"
    with pytest.raises(GatewayError, match="there is no uplink 'moon'; there are: cloud"):
        commands["uplink"]({"uplink": "moon"})
