"""The alarms that rules raise: each stands once, is told once, and can be acknowledged. Pure.

An alarm is a retained message with QoS 1 at ``alarm/NAME``, so that an uplink forwards it and who comes later sees it::

    {"alarm": "too_hot/boiler", "state": "raised", "text": "91 degrees", "severity": "warning", "since": "...",
     "acknowledged": false}

``state`` is ``raised`` or ``cleared``. Any message at ``alarm/NAME/ack`` acknowledges it; ``{"by": "name"}`` in it says
who. One with ``latch`` stays raised until it was acknowledged, also when its cause is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.clock import iso_time
from gateway.message import Message, Value
from gateway.metrics import Metrics
from gateway.rules.keeps import Keeps

ROOT: Final = "alarm"
ACKNOWLEDGE: Final = "/ack"

MAX_ALARMS: Final = 1000
"""Alarms that stand at once. More are refused: nobody reads the thousand and first."""

PREFIX: Final = "$alarm/"
"""Names under which alarms are kept over a restart."""

_LONGEST_BY: Final = 128


class _Alarm:
    __slots__ = ("text", "severity", "latch", "since", "is_gone", "by")

    def __init__(self, text: str, severity: str, latch: bool, since: float) -> None:
        self.text = text
        self.severity = severity
        self.latch = latch
        self.since = since
        self.is_gone = False
        self.by: str | None = None


class AlarmTable:
    """Alarms that stand. Each verb gives the message that tells of the change, None when there is none."""

    __slots__ = ("_alarms", "_keeps", "_metrics")

    def __init__(self, keeps: Keeps, metrics: Metrics) -> None:
        self._keeps = keeps
        self._metrics = metrics
        self._alarms: dict[str, _Alarm] = {}

    def __len__(self) -> int:
        return len(self._alarms)

    def load(self, stored: Mapping[str, Value]) -> None:
        """Take up those that stood at the last stop, of all that is kept."""
        for name, value in stored.items():
            if not name.startswith(PREFIX) or not isinstance(value, dict):
                continue
            alarm = _Alarm(
                str(value.get("text", "")), str(value.get("severity", "warning")), bool(value.get("latch")),
                float(value.get("since") or 0.0),
            )  # fmt: skip
            alarm.is_gone = bool(value.get("gone"))
            alarm.by = value.get("by")
            self._alarms[name.removeprefix(PREFIX)] = alarm

    def raise_(self, name: str, text: str, severity: str, latch: bool, time: float) -> Message | None:
        """It stands from now on. Nothing to tell when it does already with the same severity."""
        alarm = self._alarms.get(name)
        if alarm is not None:
            came_back, worse = alarm.is_gone, alarm.severity != severity
            alarm.is_gone, alarm.severity, alarm.latch = False, severity, latch
            if came_back or worse:
                alarm.text = text
                self._keep(name, alarm)
            return self._tell(name, alarm, "raised", time) if worse else None
        if len(self._alarms) >= MAX_ALARMS:
            self._metrics.drop("rule_alarms")
            return None
        alarm = self._alarms[name] = _Alarm(text, severity, latch, time)
        self._keep(name, alarm)
        return self._tell(name, alarm, "raised", time)

    def clear(self, name: str, time: float) -> Message | None:
        """Its cause is gone."""
        alarm = self._alarms.get(name)
        if alarm is None or alarm.is_gone:
            return None
        if alarm.latch and alarm.by is None:
            alarm.is_gone = True
            self._keep(name, alarm)
            return None
        return self._end(name, alarm, time)

    def acknowledge(self, name: str, by: str, time: float) -> Message | None:
        """Somebody has seen it."""
        alarm = self._alarms.get(name)
        if alarm is None or alarm.by is not None:
            return None
        alarm.by = by[:_LONGEST_BY]
        if alarm.is_gone:
            return self._end(name, alarm, time)
        self._keep(name, alarm)
        return self._tell(name, alarm, "raised", time)

    def status(self) -> list[dict[str, Any]]:
        """For a person, oldest first."""
        return [
            {
                "alarm": name,
                "text": alarm.text,
                "severity": alarm.severity,
                "since": iso_time(alarm.since),
                "acknowledged": alarm.by is not None,
                "by": alarm.by,
                "gone": alarm.is_gone,
            }
            for name, alarm in self._alarms.items()
        ]

    def _end(self, name: str, alarm: _Alarm, time: float) -> Message:
        del self._alarms[name]
        self._keeps.put(PREFIX + name, None)
        return self._tell(name, alarm, "cleared", time)

    def _keep(self, name: str, alarm: _Alarm) -> None:
        value: dict[str, Value] = {"text": alarm.text, "severity": alarm.severity, "latch": alarm.latch}
        value |= {"since": alarm.since, "gone": alarm.is_gone, "by": alarm.by}
        self._keeps.put(PREFIX + name, value, persist=True)

    def _tell(self, name: str, alarm: _Alarm, state: str, time: float) -> Message:
        value: dict[str, Value] = {
            "alarm": name,
            "state": state,
            "text": alarm.text,
            "severity": alarm.severity,
            "since": iso_time(alarm.since),
            "acknowledged": alarm.by is not None,
        }
        if alarm.by:
            value["by"] = alarm.by
        return Message(f"{ROOT}/{name}", None, 1, True, time=time, source="rules", value=value)


def acknowledged(message: Message) -> tuple[str, str] | None:
    """(name, by whom) of a message that acknowledges an alarm; None for any other."""
    topic = message.topic
    if not topic.startswith(f"{ROOT}/") or not topic.endswith(ACKNOWLEDGE):
        return None
    name = topic[len(ROOT) + 1 : -len(ACKNOWLEDGE)]
    value = message.value
    by = value.get("by") if isinstance(value, dict) else None
    return name, by if isinstance(by, str) and by else message.source
