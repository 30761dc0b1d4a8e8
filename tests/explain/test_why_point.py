"""The device's part of the path of a value: raw, decoding, quality, deadband, and what is not known."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway import kinds
from gateway.broker.broker import Broker
from gateway.cli.why_text import path_text, step_text
from gateway.clock import FixedClock
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.connectors.base import Quality, Sample
from gateway.connectors.port import DevicePort
from gateway.explain.why_point import point_path

TOPIC = "plant/boiler/temperature"


class Stage:
    """One device whose samples are given by hand."""

    def __init__(self, folder: Path, point: str = "", device: str = "") -> None:
        path = folder / "gateway.toml"
        path.write_text(
            '[device.boiler]\nkind = "modbus"\nurl = "tcp://127.0.0.1:1"\ntopic = "plant/boiler"\n'
            f'{device}[[device.boiler.point]]\nname = "temperature"\naddress = "holding:0"\n{point}'
        )
        self.loaded: Loaded[Settings] = read(path, Settings, kinds)
        self.clock = FixedClock()
        config: Any = self.loaded.value.device["boiler"]
        self.port = DevicePort(
            "boiler",
            config,
            config.point,
            clock=self.clock,
            publisher=Broker(),
            shared={},
            book=lambda name, count: None,
        )
        self.unknown: list[str] = []

    def says(self, value: Any, quality: Quality = Quality.GOOD, reason: str = "", raw: str = "") -> None:
        self.port.emit([Sample("temperature", value, quality, self.clock.time(), reason, raw)])
        self.clock.advance(1)

    def path(self, topic: str = TOPIC) -> Any:
        self.unknown = []
        return point_path(self.loaded, {"boiler": self.port}, topic, self.clock, self.unknown)


def test_other_topics_are_of_no_device(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.path("plant/boiler/nix") is None
    assert stage.path("temperature") is None


def test_nothing_has_come(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.path()["sample"] is None
    assert stage.unknown == ["a value: nothing has come from the device yet"]


def test_a_good_value_and_its_raw_number_worked_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 'scale = 0.1\nunit = "Cel"\ndeadband = 0.2\n')
    stage.says(71.3)
    path = stage.path()
    assert (path["device"], path["kind"], path["point"]) == ("boiler", "modbus", "temperature")
    assert path["decoding"]["scale"] == 0.1
    assert path["decoding"]["address"] == "holding:0"
    assert path["thinning"] == {"deadband": 0.2}
    assert path["raw"] == 713
    assert path["published"] == {"published": True, "reason": "published 1.0 s ago"}
    assert "worked out from the value" in stage.unknown[0]
    stage.says(71.4)
    path = stage.path()
    assert path["published"]["published"] is False
    assert path["published"]["reason"] == "it has not left the deadband of 0.2 around 71.3"
    assert path["published"]["last_published"]["value"] == 71.3


def test_a_bad_answer_shows_what_the_device_said(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.says(None, Quality.BAD, "nonsense", "ff 02")
    path = stage.path()
    assert (path["raw"], path["sample"]["reason"], stage.unknown) == ("ff 02", "nonsense", [])
    stage.says(5)
    assert stage.path()["last_trouble"]["raw"] == "ff 02"


def test_format_value_publishes_only_good_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path, device='format = "value"\n')
    stage.says(1, Quality.UNCERTAIN, "doubt")
    assert stage.path()["published"] == {"published": False, "reason": 'format = "value" publishes only good values'}


def test_a_device_that_is_away_is_stale_now(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.says(5)

    async def run(up: Any) -> None:
        up()

    asyncio.run(stage.port.life(run, lambda: None))
    assert stage.path()["now"]["quality"] == "stale"


def test_as_a_person_reads_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "scale = 0.1\ndeadband = 0.2\n")
    stage.says(71.3)
    stage.says(71.4)
    found = {
        "topic": TOPIC,
        "point": stage.path(),
        "message": {
            "payload": "\x1b", "known_from": "retained", "source": "client:a", "bytes": 1, "qos": 1, "retain": True,
            "time": None,
        },
        "made_by": ["r"],
        "rules": [
            {"name": "r", "seen": 2, "fired": 1, "errors": 0, "last_error": None, "now": {"when": False, "did": []}},
            {"name": "s", "seen": 2, "fired": 1, "errors": 1, "last_error": "x", "now": {"error": "y"}},
        ],
        "subscribers": {
            "receivers": 2, "retained": True, "more_clients": 1, "captured_by": ["$stream/s"],
            "clients": [{"client": "c", "connected": True, "filters": ["#"], "qos": 1, "in_flight": 1, "pending": 2}],
        },
        "outbox": {
            "forwards": [{"uplink": "cloud", "filter": "#", "class": "telemetry"}],
            "rows": [
                {"message_id": "1:2", "class": "telemetry", "time": "t", "payload": "p", "uplinks": {"cloud": "waits"}}
            ],
        },
        "unknown": ["a thing"],
    }  # fmt: skip
    text = path_text(found)
    assert "\x1b" not in text
    assert "raw           714 (worked out from the value)" in text
    assert "deadband      not published: it has not left the deadband of 0.2 around 71.3 [deadband=0.2]" in text
    assert "with this message now: its condition is false" in text
    assert "client        c connected, # qos 1, 1 under way, 2 wait" in text
    assert "row           1:2 telemetry t p - cloud: waits" in text
    assert text.endswith("not known     a thing")
    step = {"time": 0.0, "after_ms": 1.5, "step": "acknowledged", "uplink": "cloud", "row": 7}
    assert step_text(step) == "1970-01-01T00:00:00.000Z +1.5 ms acknowledged uplink=cloud row=7"
