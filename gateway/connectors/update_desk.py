"""Updates of the appliance by a command: checked and answered by a command desk, told about at a topic.

``<topic>/bundle/set`` takes the URL of a bundle, or an empty text to give up one that is being fetched. That it was
taken is answered at ``.../set/result``; how far it is stands retained at ``<topic>/status``:
``{"state", "bundle", "time"}`` with ``bytes``, ``size``, ``version`` and ``reason`` where there are such.
The update itself is done by others; see ``gateway.update_request``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from gateway.broker.port import Publisher
from gateway.clock import Clock, iso_time
from gateway.config.update import Update
from gateway.connectors.commands import Desk, Ledger
from gateway.connectors.point_settings import PointSettings
from gateway.connectors.write_rules import WriteLimits
from gateway.durable import write_whole
from gateway.errors import GatewayError, Rejected, Retry
from gateway.message import Message, Value
from gateway.update_request import FOLDER, STATES, leave, parse

NAME: Final = "$update"
"""In the ledger and among the desks; no device can be called so."""

POINT: Final = "bundle"
STATUS: Final = "status.json"

COMMAND_LINE: Final = Path("/proc/cmdline")

_TEXTS: Final = ("bundle", "version", "reason")
_NUMBERS: Final = ("bytes", "size")
MOST_TEXT: Final = 500


class UpdateDesk:
    """Built without I/O; does nothing unless it is enabled. ``state``: the state folder."""

    def __init__(self, config: Update, state: Path, broker: Publisher, ledger: Ledger, clock: Clock) -> None:
        self._config = config
        self._state = state
        self._broker = broker
        self._clock = clock
        point = PointSettings(name=POINT, write=WriteLimits())
        self._desk = Desk(NAME, config.topic, {POINT: point}, self._write, publisher=broker, ledger=ledger, clock=clock)

    def join(self, desks: MutableMapping[str, Desk]) -> None:
        """Take commands, with the desks of the devices; tell again what was told last before this start."""
        if not self._config.enabled:
            return
        desks[NAME] = self._desk
        for pattern in self._desk.filters:
            self._broker.subscribe(pattern, self._desk)
        try:
            status = json.loads((self._state / FOLDER / STATUS).read_text())
        except (OSError, ValueError):
            return
        if isinstance(status, dict):
            self._publish(status)

    async def _write(self, point: str, value: Value) -> Value:
        if not isinstance(value, str):
            raise Rejected("value must be text: the URL of a bundle, or empty")
        if not _has_slots():
            raise Rejected("this machine was not started from a slot of the appliance: it has none to write to")
        request = parse(value, self._config.ca, self._config.max_size) if value else None
        try:
            await asyncio.to_thread(leave, self._state, request)
        except OSError as error:
            raise Retry(f"the request cannot be kept: {error}") from error
        if request is None:
            self._told({"state": "cancelled"})
        else:
            self._told({"state": "requested", "bundle": request.url})
        return value

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        """For the control socket: ``update-told``, by which those that do it say how far they are."""
        return {"update-told": self._on_told}

    def _on_told(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if request.get("state") not in STATES:
            raise GatewayError(f"state: must be one of {', '.join(STATES)}")
        told = {"state": request["state"]}
        for key in _TEXTS:
            if isinstance(text := request.get(key), str):
                told[key] = text[:MOST_TEXT]
        for key in _NUMBERS:
            if isinstance(number := request.get(key), int) and not isinstance(number, bool):
                told[key] = number
        if self._config.enabled:
            self._told(told)
        return told

    def _told(self, told: dict[str, Any]) -> None:
        status = {**told, "time": iso_time(self._clock.time())}
        self._publish(status)
        try:
            (self._state / FOLDER).mkdir(mode=0o700, exist_ok=True)
            write_whole(self._state / FOLDER / STATUS, json.dumps(status), 0o600)
        except OSError:
            return  # it was told; only a start in between forgets it

    def _publish(self, status: dict[str, Any]) -> None:
        topic = f"{self._config.topic}/status"
        self._broker.publish(Message(topic, qos=1, retain=True, time=self._clock.time(), source="update", value=status))


def _has_slots() -> bool:
    """Whether there is somebody who does it: the units of the appliance look at the same word."""
    try:
        return "gateway.slot=" in COMMAND_LINE.read_text()
    except OSError:
        return False
