"""What makes an action run: the declared shape of ``on``.

    on = { topic = "plant/+/temperature" }
    on = { every = "10s" }
    on = { at = { time = "06:00", days = ["mon", "tue"], zone = "Europe/Berlin" } }
    on = { change = "plant/+/state", start = true }

Several keys of one table are several triggers: each makes it run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from gateway.config.declare import Duration, between, not_empty, setting, topic_filter, topic_level

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "weekday", "weekend", "day"]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

SHORTEST: Final = 0.1
LONGEST: Final = 366 * 86_400.0
"""Seconds of an interval."""

_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


def _times(value: str | tuple[str, ...]) -> str | None:
    for text in (value,) if isinstance(value, str) else value:
        if not _TIME.fullmatch(text):
            return 'must be a time of day such as "06:00" or "23:59:30"'
    return None if value else "must not be empty"


def _zone(value: str) -> str | None:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        return 'must be the name of a time zone, such as "Europe/Berlin" or "UTC"'
    return None


def _filters(value: str | tuple[str, ...]) -> str | None:
    if not value:
        return "must not be empty"
    return next(filter(None, map(topic_filter, (value,) if isinstance(value, str) else value)), None)


def _name(value: str) -> str | None:
    """The name of a device or client, or ``+`` for all."""
    return None if value == "+" else topic_level(value)


def each(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """One or several as several."""
    return () if value is None else (value,) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Times of day."""

    time: str | tuple[str, ...] = setting(text="One time or several.", check=_times, example='["06:00", "18:30:15"]')
    days: tuple[Day, ...] = setting(
        ("day",), text="On which days: mon to sun, weekday, weekend, day for all.", check=not_empty
    )
    zone: str | None = setting(None, text="Time zone. Default: that of the machine.", check=_zone)

    @property
    def seconds(self) -> tuple[int, ...]:
        """The times, as seconds after midnight by the wall clock, in order."""
        found = []
        for text in each(self.time):
            match = _TIME.fullmatch(text)
            assert match is not None
            found.append(int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0))
        return tuple(sorted(set(found)))

    @property
    def weekdays(self) -> frozenset[int]:
        """The days, Monday is 0."""
        groups = {"day": range(7), "weekday": range(5), "weekend": range(5, 7)}
        return frozenset(
            number for day in self.days for number in (groups[day] if day in groups else (DAYS.index(day),))
        )

    @property
    def place(self) -> tzinfo | None:
        """The time zone; None for that of the machine."""
        return None if self.zone is None else UTC if self.zone == "UTC" else ZoneInfo(self.zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Nothing has been seen for a while."""

    topic: str = setting(
        text="Topics that should be heard from; each topic that matches is watched by itself once it was heard.",
        check=topic_filter,
        example='"plant/+/temperature"',
    )
    after: Duration = setting(text="How long nothing may come.", check=between(SHORTEST, LONGEST), example='"5m"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What makes an action run; each key that is given does."""

    topic: str | tuple[str, ...] | None = setting(
        None,
        text="Each message whose topic matches this filter, or one of these.",
        check=_filters,
        example='"plant/+/temperature"',
    )
    change: str | tuple[str, ...] | None = setting(
        None,
        text="A message whose payload is not, byte for byte, that of the message before on the same topic.",
        check=_filters,
    )
    quality: str | tuple[str, ...] | None = setting(
        None, text="A point whose quality is not that of the message before on the same topic.", check=_filters
    )
    timeout: Timeout | None = setting(None, text="", example='{ topic = "plant/+/temperature", after = "5m" }')
    every: Duration | None = setting(None, text="Again and again, evenly.", check=between(SHORTEST, LONGEST))
    at: At | None = setting(None, text="", example='{ time = "06:00", days = ["weekday"] }')
    start: bool = setting(False, text="Once when the gateway has started, or the rule is new.")
    stop: bool = setting(False, text="Once when the gateway stops; what is published then is still stored.")
    connect: str | None = setting(None, text="An MQTT client connects: its client id, or + for each.", check=_name)
    disconnect: str | None = setting(None, text="An MQTT client is gone: its client id, or +.", check=_name)
    subscribe: str | None = setting(None, text="An MQTT client subscribes: its client id, or +.", check=_name)
    device: str | None = setting(None, text="A device comes or goes: its name, or +.", check=_name)
    uplink: str | None = setting(None, text="An uplink comes or goes: its name, or +.", check=_name)

    def problems(self) -> Iterable[tuple[str, str]]:
        """An action that nothing makes run is a mistake."""
        if not any(self.given()):
            yield "", "nothing makes it run; give topic, change, quality, timeout, every, at, start ..."

    def given(self) -> Iterator[Any]:
        """The triggers that are there."""
        for name in (
            *("topic", "change", "quality", "timeout", "every", "at", "start", "stop"),
            *("connect", "disconnect", "subscribe", "device", "uplink"),
        ):
            value = getattr(self, name)
            if value not in (None, False):
                yield value

    @property
    def topics(self) -> tuple[str, ...]:
        """Filters of the messages that make it run as they are."""
        events = [
            f"$SYS/gateway/{kind}/{getattr(self, name)}/{event}"
            for name, kind, event in (
                ("connect", "clients", "connected"),
                ("disconnect", "clients", "disconnected"),
                ("subscribe", "clients", "subscribed"),
                ("device", "devices", "state"),
                ("uplink", "uplinks", "state"),
            )
            if getattr(self, name) is not None
        ]
        return (*each(self.topic), *events)

    @property
    def filters(self) -> tuple[str, ...]:
        """All filters that it listens to, for the search for loops."""
        watched = () if self.timeout is None else (self.timeout.topic,)
        return (*self.topics, *each(self.change), *each(self.quality), *watched)
