"""Samples become messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateway.broker.port import Done
from gateway.clock import FixedClock
from gateway.connectors.base import Quality, Sample
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.port import MOST_TROUBLES, DevicePort
from gateway.message import Message

POINTS = (PointSettings(name="t", unit="Cel", deadband=0.5), PointSettings(name="n"))


class Sink:
    """A publisher that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    def publish(self, message: Message, done: Done | None = None) -> int:
        self.got.append(message)
        return 1

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        raise AssertionError

    def subscribe(self, pattern: str, subscriber: Any, options: Any = None) -> bool:
        raise AssertionError

    def unsubscribe(self, pattern: str, subscriber: Any) -> bool:
        raise AssertionError

    def retained(self, pattern: str) -> list[Message]:
        raise AssertionError


def make(settings: DeviceSettings) -> tuple[DevicePort, Sink, Counter[str]]:
    sink, booked = Sink(), Counter[str]()

    def book(name: str, count: int) -> None:
        booked[name] += count

    port = DevicePort("boiler", settings, POINTS, clock=FixedClock(), publisher=sink, shared={}, book=book)
    return port, sink, booked


def test_value_quality_time_and_unit_go_together() -> None:
    port, sink, booked = make(DeviceSettings(topic="plant/boiler"))
    port.emit([Sample("t", 71.5, Quality.GOOD, 1_700_000_000.5), Sample("n", 3, Quality.GOOD, 1_700_000_000.5)])
    assert [(message.topic, message.payload) for message in sink.got] == [
        ("plant/boiler/t", b'{"v":71.5,"q":"good","t":"2023-11-14T22:13:20.500Z","u":"Cel"}'),
        ("plant/boiler/n", b'{"v":3,"q":"good","t":"2023-11-14T22:13:20.500Z"}'),
    ]
    assert {(message.qos, message.source, message.time) for message in sink.got} == {
        (1, "device:boiler", 1_700_000_000.5)
    }
    assert booked == {"produced": 2}


def test_trouble_says_why_and_carries_no_new_value() -> None:
    port, sink, _ = make(DeviceSettings())
    port.emit([Sample("t", None, Quality.BAD, 0.0, "exception 2"), Sample("n", 3, Quality.STALE, 0.0, "away")])
    assert [(message.topic, message.payload) for message in sink.got] == [
        ("boiler/t", b'{"v":null,"q":"bad","t":"1970-01-01T00:00:00.000Z","u":"Cel","why":"exception 2"}'),
        ("boiler/n", b'{"v":3,"q":"stale","t":"1970-01-01T00:00:00.000Z","why":"away"}'),
    ]


def test_bare_values_are_published_only_while_good() -> None:
    port, sink, booked = make(DeviceSettings(format="value"))
    port.emit([Sample("n", 0, Quality.GOOD, 0.0)])
    port.emit([Sample("n", None, Quality.BAD, 0.0, "x")])
    port.emit([Sample("n", 0, Quality.GOOD, 0.0)])
    assert [message.payload for message in sink.got] == [b"0", b"0"]
    assert booked == {"produced": 3, "thinned": 1}


def test_what_the_deadband_holds_back_is_counted() -> None:
    port, sink, booked = make(DeviceSettings())
    for value in (1.0, 1.1, 1.2, 1.6):
        port.emit([Sample("t", value, Quality.GOOD, 0.0)])
    assert [message.value["v"] for message in sink.got] == [1.0, 1.6]
    assert booked == {"produced": 4, "thinned": 2}


def test_what_is_shared_is_made_once() -> None:
    port, _, _ = make(DeviceSettings())
    first = port.share("bus", object)
    assert port.share("bus", object) is first


def test_status_counts_points_and_says_what_is_wrong() -> None:
    port, _, _ = make(DeviceSettings())
    assert port.status() == {"unknown": 2}
    port.emit([Sample("t", 71.5, Quality.GOOD, 1.0)])
    assert port.status() == {"good": 1, "unknown": 1}
    port.emit([Sample("t", None, Quality.BAD, 2.0, "no text", "ff 01"), Sample("n", 3, Quality.STALE, 1.5, "away")])
    assert port.status() == {
        "bad": 1,
        "stale": 1,
        "troubles": {
            "t": {"quality": "bad", "why": "no text", "time": 2.0, "raw": "ff 01"},
            "n": {"quality": "stale", "why": "away", "time": 1.5},
        },
    }
    port.emit([Sample("t", 1, Quality.GOOD, 3.0), Sample("n", 1, Quality.GOOD, 3.0)])
    assert port.status() == {"good": 2}


def test_status_names_a_bounded_number_of_points() -> None:
    points = [PointSettings(name=f"p{n}") for n in range(100)]
    port = DevicePort(
        "d", DeviceSettings(), points, clock=FixedClock(), publisher=Sink(), shared={}, book=lambda name, count: None
    )
    port.emit([Sample(point.name, None, Quality.BAD, 0.0, "away") for point in points])
    assert port.status()["bad"] == 100 and len(port.status()["troubles"]) == MOST_TROUBLES
