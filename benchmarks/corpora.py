"""Three fixed corpora of rows for the packing: what gateways have to send, the same bytes in every run.

    points   a plant of 5 devices with 20 points each, read once a second through the port that devices publish with
    sensors  40 radio sensors, a JSON record each every ten seconds, with field names and values of their own kind
    mixed    alarms, states of machines, lines of a log, a picture now and then: much text, little that repeats

Values are made the way a device makes them: a true value that drifts, noise, and the step of the converter.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from gateway.broker.port import Done
from gateway.clock import FixedClock, iso_time
from gateway.connectors.base import Quality, Sample
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.port import DevicePort
from gateway.message import Message
from gateway.outbound import Row

START: Final = 1_795_238_946.0
GATEWAY: Final = "site-7"


class _Signal(NamedTuple):
    """How the values of a point come about: mean, how far it swings, noise, decimals (-1: a float32)."""

    name: str
    unit: str | None
    mean: float
    swing: float
    noise: float
    decimals: int


SIGNALS: Final = (
    _Signal("temperature_flow", "Cel", 71.0, 4.0, 0.06, 1),
    _Signal("temperature_return", "Cel", 55.0, 3.0, 0.06, 1),
    _Signal("temperature_room", "Cel", 21.5, 0.5, 0.03, 1),
    _Signal("temperature_outside", "Cel", 4.0, 1.0, 0.05, 1),
    _Signal("pressure_supply", "bar", 3.20, 0.05, 0.006, 2),
    _Signal("pressure_return", "bar", 1.85, 0.05, 0.006, 2),
    _Signal("flow", "m3/h", 12.4, 1.0, 0.08, 1),
    _Signal("level", "%", 63.0, 8.0, 0.1, 1),
    _Signal("power", "W", 4200.0, 300.0, 12.0, 0),
    _Signal("voltage", "V", 230.4, 1.5, 0.15, 1),
    _Signal("current", "A", 18.3, 1.2, 0.04, 2),
    _Signal("frequency", "Hz", 50.0, 0.02, 0.004, 2),
    _Signal("vibration", "mm/s", 2.4, 0.3, 0.02, -1),
    _Signal("humidity", "%", 44.0, 2.0, 0.05, -1),
    _Signal("energy", "kWh", 48_213.0, 0.0, 0.0, 2),
    _Signal("valve", "%", 45.0, 0.0, 0.0, 1),
    _Signal("setpoint", "Cel", 70.0, 0.0, 0.0, 1),
    _Signal("status", None, 513.0, 0.0, 0.0, 0),
    _Signal("running", None, 1.0, 0.0, 0.0, 0),
    _Signal("fault", None, 0.0, 0.0, 0.0, 0),
)
"""Twenty points, as a boiler house has them."""


class _Collector:
    """Takes what devices publish."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message, done: Done | None = None) -> int:
        self.messages.append(message)
        return 1

    def publish_batch(self, messages: Sequence[Message], done: Done | None = None) -> int:
        raise NotImplementedError

    def subscribe(self, pattern: str, subscriber: Any, options: Any = None) -> bool:
        raise NotImplementedError

    def unsubscribe(self, pattern: str, subscriber: Any) -> bool:
        raise NotImplementedError

    def retained(self, pattern: str) -> Iterable[Message]:
        raise NotImplementedError


