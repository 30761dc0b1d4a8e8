"""Auto-subscribe: subscriptions that the gateway makes for each client when it connects.

They are what a SUBSCRIBE of the client would be: the same access rules, rewrites and bounds; one that is refused
is counted and left out. They stand before CONNACK is sent; the retained messages follow CONNACK.

A topic may hold ``{client_id}``, ``{username}`` and ``{address}`` (the host without its port). Where a client has
no such value, or one with ``/``, ``+`` or ``#`` in it, it does not get that subscription: a client must not
choose another's topics by its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gateway.mqtt.packets import Filter
from gateway.topic import filter_problem

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection

VARIABLES: Final = ("client_id", "username", "address")
_VARIABLE: Final = re.compile(r"\{(client_id|username|address)\}")


class AutoSubscription:
    """One subscription for everybody. ``topic`` is a filter with variables; the rest as in SUBSCRIBE (3.8.3.1)."""

    __slots__ = ("_needs", "no_local", "qos", "retain_as_published", "retain_handling", "topic")

    def __init__(
        self,
        topic: str,
        qos: int = 0,
        no_local: bool = False,
        retain_as_published: bool = False,
        retain_handling: int = 0,
    ) -> None:
        self.topic = topic
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.retain_handling = retain_handling
        self._needs = [name for name in VARIABLES if f"{{{name}}}" in topic]

    def filter_for(self, connection: Connection) -> Filter | None:
        """The subscription of one client, or None when a variable has no usable value."""
        pattern = self.topic
        if self._needs:
            values = _values(connection)
            for name in self._needs:
                value = values[name]
                if not value or not {"/", "+", "#"}.isdisjoint(value):
                    return None
            pattern = _fill(pattern, values)
            if filter_problem(pattern):
                return None
        shared = pattern.startswith("$share/")
        # [MQTT-3.8.3-4]: No Local and a shared subscription exclude each other.
        no_local = self.no_local and not shared
        return Filter(pattern, self.qos, no_local, self.retain_as_published, self.retain_handling)


def _fill(topic: str, values: dict[str, str | None]) -> str:
    """Once from left to right: a value that looks like a variable stays text."""
    return _VARIABLE.sub(lambda found: values[found[1]] or "", topic)


def _values(connection: Connection) -> dict[str, str | None]:
    session = connection.session
    assert session is not None, "called when CONNECT is admitted"
    return {
        "client_id": session.client_id,
        "username": session.username,
        "address": connection.peer.host,
    }


def template_problem(topic: str) -> str | None:
    """What ``topic`` must be, or None when it is a filter with known variables."""
    left = topic
    for name in VARIABLES:
        left = left.replace(f"{{{name}}}", "x")
    if "{" in left or "}" in left:
        return "must have no other variables than " + ", ".join(f"{{{name}}}" for name in VARIABLES)
    problem = filter_problem(left)
    return f"must be a topic filter, but it {problem}" if problem else None
