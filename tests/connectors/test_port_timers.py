"""What a port publishes without a new sample, and what it remembers."""

from __future__ import annotations

from connectors.test_port import Sink
from gateway.clock import FixedClock
from gateway.connectors.base import Quality, Sample
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.port import DevicePort


def test_a_held_value_goes_out_and_an_old_one_is_repeated() -> None:
    sink, clock, booked = Sink(), FixedClock(), {"produced": 0, "thinned": 0}

    def book(name: str, count: int) -> None:
        booked[name] += count

    points = (
        PointSettings(name="held", min_interval=10.0),
        PointSettings(name="repeated", deadband=5.0, max_interval=30.0),
        PointSettings(name="plain"),
    )
    port = DevicePort(
        "boiler", DeviceSettings(format="value"), points, clock=clock, publisher=sink, shared={}, book=book
    )
    port.tick()
    for value in (1, 2, 3):
        port.emit([Sample(point.name, value, Quality.GOOD, 0.0) for point in points])
        clock.advance(1)
    port.tick()
    assert [message.payload for message in sink.got if message.topic != "boiler/plain"] == [b"1", b"1"]
    clock.advance(8)
    port.tick()
    assert (sink.got[-1].topic, sink.got[-1].payload) == ("boiler/held", b"3")
    clock.advance(20)
    port.tick()
    assert (sink.got[-1].topic, sink.got[-1].payload) == ("boiler/repeated", b"1")
    assert booked["produced"] - booked["thinned"] == len(sink.got)
    assert port.last["held"].value == port.last["repeated"].value == 3


def test_bare_values_are_not_repeated_while_they_are_not_good() -> None:
    sink, clock, booked = Sink(), FixedClock(), {"produced": 0, "thinned": 0}

    def book(name: str, count: int) -> None:
        booked[name] += count

    points = (PointSettings(name="p", max_interval=30.0),)
    port = DevicePort(
        "boiler", DeviceSettings(format="value"), points, clock=clock, publisher=sink, shared={}, book=book
    )
    port.emit([Sample("p", None, Quality.BAD, 0.0, "x")])
    clock.advance(31)
    port.tick()
    assert sink.got == [] and booked == {"produced": 2, "thinned": 2}
