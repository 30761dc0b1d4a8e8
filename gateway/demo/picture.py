"""The live picture of the demo: plain text that is drawn over itself on a terminal."""

from __future__ import annotations

import threading
from typing import Any

from gateway.message import parse_value
from gateway.mqtt.packets import Publish

CLEAR = "\x1b[H\x1b[J"
BOLD, RED, GREEN, YELLOW, PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
_COLOURS = {"good": GREEN, "bad": RED, "stale": YELLOW, "uncertain": YELLOW}


class Plant:
    """The last value of each point and the alarms, as the local broker shows them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}
        self._alarms: list[str] = []

    def take(self, message: Publish) -> None:
        """One message of the local broker."""
        with self._lock:
            if message.topic.startswith("alarm/"):
                text = message.payload.decode(errors="replace")
                self._alarms = [*self._alarms[-3:], f"{message.topic}  {text[:90]}"]
            else:
                self._values[message.topic] = parse_value(message.payload)

    def lines(self) -> list[str]:
        """Values with their quality, then the last alarms."""
        with self._lock:
            values, alarms = dict(self._values), list(self._alarms)
        rows = [_value_line(topic, value) for topic, value in sorted(values.items())]
        return [*rows, "", f"{BOLD}alarms{PLAIN}", *(alarms or ["none"])]


def _value_line(topic: str, value: Any) -> str:
    if isinstance(value, dict) and "q" in value:
        shown = "-" if value["v"] is None else f"{value['v']:.1f}"
        colour = _COLOURS.get(value["q"], "")
        return f"  {topic:<28}{shown:>9} {value.get('u', ''):<6}{colour}{value['q']:<6}{PLAIN} {value.get('why', '')}"
    if isinstance(value, dict):
        return f"  {topic:<28}{value.get('temp', '-'):>9}        number {value.get('n')}"
    return f"  {topic:<28}{value!s:>9}"


def picture(act: str, plant: Plant, status: dict[str, Any] | None, arrived: int, left: float) -> str:
    """One frame."""
    lines = [f"{BOLD}{act}{PLAIN}   ({left:.0f} s left in this act)", "", f"{BOLD}plant{PLAIN}", *plant.lines(), ""]
    if status is None:
        lines += [f"{RED}gateway: no answer{PLAIN}", "", ""]
    else:
        outbox, uplink = status["outbox"], status["uplinks"]["cloud"]
        colour = GREEN if uplink["state"] == "up" else RED
        lines += [
            f"gateway  boot {status['gateway']['boot']}, up {status['gateway']['uptime']:.0f} s",
            f"outbox   {outbox['depth']} rows, {outbox['bytes']} bytes",
            f"uplink   {colour}{uplink['state']}{PLAIN}  {uplink['reason']}  {uplink['last_error'][:80]}",
        ]
    return "\n".join([*lines, f"cloud    {arrived} messages"])
