"""What is said of an uplink: one status for ``gateway uplink``, and retained at ``$SYS/gateway/uplinks/NAME/status``.

``state`` is for a lamp:

    green   connected, and nothing waits for long
    yellow  connected, but it saves, rests, has not caught up within a minute, or a subscription was refused
    red     not connected

``reason`` says why nothing moves, ``last_error`` what happened last and what may help.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.broker.port import Publisher
from gateway.clock import Clock, iso_time
from gateway.errors import GatewayError
from gateway.message import Message

ROOT: Final = "$SYS/gateway/uplinks"

OLD: Final = 60.0
"""Seconds that a row may wait on a connection that works until the lamp is yellow."""

Lookup = Callable[[str], dict[str, Any] | None]


class Reporting(Protocol):
    """An uplink as it is seen from here."""

    def status(self) -> dict[str, Any]:
        """Its own view: connection, counters, last error."""


class Reports:
    """See the module's docstring. ``tick`` it about once a second.

    waiting   depth and oldest_age of what waits for an uplink, and its dead letters
    budget    see ``Accounts.status``
    interval  seconds between two messages; 0 publishes nothing
    """

    def __init__(
        self,
        uplinks: Mapping[str, Reporting],
        waiting: Callable[[str], dict[str, Any]],
        budget: Lookup,
        publisher: Publisher,
        clock: Clock,
        interval: float,
    ) -> None:
        self._uplinks = uplinks
        self._waiting = waiting
        self._budget = budget
        self._publisher = publisher
        self._clock = clock
        self._interval = interval
        self._due = 0.0
        self._before: dict[str, tuple[float, dict[str, int]]] = {}
        self._rates: dict[str, dict[str, float]] = {}
        self._said: dict[str, dict[str, Any]] = {}

    def tick(self) -> None:
        """Say how each uplink is, when an interval has passed or its lamp has changed."""
        if not self._interval:
            return
        now = self._clock.now()
        is_due = now >= self._due
        if is_due:
            self._due = now + self._interval
            self._measure(now)
        for name in self._uplinks:
            said = self._said.get(name)
            if not is_due and said is not None and said["state"] == self._lamp_now(name):
                continue
            report = self.of(name)
            if said is None or report["state"] != said["state"] or (is_due and report != said):
                self._said[name] = report
                self._publish(name, report)

    def forget(self, name: str) -> None:
        """The uplink is gone: nothing is said of it any more."""
        for known in (self._before, self._rates, self._said):
            known.pop(name, None)
        if self._interval:
            self._publisher.publish(
                Message(f"{ROOT}/{name}/status", b"", retain=True, time=self._clock.time(), source="uplinks")
            )

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """The requests that it answers, by name."""
        return {"uplinks": lambda request: [self.of(name) for name in self._uplinks], "uplink": self._one}

    def of(self, name: str) -> dict[str, Any]:
        """The status of one uplink; plain JSON types. Rates are per second, over the last interval."""
        own, waiting, budget = self._uplinks[name].status(), self._waiting(name), self._budget(name)
        return {
            "uplink": name,
            "state": _lamp(own, waiting, budget),
            "connection": own["state"],
            "reason": own["reason"],
            "host": own["host"],
            "connected_since": own["connected_since"],
            **waiting,
            "in_flight": own["in_flight"],
            "sent": own["sent"],
            "acked": own["acked"],
            "refused": own["refused"],
            "bytes_out": own["wire_out"],
            "bytes_in": own["wire_in"],
            "rates": self._rates.get(name, {"acked": 0.0, "bytes_out": 0.0, "bytes_in": 0.0}),
            "budget": budget,
            "last_error": own["last_error"],
        }

    def _lamp_now(self, name: str) -> str:
        """The state alone, for every second in between: what waits is counted only where it matters."""
        own = self._uplinks[name].status()
        if own["state"] != "up":
            return "red"
        return _lamp(own, self._waiting(name), self._budget(name))

    def _one(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request.get("uplink")
        if name not in self._uplinks:
            known = ", ".join(self._uplinks) or "none"
            raise GatewayError(f"there is no uplink {name!r}; there are: {known}")
        return self.of(str(name))

    def _measure(self, now: float) -> None:
        for name, uplink in self._uplinks.items():
            own = uplink.status()
            counters = {"acked": own["acked"], "bytes_out": own["wire_out"], "bytes_in": own["wire_in"]}
            since, before = self._before.get(name, (now, counters))
            self._before[name] = now, counters
            if now > since:
                span = now - since
                self._rates[name] = {key: round((counters[key] - before[key]) / span, 1) for key in counters}

    def _publish(self, name: str, report: dict[str, Any]) -> None:
        time = self._clock.time()
        text = json.dumps({**report, "time": iso_time(time)}).encode()
        self._publisher.publish(Message(f"{ROOT}/{name}/status", text, retain=True, time=time, source="uplinks"))


def _lamp(own: dict[str, Any], waiting: dict[str, Any], budget: dict[str, Any] | None) -> str:
    if own["state"] != "up":
        return "red"
    is_late = waiting["depth"] and (waiting["oldest_age"] or 0.0) > OLD
    if is_late or own["reason"] == "paused" or own["last_error"] or (budget is not None and budget["level"]):
        return "yellow"
    return "green"
