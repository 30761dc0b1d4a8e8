"""What a port publishes without a new sample, and what it remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from connectors.fakes import run
from connectors.test_port import Sink
from gateway.clock import FixedClock
from gateway.connectors.base import Quality, Sample
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.port import AWAY, DevicePort
from gateway.errors import Retry


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


def make(*points: PointSettings) -> tuple[DevicePort, Sink, FixedClock]:
    sink, clock = Sink(), FixedClock()
    port = DevicePort(
        "d", DeviceSettings(), points, clock=clock, publisher=sink, shared={}, book=lambda name, count: None
    )
    return port, sink, clock


def live(port: DevicePort, *samples: Sample) -> None:
    """One life: up, some samples, and away."""

    async def life(up: Callable[[], None]) -> None:
        up()
        port.emit(samples)
        raise Retry("connection lost")

    ups: list[bool] = []
    with pytest.raises(Retry, match="connection lost"):
        run(port.life(life, lambda: ups.append(True)))
    assert ups == [True]


def good(point: str, value: int) -> Sample:
    return Sample(point, value, Quality.GOOD, 500.0)


def test_values_of_a_device_that_is_away_grow_old_although_nobody_tries() -> None:
    """The next attempt to reach it may be a minute away: three polls are over long before."""
    port, sink, clock = make(
        PointSettings(name="fast"), PointSettings(name="slow", poll=60.0), PointSettings(name="bad")
    )
    live(port, good("fast", 1), good("slow", 2), Sample("bad", None, Quality.BAD, 500.0, "exception 2"))
    del sink.got[:]
    clock.advance(2.4)
    port.tick()
    assert sink.got == []
    clock.advance(0.2)
    port.tick()
    port.tick()
    (message,) = sink.got
    assert (message.topic, message.value["v"], message.value["q"], message.value["why"]) == ("d/fast", 1, "stale", AWAY)
    assert message.time == 500.0
    clock.advance(150)
    port.tick()
    assert [message.topic for message in sink.got] == ["d/fast", "d/slow"]


def test_what_is_known_of_a_device_that_is_away_or_just_back_is_not_relied_on() -> None:
    port, _, _ = make(PointSettings(name="a"), PointSettings(name="b"))
    assert port.known("a") is None

    async def main() -> None:
        def first(sample: Sample) -> Callable[[Callable[[], None]], object]:
            async def life(up: Callable[[], None]) -> None:
                up()
                port.emit([sample])
                assert port.known(sample.point) is sample

            return life

        await port.life(first(good("a", 1)), lambda: None)  # type: ignore[arg-type]
        away = port.known("a")
        assert away is not None and (away.value, away.quality, away.reason) == (1, Quality.STALE, AWAY)

        async def second(up: Callable[[], None]) -> None:
            up()
            port.emit([good("b", 2)])
            back, other = port.known("a"), port.known("b")
            assert back is not None and back.quality is Quality.STALE
            assert other is not None and other.quality is Quality.GOOD
            port.emit([good("a", 1)])
            again = port.known("a")
            assert again is not None and again.quality is Quality.GOOD
            await asyncio.sleep(0)

        await port.life(second, lambda: None)

    run(main())


def test_an_attempt_that_never_came_up_leaves_the_time_since_when_it_is_away() -> None:
    port, sink, clock = make(PointSettings(name="a"))
    live(port, good("a", 1))

    async def nobody(up: Callable[[], None]) -> None:
        raise Retry("nobody there")

    for _ in range(4):
        clock.advance(1)
        with pytest.raises(Retry):
            run(port.life(nobody, lambda: None))
    port.tick()
    assert sink.got[-1].value["q"] == "stale"
