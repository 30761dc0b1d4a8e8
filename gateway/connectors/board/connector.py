"""The board as a device: reads what is due in a thread, makes samples of it, and says which alarms stand.

Files below /sys are answered by drivers, and a file system may be stuck: neither may hold up the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.connectors.base import Connector, Port, Sample
from gateway.connectors.board.address import Place
from gateway.connectors.board.care import Care
from gateway.connectors.board.config import BoardDevice
from gateway.connectors.board.readings import Board, NotTold
from gateway.connectors.points import Point
from gateway.connectors.polling import Rates
from gateway.errors import Rejected, Retry
from gateway.message import Value

NO_RIGHT: Final = (
    "the service may not write below /sys; a drop-in with ReadWritePaths=/sys/class/leds /sys/devices lets it, and "
    "a udev rule that gives the file to its group (README of the kind)"
)

Reading = tuple[str, Value, str]
"""Name of a point, what was read, or why it was not."""


class BoardConnector(Connector):
    """One board. ``sleep`` is for tests."""

    def __init__(
        self,
        name: str,
        config: BoardDevice,
        port: Port,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._config = config
        self._port = port
        self._clock = port.clock
        self._sleep = sleep
        self._board = Board(Path(config.root))
        self._places = {point.name: point.place for point in config.point}
        self._points = {point.name: Point(point, config) for point in config.point}
        self._rates = Rates(name, {name: point.poll for name, point in self._points.items()}, 0.0, config.phase)
        self._care = Care(config.hot, config.low_space, config.worn)
        self._is_up = False
        self._last_error = ""

    async def run(self, up: Callable[[], None]) -> None:
        try:
            await self._find()
            self._rates.restart(self._clock.now())
            self._is_up = True
            up()
            while True:
                await self._sleep(self._rates.wait(self._clock.now()))
                due = self._rates.begin(self._clock.now())
                readings = await asyncio.to_thread(self._read, due)
                if not readings:
                    await self._find()
                self._took(readings)
                self._rates.finish()
        except Retry as error:
            self._last_error = str(error)
            self._missed(str(error))
            raise
        finally:
            self._is_up = False

    async def _find(self) -> None:
        """Raises Retry when there is nothing to read."""
        if not await asyncio.to_thread(lambda: self._board.is_there):
            raise Retry(f"no sys and proc in {self._config.root}")

    async def write(self, point: str, value: Value) -> Value:
        target = self._points.get(point)
        if target is None:
            raise Rejected(f'no point is called "{point}"')
        place = self._places[point]
        if place.quantity != "led":
            raise Rejected(f"{place.quantity} cannot be written")
        raw = target.to_device(value)
        assert isinstance(raw, int)
        if not self._is_up:
            raise Retry("not connected" + (f": {self._last_error}" if self._last_error else ""))
        try:
            back = await asyncio.to_thread(self._light, place, raw)
        except PermissionError:
            raise Rejected(NO_RIGHT) from None
        except ValueError as error:
            raise Rejected(str(error)) from None
        except (OSError, NotTold) as error:
            raise Retry(f"the LED did not take it: {error}") from None
        sample = target.took(back, self._clock.time(), self._clock.now())
        self._port.emit([sample])
        if back != raw:
            raise Retry(f"written, but the LED keeps {sample.value!r}")
        return sample.value

    def _light(self, place: Place, brightness: int) -> Value:
        self._board.light(place.which, brightness)
        return self._board.read(place)

    def _read(self, due: Iterable[str]) -> list[Reading]:
        """In a thread: everything that is due; nothing when the board is gone."""
        found: list[Reading] = []
        for name in due:
            try:
                found.append((name, self._board.read(self._places[name]), ""))
            except NotTold as error:
                found.append((name, None, str(error)))
        if any(reason for _, _, reason in found) and not self._board.is_there:
            return []
        return found

    def _took(self, readings: Iterable[Reading]) -> None:
        time, now = self._clock.time(), self._clock.now()
        samples: list[Sample | None] = []
        for name, value, reason in readings:
            point = self._points[name]
            if reason:
                self._last_error = reason
                samples.append(point.bad(reason, time))
                continue
            samples.append(point.took(value, time, now))
            self._look_after(self._places[name], value, now)
        self._emit(samples)

    def _look_after(self, place: Place, value: Value, now: float) -> None:
        """Limits are of what the board says, whatever the point makes of it."""
        quantity, which = place
        if quantity == "under_voltage" or quantity == "throttled":
            assert isinstance(value, int)
            self._care.under_voltage(bool(value & 1), now)
        elif quantity == "temperature" and isinstance(value, float):
            self._care.temperature(which, value)
        elif quantity == "free_percent" and isinstance(value, float):
            self._care.space(which, value)
        elif quantity == "wear" and isinstance(value, float):
            self._care.wear(which, value)

    def _missed(self, reason: str) -> None:
        time, now = self._clock.time(), self._clock.now()
        self._emit([point.missed(reason, time, now) for point in self._points.values()])

    def _emit(self, samples: Iterable[Sample | None]) -> None:
        news = [sample for sample in samples if sample is not None]
        if news:
            self._port.emit(news)

    def alarms(self) -> Mapping[str, str | None]:
        return self._care.alarms()

    def status(self) -> dict[str, Any]:
        return {
            "state": "up" if self._is_up else "down",
            "scans": self._rates.status(),
            "alarms": {name: text for name, text in self._care.alarms().items() if text is not None},
            "last_error": self._last_error,
        }
