"""What an uplink sees of the store: rows to send, and a place to say that they have arrived; and of the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from gateway.outbound import OutboxReader, Row

__all__ = ["OnSite", "OutboxReader", "Row", "Site"]


class Site(NamedTuple):
    """What is around an uplink.

    devices  settings of the devices by name, each with ``topic``, ``format`` and its points
    number   ``await number(name, modulus)``: the next number of a counter that outlives the process, safe on the
             disk: 0 at first, and 0 again after ``modulus - 1``
    """

    devices: Mapping[str, Any]
    number: Callable[[str, int], Awaitable[int]]


class OnSite:
    """Base of an uplink that wants to see the site: its constructor takes ``site``, and none of what a bridge needs."""

    def leave(self) -> None:
        """It will not run again: let go of what it has subscribed to on the site."""
