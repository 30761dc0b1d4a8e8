"""What the cloud has got: every message once by its message id; what is live and what has waited each in the order of
its topic."""

from __future__ import annotations

import threading

from gateway.message import USER_PROPERTY, parse_value
from gateway.mqtt.packets import Publish


class Cloud:
    """Collects what arrives; thread-safe, because a watcher fills it and the story reads it.

    arrived    numbers of sensor messages by sensor
    devices    distinct values of devices
    alarms     distinct alarms
    repeats    arrivals with a message id that was there already
    strangers  sensor messages that came again under another id
    disorder   rows that came after a younger row of the same topic and lane
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._last: dict[tuple[str, bool], int] = {}
        self.arrived: dict[str, set[int]] = {}
        self.devices = 0
        self.alarms = 0
        self.repeats = 0
        self.strangers = 0
        self.disorder = 0

    @property
    def total(self) -> int:
        """Distinct messages."""
        return len(self._seen)

    def take(self, message: Publish) -> None:
        """One message came in."""
        said = dict(value for key, value in message.props if key == USER_PROPERTY)
        message_id, lane = said.get("message-id", ""), (message.topic, "replay" in said)
        with self._lock:
            if message_id in self._seen:
                self.repeats += 1
                return
            self._seen.add(message_id)
            number = int(message_id.partition(":")[2])
            if number < self._last.get(lane, 0):
                self.disorder += 1
            self._last[lane] = number
            self._file(message.topic.removeprefix(self._prefix).split("/"), message)

    def _file(self, levels: list[str], message: Publish) -> None:
        if levels[0] == "plant":
            self.devices += 1
        elif levels[0] == "alarm":
            self.alarms += 1
        elif levels[0] == "sensors":
            numbers = self.arrived.setdefault(levels[1], set())
            number = parse_value(message.payload)["n"]
            if number in numbers:
                self.strangers += 1
            numbers.add(number)
