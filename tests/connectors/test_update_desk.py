"""Updates by command: what is taken, what is left for root, what is told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import run
from gateway.app import App
from gateway.broker.port import Subscriber
from gateway.config.update import Update
from gateway.connectors import update_desk
from gateway.connectors.update_desk import NAME, UpdateDesk
from gateway.errors import GatewayError
from gateway.message import Message
from gateway.update_request import LONGEST, Request, left
from operations.test_app import build

HASH = "ab" * 32
URL = "https://bundles.example/site.gwu"
TOPIC = "gateway/update/bundle/set"


class Listener(Subscriber):
    def __init__(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.answered = asyncio.Event()

    def deliver(self, message: Message, done: Any) -> bool:
        self.got.append((message.topic, message.value))
        if message.topic.endswith("/result"):
            self.answered.set()
        if done is not None:
            done(None)
        return True


@pytest.fixture(autouse=True)
def command_line(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As on the appliance."""
    path = tmp_path_factory.mktemp("proc") / "cmdline"
    path.write_text("quiet gateway.slot=A\n")
    monkeypatch.setattr(update_desk, "COMMAND_LINE", path)
    return path


def play(tmp_path: Path, *values: Any, text: str = "[update]\nenabled = true\n") -> tuple[App, list[tuple[str, Any]]]:
    """What a whole gateway publishes below gateway/update when these commands come, each answered before the next."""
    app, heard = build(tmp_path, text), Listener()

    async def main() -> None:
        app.parts.broker.subscribe("gateway/update/#", heard)
        running = asyncio.create_task(app.run())
        while not app._is_ready:
            await asyncio.sleep(0)
            assert not running.done()
        for value in values:
            heard.answered.clear()
            app.parts.broker.publish(Message(TOPIC, qos=1, value=value, time=app.clock.time()))
            if NAME in app.parts.desks:
                await heard.answered.wait()
        app.stop()
        await running

    run(asyncio.wait_for(main(), 30))
    return app, [one for one in heard.got if one[0] != TOPIC]


def test_a_command_leaves_a_request_and_is_answered(tmp_path: Path) -> None:
    _, heard = play(tmp_path, {"id": "u1", "value": f"{URL}#sha256={HASH.upper()}&size=1000"})
    (status_topic, status), (result_topic, result) = heard
    assert status_topic == "gateway/update/status"
    assert (status["state"], status["bundle"]) == ("requested", URL)
    assert result_topic == f"{TOPIC}/result"
    assert (result["id"], result["status"]) == ("u1", "done")
    assert left(tmp_path) == Request(URL, 1000, HASH, None, 512 << 20)
    assert (tmp_path / "update").stat().st_mode & 0o777 == 0o700
    # A start later it is still told.
    _, heard = play(tmp_path, "")
    assert heard[0] == (status_topic, status)
    assert heard[1][1]["state"] == "cancelled"
    assert left(tmp_path) is None


def test_without_the_setting_nobody_listens(tmp_path: Path) -> None:
    app, heard = play(tmp_path, f"{URL}#sha256={HASH}&size=1000", text="")
    assert heard == []
    assert NAME not in app.parts.desks
    assert left(tmp_path) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (URL, "must end in #sha256="),
        (f"{URL}#sha256={HASH}&size=0", "size must be 1 to"),
        (f"{URL}#sha256={HASH}&size=9999999999999", "update.max_size"),
        (f"{URL}#sha256={HASH[:-1]}&size=5", "must end in #sha256="),
        (f"{URL}#sha256={HASH}&size=5&more=1", "must end in #sha256="),
        (f"http://bundles.example/x#sha256={HASH}&size=5", "must begin with https"),
        (f"https://user@bundles.example/x#sha256={HASH}&size=5", "must begin with https"),
        (f"https://bundles.example:99999/x#sha256={HASH}&size=5", "is no URL"),
        (f"https:///x#sha256={HASH}&size=5", "must begin with https"),
        ("file:../gateway.db", "file: must be followed by"),
        ("file:/etc/passwd.gwu", "file: must be followed by"),
        ("https://" + "x" * LONGEST, "at most 1000 characters"),
        ("https://a b", "without spaces"),
        (7, "must be text"),
    ],
)
def test_what_can_never_work_is_rejected(tmp_path: Path, value: Any, words: str) -> None:
    _, ((_, result),) = play(tmp_path, value)
    assert result["status"] == "rejected"
    assert words in result["reason"]
    assert left(tmp_path) is None


def test_a_machine_without_slots_says_so(tmp_path: Path, command_line: Path) -> None:
    for text in ("quiet", None):
        command_line.unlink() if text is None else command_line.write_text(text)
        _, ((_, result),) = play(tmp_path, f"{URL}#sha256={HASH}&size=1000")
        assert (result["status"], left(tmp_path)) == ("rejected", None)
        assert "not started from a slot" in result["reason"]


def test_what_root_tells_is_published_and_bounded(tmp_path: Path) -> None:
    app, heard = build(tmp_path, ""), Listener()
    app.parts.broker.subscribe("site/up/status", heard)
    desk = UpdateDesk(Update(enabled=True, topic="site/up"), tmp_path, app.parts.broker, app.parts.ledger, app.clock)
    tell = desk.commands()["update-told"]
    tell({"state": "downloading", "bytes": 5, "size": 10, "bundle": "x" * 5000, "reason": 7, "other": "y"})
    ((_, status),) = heard.got
    assert status == {"state": "downloading", "bytes": 5, "size": 10, "bundle": "x" * 500, "time": status["time"]}
    assert json.loads((tmp_path / "update/status.json").read_text()) == status
    with pytest.raises(GatewayError, match="state: must be one of requested"):
        tell({"state": "else"})


def test_a_disk_that_takes_nothing_is_a_failure_that_is_answered(tmp_path: Path) -> None:
    (tmp_path / "update").write_text("in the way")
    _, heard = play(tmp_path, f"{URL}#sha256={HASH}&size=1000")
    assert heard[-1][1]["status"] == "failed"
    assert "cannot be kept" in heard[-1][1]["reason"]