def _value(signal: _Signal, second: int, phase: float, chance: random.Random) -> float | int | bool:
    if signal.name in ("running", "fault"):
        return bool(signal.mean)
    if signal.name == "energy":
        true = signal.mean + second * 4200 / 3.6e6
    elif signal.name == "valve":
        true = signal.mean + 2.5 * (second // 45 % 4)
    else:
        true = signal.mean + signal.swing * math.sin(second / 190 + phase) + chance.gauss(0, signal.noise)
    if signal.decimals < 0:
        single: float = struct.unpack("f", struct.pack("f", true))[0]
        return single
    return round(true, signal.decimals) if signal.decimals else round(true)


def points(seconds: int = 600, deadband: float | None = None, seed: int = 1) -> list[Row]:
    """100 points at 1 Hz; with a deadband, what is left of them."""
    chance = random.Random(seed)
    collector = _Collector()
    settings = [PointSettings(name=signal.name, unit=signal.unit, deadband=deadband) for signal in SIGNALS]
    ports = [
        DevicePort(
            f"boiler{number}",
            DeviceSettings(topic=f"{GATEWAY}/plant/boiler{number}"),
            settings,
            clock=FixedClock(),
            publisher=collector,
            shared={},
            book=lambda name, count: None,
        )
        for number in range(1, 6)
    ]
    for second in range(seconds):
        for number, port in enumerate(ports):
            time = START + second + 0.011 * number + chance.random() * 0.004
            port.emit(
                [
                    Sample(signal.name, _value(signal, second, number + index, chance), Quality.GOOD, time)
                    for index, signal in enumerate(SIGNALS)
                ]
            )
    return [_row(seq, m.topic, m.payload, m.time) for seq, m in enumerate(collector.messages, 1)]


def sensors(seconds: int = 600, seed: int = 2) -> list[Row]:
    """Records of 40 sensors, four a second."""
    chance = random.Random(seed)
    kinds = [_climate, _meter, _door, _tracker]
    rows: list[Row] = []
    for tick in range(seconds * 4):
        sensor = tick % 40
        time = START + tick / 4 + chance.random() * 0.05
        record = kinds[sensor % 4](tick // 40, sensor, time, chance)
        payload = json.dumps(record, separators=(",", ":")).encode()
        rows.append(_row(tick + 1, f"{GATEWAY}/sensors/{kinds[sensor % 4].__name__[1:]}-{sensor:02}", payload, time))
    return rows


def _climate(turn: int, sensor: int, time: float, chance: random.Random) -> dict[str, Any]:
    return {
        "temperature": round(21 + sensor / 10 + math.sin(turn / 9) + chance.gauss(0, 0.04), 2),
        "humidity": round(44 + 3 * math.sin(turn / 14) + chance.gauss(0, 0.2), 1),
        "pressure": round(1013.2 + chance.gauss(0, 0.1), 1),
        "battery": 97,
        "voltage": 2950 + chance.randrange(3) * 5,
        "linkquality": 120 + chance.randrange(30),
        "last_seen": iso_time(time),
    }


def _meter(turn: int, sensor: int, time: float, chance: random.Random) -> dict[str, Any]:
    return {
        "device": {"id": f"em-{sensor:02}", "fw": "1.4.2"},
        "ts": int(time * 1000),
        "energy": round(18_422.11 + sensor + turn * 0.012, 3),
        "power": round(4_200 + chance.gauss(0, 40), 1),
        "current": [round(6 + chance.gauss(0, 0.1), 2) for _ in range(3)],
        "ok": True,
    }


def _door(turn: int, sensor: int, time: float, chance: random.Random) -> dict[str, Any]:
    return {
        "contact": chance.random() > 0.1,
        "battery_low": False,
        "linkquality": 80 + chance.randrange(40),
        "seq": 1000 + turn,
    }


def _tracker(turn: int, sensor: int, time: float, chance: random.Random) -> dict[str, Any]:
    return {
        "lat": round(48.137154 + turn * 0.00011 + chance.gauss(0, 0.00002), 6),
        "lon": round(11.576124 + turn * 0.00007 + chance.gauss(0, 0.00002), 6),
        "speed": round(max(0.0, 12 + chance.gauss(0, 1)), 1),
        "sats": 9 + chance.randrange(3),
        "fix": "3d",
        "t": iso_time(time),
    }


ALARMS: Final = (
    "flow temperature above its limit",
    "no answer from the device for 30 s",
    "pump 2: motor protection has tripped",
    "filter pressure difference high",
    "gas detector: pre-alarm",
)
LOG: Final = (
    "pump {a} started, {b} rpm after {c} ms",
    "login of operator {a} from 10.0.{b}.{c}",
    "recipe 'cleaning-{a}' step {b} of {c} done",
    "batch {a}{b}{c} weighed {b}.{c} kg, label printed",
    "door {a} opened for {b} s, code {c}",
)


def mixed(seconds: int = 600, seed: int = 3) -> list[Row]:
    """Alarms, states, log lines and bytes, one or two a second."""
    chance = random.Random(seed)
    makers: list[Callable[[random.Random, float], tuple[str, bytes]]] = [_alarm, _state, _log, _log, _state, _state]
    rows: list[Row] = []
    time = START
    while time < START + seconds:
        time += chance.expovariate(1.5)
        maker = _picture if chance.random() < 0.01 else chance.choice(makers)
        topic, payload = maker(chance, time)
        rows.append(_row(len(rows) + 1, f"{GATEWAY}/{topic}", payload, time))
    return rows


def _alarm(chance: random.Random, time: float) -> tuple[str, bytes]:
    device = f"boiler{chance.randrange(1, 6)}"
    alarm = {
        "id": f"{chance.getrandbits(64):016x}",
        "device": device,
        "state": chance.choice(["raised", "acknowledged", "cleared"]),
        "severity": chance.randrange(1, 5),
        "text": chance.choice(ALARMS),
        "value": round(chance.uniform(60, 120), 1),
        "at": iso_time(time),
    }
    return f"alarms/{device}", json.dumps(alarm).encode()


def _state(chance: random.Random, time: float) -> tuple[str, bytes]:
    return f"machines/{chance.randrange(1, 9)}/state", chance.choice([b"idle", b"running", b"blocked", b"setup"])


def _log(chance: random.Random, time: float) -> tuple[str, bytes]:
    a, b, c = chance.randrange(1, 9), chance.randrange(10, 99), chance.randrange(100, 999)
    text = f"{iso_time(time)} {chance.choice(['INFO', 'INFO', 'WARN'])} {chance.choice(LOG).format(a=a, b=b, c=c)}"
    return f"log/station{a}", text.encode()


def _picture(chance: random.Random, time: float) -> tuple[str, bytes]:
    return "camera/thumbnail", b"\xff\xd8\xff\xe0" + chance.randbytes(500)


def _row(seq: int, topic: str, payload: bytes, time: float) -> Row:
    return Row(seq, 7, topic, payload, 1, False, (), time, None, "device:x")


def instants(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows of one moment together: what a device publishes after one poll is sent in one write."""
    group: list[Row] = []
    for row in rows:
        if group and row.time != group[0].time:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
