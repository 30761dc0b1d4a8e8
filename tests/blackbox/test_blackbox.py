"""Black boxes: what is recorded, when it is saved, its bounds, its files, and the page that tells of them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway import kinds
from gateway.blackbox.desk import BlackBoxes
from gateway.blackbox.files import files, find, read, write
from gateway.blackbox.ring import OVERHEAD, Recording, Ring
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.clock import FixedClock
from gateway.config.blackbox import BlackBox
from gateway.config.load import read as read_settings
from gateway.config.settings import Settings
from gateway.config.shape import keys
from gateway.errors import ConfigError, GatewayError
from gateway.message import Message
from gateway.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "blackbox.md").read_text(encoding="utf-8")
START = 1767225600.0


def runs(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on a loop of its own."""

    @wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


class Space(NamedTuple):
    low: bool = False
    left: float = float("inf")


class Heard(Subscriber):
    def __init__(self) -> None:
        self.values: list[Any] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        self.values.append(message.value)
        return False


class Rig:
    """Black boxes over a real broker, with a clock that the test moves."""

    def __init__(self, folder: Path, floor: Space | None = None, **settings: Any) -> None:
        self.clock = FixedClock(time=START, now=1000.0)
        self.broker, self.metrics, self.heard = Broker(), Metrics(), Heard()
        box = BlackBox(**{"topics": ("plant/#", "plant/+"), "trigger": "alarm/+", **settings})
        self.boxes = BlackBoxes({"press": box}, folder, self.broker, self.clock, lambda: floor, self.metrics)
        self.ring = self.boxes.rings["press"]
        self.folder = folder / "blackbox" / "press"
        self.broker.subscribe("$SYS/gateway/blackbox/#", self.heard)

    def say(self, topic: str, payload: bytes = b"1") -> None:
        self.broker.publish(Message(topic, payload, source="client:x"))

    async def second(self, count: int = 1) -> None:
        for _ in range(count):
            self.clock.advance(1)
            self.boxes.tick()
            await asyncio.gather(*self.boxes._writing)

    def rows(self, index: int = -1) -> list[Any]:
        return [json.loads(line) for line in read(files(self.folder)[index])]


@runs
async def test_what_came_before_and_after_the_trigger_is_saved(tmp_path: Path) -> None:
    rig = Rig(tmp_path, before=5.0, after=2.0)
    for number in range(20):
        rig.say("plant/a", str(number).encode())
        rig.say("other/a")
        if number == 10:
            rig.say("alarm/hot")
        await rig.second()
    head, *rows = rig.rows()
    assert head == {
        "blackbox": "press", "cause": "alarm/hot", "time": "2026-01-01T00:00:10.000Z", "messages": 7, "dropped": 0,
    }  # fmt: skip
    # Two filters that match record a message once.
    assert [row["payload"] for row in rows] == ["5", "6", "7", "8", "9", "10", "11"]
    assert rows[0] == {
        "time": "2026-01-01T00:00:05.000Z", "topic": "plant/a", "qos": 0, "source": "client:x", "payload": "5",
    }  # fmt: skip
    (told,) = rig.heard.values
    assert told == {**head, "file": files(rig.folder)[0].name}
    assert rig.metrics.counts["blackbox_saved"] == 1
    assert len(rig.ring) == 5


@runs
async def test_two_triggers_at_once_are_one_file(tmp_path: Path) -> None:
    rig = Rig(tmp_path, after=3.0)
    rig.say("alarm/a")
    await rig.second()
    rig.say("alarm/b")
    await rig.second(10)
    assert [value["cause"] for value in rig.heard.values] == ["alarm/a"]


@runs
async def test_the_oldest_file_is_deleted(tmp_path: Path) -> None:
    rig = Rig(tmp_path, after=0.0, keep=2)
    for _ in range(4):
        rig.say("alarm/a")
        await rig.second()
    assert [path.name for path in files(rig.folder)] == [value["file"] for value in rig.heard.values[-2:]]


@runs
async def test_memory_is_bounded_and_what_is_missing_is_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_bytes=10 * (OVERHEAD + 8), before=60.0, after=0.0)
    for number in range(25):
        rig.say("plant/a", str(number % 10).encode())
    assert (len(rig.ring), rig.ring.dropped, rig.ring.bytes) == (10, 15, 10 * (OVERHEAD + 8))
    rig.say("alarm/a")
    await rig.second()
    assert (rig.rows()[0]["messages"], rig.rows()[0]["dropped"]) == (10, 15)
    assert rig.metrics.drops["blackbox_full"] == 15
    await rig.second(100)
    assert (len(rig.ring), rig.ring.bytes) == (0, 0)


@pytest.mark.parametrize("floor", [Space(low=True), Space(left=100)])
@runs
async def test_below_the_floor_nothing_is_written(tmp_path: Path, floor: Space) -> None:
    rig = Rig(tmp_path, floor, after=0.0)
    rig.say("plant/a")
    rig.say("alarm/a")
    await rig.second()
    assert files(rig.folder) == [] and rig.heard.values == []
    assert rig.metrics.counts["blackbox_failed"] == 1
    assert rig.boxes.status()[0]["error"] == "the disk is full"


@runs
async def test_a_stop_writes_what_was_asked_for(tmp_path: Path) -> None:
    rig = Rig(tmp_path, after=60.0)
    rig.say("plant/a", b"\xff")
    rig.say("alarm/a")
    await rig.boxes.close()
    assert rig.rows()[1]["base64"] == "/w=="


@runs
async def test_commands(tmp_path: Path) -> None:
    rig = Rig(tmp_path, trigger=None, after=0.0)
    commands = rig.boxes.commands()
    rig.say("alarm/a")
    await rig.second()
    assert rig.heard.values == []
    assert commands["blackbox-save"]({"name": "press"})["begun"]
    assert not commands["blackbox-save"]({"name": "press"})["begun"]
    await rig.second()
    assert rig.rows()[0]["cause"] == "command"
    (status,) = await commands["blackbox"]({})
    assert status["files"] == [path.name for path in files(rig.folder)]
    with pytest.raises(GatewayError, match="there is no black box x; there are: press"):
        commands["blackbox-save"]({"name": "x"})


def test_a_file_that_is_not_whole_is_said_to_be_so(tmp_path: Path) -> None:
    ring = Ring(10.0, 0.0, 10_000, lambda: (1.0, START))
    ring.deliver(Message("a", b"x" * 50), None)
    path = write(tmp_path / "blackbox" / "p", "p", Recording("c", START, list(ring._rows), 0), 1)
    assert find(tmp_path, f"p/{path.name}") == find(tmp_path, path.name) == find(tmp_path, str(path)) == path
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(GatewayError, match="ends in the middle"):
        list(read(path))
    path.write_bytes(b"nonsense")
    with pytest.raises(GatewayError, match="is no file of a black box"):
        list(read(path))
    with pytest.raises(GatewayError, match="there is no file"):
        find(tmp_path, "../../x.jsonl.zz")


def test_the_page(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "gateway.toml"
    path.write_text(block)
    assert read_settings(path, Settings, kinds).value.blackbox["press"].max_bytes == 4 << 20
    assert [key.name for key in keys(BlackBox) if f"| `{key.name}` |" not in PAGE] == []
    path.write_text(block.replace('"plant/press/#"', '"a/#/b"'))
    with pytest.raises(ConfigError, match="gateway.toml:2: blackbox.press.topics"):
        read_settings(path, Settings, kinds)
