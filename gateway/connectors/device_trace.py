"""``gateway device trace``: requests and answers of one device, from the taps that it shares with others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.clock import Clock
from gateway.connectors.base import Sample
from gateway.connectors.tap import Tap, endpoint_of
from gateway.errors import GatewayError

MAX_SECONDS: Final = 300.0

Line = Callable[[dict[str, Any]], None]


class Traceable(Protocol):
    """What is needed of a port."""

    keys: set[str]
    on_bad: list[Callable[[Sample], None]]

    def kept(self) -> list[Sample]:
        """The last bad sample of each point that has one with raw bytes."""


def listen(port: Traceable, shared: Mapping[str, Any], clock: Clock, sink: Line) -> Callable[[], None]:
    """Give each line about the device to ``sink``, begun with the bad values that are kept; returns what stops it.

    A line or net is shared: what others ask there is shown too, for that is what often disturbs.
    Raises GatewayError when the kind has no tap, or too many listen.
    """
    taps = {name: shared[key] for key in sorted(port.keys) if (name := endpoint_of(key)) is not None}
    if not taps:
        raise GatewayError("devices of this kind cannot be traced")
    stops: list[Callable[[], None]] = []

    def stop() -> None:
        for one in stops:
            one()
        stops.clear()

    def bad(sample: Sample) -> None:
        words = f"bad value of {sample.point}: {sample.reason}"
        sink({"time": clock.time(), "direction": "!", "words": words} | ({"raw": sample.raw} if sample.raw else {}))

    for name, tap in taps.items():
        try:
            stops.append(_join(tap, name, clock, sink))
        except ValueError as error:
            stop()
            raise GatewayError(str(error)) from None
    for sample in port.kept():
        bad(sample)
    port.on_bad.append(bad)
    stops.append(lambda: port.on_bad.remove(bad))
    return stop


def _join(tap: Tap, name: str, clock: Clock, sink: Line) -> Callable[[], None]:
    return tap.listen(lambda line: sink({"time": clock.time(), "endpoint": name} | line))


def seconds_of(request: Mapping[str, Any]) -> float:
    """How long a request wants to listen. Raises GatewayError."""
    seconds = request.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= MAX_SECONDS:
        raise GatewayError(f"seconds must be more than 0 and at most {MAX_SECONDS:g}")
    return float(seconds)


def limited(stop: Callable[[], None], seconds: float, end: Callable[[], None]) -> Callable[[], None]:
    """``stop`` and ``end`` after so many seconds; the returned function stops before that."""

    def over() -> None:
        stop()
        end()

    timer = asyncio.get_running_loop().call_later(seconds, over)

    def ended() -> None:
        timer.cancel()
        stop()

    return ended
