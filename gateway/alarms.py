"""What somebody should look at: alarms by name, each raised and cleared once.

An alarm is logged, stands in ``gateway status``, and is a retained message at ``$SYS/gateway/alarms/NAME``:
``{"alarm", "text", "since"}``; when it is over, the message is taken away. The message has QoS 0: nothing is stored
for it, so it reaches subscribers also while the disk takes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.clock import Clock, iso_time
from gateway.errors import GatewayError
from gateway.message import Message, dump_json
from gateway.told_alarms import MAX_TEXT, NAME

log = logging.getLogger("gateway.alarms")

ROOT: Final = "$SYS/gateway/alarms"

MOST: Final = 64
"""Alarms that may stand when one more is asked for from outside."""

Command = Callable[[Mapping[str, Any]], Any]


class Publisher(Protocol):
    """What alarms need of the broker."""

    def publish(self, message: Message) -> int:
        """Route it."""


class Alarms:
    """Alarms that stand, oldest first. Names are words from the code, so there are few."""

    __slots__ = ("_clock", "_publisher", "_standing")

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self._standing: dict[str, tuple[str, float]] = {}

    def update(self, found: Mapping[str, str | None]) -> None:
        """Bring the alarms named in ``found`` up to date: a text raises one, None clears it."""
        for name, text in found.items():
            standing = self._standing.get(name)
            if text is None and standing is not None:
                del self._standing[name]
                log.warning("alarm is over", extra={"alarm": name})
                self._say(name, b"")
            elif text is not None and standing is None:
                since = self._clock.time()
                self._standing[name] = text, since
                log.error("alarm", extra={"alarm": name, "text": text})
                self._say(name, dump_json({"alarm": name, "text": text, "since": iso_time(since)}))
            elif text is not None and standing is not None:
                self._standing[name] = text, standing[1]

    def commands(self) -> dict[str, Command]:
        """For the control socket: ``alarm`` with ``name`` and ``text``, or without a text when it is over. What watches
        the machine beside us tells us so what we cannot see."""
        return {"alarm": self._on_alarm}

    def _on_alarm(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, text = request.get("name"), request.get("text")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise GatewayError("name: must be 1 to 64 lower-case letters, digits and '_'")
        if text is not None and (not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT):
            raise GatewayError(f"text: must have 1 to {MAX_TEXT} characters, or be null")
        if text is not None and name not in self._standing and len(self._standing) >= MOST:
            raise GatewayError(f"{MOST} alarms stand already")
        self.update({name: text})
        return {"alarm": name, "stands": text is not None}

    def status(self) -> list[dict[str, Any]]:
        """For status; the text is the newest."""
        return [
            {"alarm": name, "text": text, "since": iso_time(since)} for name, (text, since) in self._standing.items()
        ]

    def _say(self, name: str, payload: bytes) -> None:
        self._publisher.publish(
            Message(f"{ROOT}/{name}", payload, retain=True, time=self._clock.time(), source="alarms")
        )
