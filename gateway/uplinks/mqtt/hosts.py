"""Which of the broker's hosts is tried next.

They are tried in the order of the settings, each at once after the one before has failed: one round of all is one
attempt, and what lies between attempts is the back-off of whoever makes them. The host that worked last begins the
next round. The first host is preferred: when it has rested for ``RETURN`` seconds since it failed, a round begins
with it again. Only a connection that is to be made anyway asks; one that works is never given up for another host.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.uplinks.mqtt.config import Endpoint

RETURN: Final = 300.0
"""Seconds that the first host rests after a failure, while another one works."""

STEADY: Final = 2.0
"""Seconds after which a connection that ends counts as one that worked; a shorter one is a failure of its host."""


class Hosts:
    """The hosts of one uplink, over all its connections. ``current`` is the one in use, or that was in use last."""

    __slots__ = ("_connected", "_endpoints", "_first_failed", "_next")

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._next = 0
        self._first_failed: float | None = None
        self._connected: float | None = None

    @property
    def current(self) -> Endpoint:
        """The host of the connection that is, or the first one of the next round."""
        return self._endpoints[self._next]

    def round(self, now: float) -> list[Endpoint]:
        """Every host once, in the order in which they are to be tried at ``now``."""
        if self._first_failed is None or now - self._first_failed >= RETURN:
            self._next = 0
        return [*self._endpoints[self._next :], *self._endpoints[: self._next]]

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """There is no connection to be had at this one."""
        at = self._endpoints.index(endpoint)
        if at == 0:
            self._first_failed = now
        self._next = (at + 1) % len(self._endpoints)

    def connected(self, endpoint: Endpoint, now: float) -> None:
        """The broker there has taken us."""
        self._next = self._endpoints.index(endpoint)
        self._connected = now
        if self._next == 0:
            self._first_failed = None

    def ended(self, now: float) -> None:
        """The connection is over; when it was short, its host has failed."""
        if self._connected is not None and now - self._connected < STEADY:
            self.failed(self.current, now)
        self._connected = None
