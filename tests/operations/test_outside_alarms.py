"""Alarms that something beside the gateway tells it over the control socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import told_alarms
from gateway.alarms import MOST, Alarms
from gateway.clock import FixedClock
from gateway.errors import GatewayError
from gateway.message import Message


class ListPublisher:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> int:
        self.messages.append(message)
        return 1


@pytest.fixture
def publisher() -> ListPublisher:
    return ListPublisher()


@pytest.fixture
def alarms(publisher: ListPublisher) -> Alarms:
    return Alarms(publisher, FixedClock())


def tell(alarms: Alarms, **request: Any) -> Any:
    return alarms.commands()["alarm"](request)


def test_one_is_raised_and_ended(alarms: Alarms, publisher: ListPublisher) -> None:
    assert tell(alarms, name="update_rolled_back", text="to 2.0") == {"alarm": "update_rolled_back", "stands": True}
    assert [(one["alarm"], one["text"]) for one in alarms.status()] == [("update_rolled_back", "to 2.0")]
    assert tell(alarms, name="update_rolled_back", text=None)["stands"] is False
    assert alarms.status() == []
    raised, ended = publisher.messages
    assert raised.topic == ended.topic == "$SYS/gateway/alarms/update_rolled_back"
    assert json.loads(raised.payload)["text"] == "to 2.0"
    assert ended.payload == b""


def test_what_does_not_stand_may_be_ended(alarms: Alarms, publisher: ListPublisher) -> None:
    assert tell(alarms, name="never", text=None)["stands"] is False
    assert publisher.messages == []


@pytest.mark.parametrize(
    "request_", [{}, {"name": "A"}, {"name": "a/b", "text": "x"}, {"name": "a", "text": ""}, {"name": "a", "text": 3}]
)
def test_what_is_no_alarm_is_refused(alarms: Alarms, request_: dict[str, Any]) -> None:
    with pytest.raises(GatewayError, match="must"):
        tell(alarms, **request_)
    assert alarms.status() == []


def test_there_is_a_bound(alarms: Alarms) -> None:
    for number in range(MOST):
        tell(alarms, name=f"a{number}", text="x")
    with pytest.raises(GatewayError, match=f"{MOST} alarms stand"):
        tell(alarms, name="one_more", text="x")
    tell(alarms, name="a1", text="another text")
    assert len(alarms.status()) == MOST


def test_what_was_told_is_found_after_a_restart_of_the_gateway(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert told_alarms.read(folder) == {}
    told_alarms.keep(folder, "update_rolled_back", None)
    told_alarms.keep(folder, "update_rolled_back", "to 2.0")
    assert told_alarms.read(folder) == {"update_rolled_back": "to 2.0"}
    told_alarms.keep(folder, "update_rolled_back", None)
    assert told_alarms.read(folder) == {}


def test_what_is_no_alarm_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    (tmp_path / "c").write_text(" \n")
    (tmp_path / "D").write_text("no name of an alarm")
    (tmp_path / "e.new").write_text("half written")
    (tmp_path / "f").write_text("x" * 5000)
    assert told_alarms.read(tmp_path) == {"f": "x" * told_alarms.MAX_TEXT}
