"""Which topics go to which uplinks, and in which class: the ``forward`` entries of all uplinks, by filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.store.rooms import ROOMS


class Forward(Protocol):
    """A ``forward`` entry of an uplink."""

    @property
    def filter(self) -> str: ...
    @property
    def class_(self) -> str: ...


class Route(NamedTuple):
    """One ``forward`` entry. ``place``: among those of its uplink; the first that matches a topic decides."""

    uplink: str
    place: int
    room: int


def routes_of(forwards: Mapping[str, Sequence[Forward]]) -> dict[str, tuple[Route, ...]]:
    """By filter, since the broker knows a subscriber and a filter once."""
    found: dict[str, tuple[Route, ...]] = {}
    for uplink, entries in forwards.items():
        for place, entry in enumerate(entries):
            route = Route(uplink, place, ROOMS.index(entry.class_))
            found[entry.filter] = (*found.get(entry.filter, ()), route)
    return found


def needs_of(options: Sequence[tuple[Route, ...]]) -> tuple[int, tuple[str, ...]]:
    """The class of a topic and the uplinks that must have it, from the routes of all filters that match it.

    Each uplink's first entry decides for it; where they do not agree, the row is in the better kept class: whatever
    is not telemetry.
    """
    first: dict[str, Route] = {}
    for route in sorted((route for routes in options for route in routes), key=lambda route: route.place):
        first.setdefault(route.uplink, route)
    return max(route.room for route in first.values()), tuple(first)
