"""The simulated plant: a boiler and a pump that speak Modbus TCP, and what the settings of the demo say of them.

The pump falls silent when told to: its server takes questions and answers none, as a device with a hung processor.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from gateway.connectors.modbus.sim import Simulator

BOILER_UNIT = 1
PUMP_UNIT = 2


class ModbusPlant:
    """Two Modbus TCP servers on free ports of 127.0.0.1."""

    def __init__(self) -> None:
        self._boiler = Simulator()
        self._pump = Simulator()
        self.boiler_port = 0
        self.pump_port = 0

    async def start(self) -> None:
        """Listen."""
        boiler = self._boiler.unit(BOILER_UNIT)
        # Signed tenths of a degree; peaks over 85 degrees, so that the shipped alarm is seen.
        boiler.holding[100] = _wave(lambda t: 740 + 140 * math.sin(t / 6))
        boiler.holding[101] = _wave(lambda t: 320 + 10 * math.sin(t / 4))
        boiler.holding[110] = 600
        pump = self._pump.unit(PUMP_UNIT)
        high, low = _float_words(lambda t: 12.5 + 2 * math.sin(t / 3))
        pump.holding[0] = high
        pump.holding[1] = low
        pump.holding[2] = _wave(lambda t: 1480 + 2 * math.sin(t))
        self.boiler_port = await self._boiler.start()
        self.pump_port = await self._pump.start()

    def silence_pump(self, silent: bool) -> None:
        """Let the pump's processor hang, or come back."""
        self._pump.unit(PUMP_UNIT).is_mute = silent

    async def stop(self) -> None:
        """Stop listening."""
        await self._boiler.stop()
        await self._pump.stop()


def _wave(value: Callable[[float], float]) -> Callable[[float], int]:
    return lambda time: round(value(time)) & 0xFFFF


def _float_words(value: Callable[[float], float]) -> tuple[Callable[[float], int], Callable[[float], int]]:
    """The two registers of a float32, highest first."""

    def word(index: int) -> Callable[[float], int]:
        return lambda time: int(struct.unpack(">HH", struct.pack(">f", value(time)))[index])

    return word(0), word(1)


def gateway_settings(plant: ModbusPlant, listener: int, uplink: int, rules: str) -> str:
    """The settings file of the gateway under demonstration."""
    return f"""\
[gateway]
name = "demo"

[listener.local]
kind = "mqtt"
bind = "127.0.0.1:{listener}"

[rules]
path = {rules!r}

[device.boiler]
kind = "modbus"
url = "tcp://127.0.0.1:{plant.boiler_port}"
unit = {BOILER_UNIT}
poll = "500ms"
topic = "plant/boiler"
point = [
    {{ name = "temperature", address = "holding:100", type = "int16", scale = 0.1, unit = "Cel", deadband = 0.5 }},
    {{ name = "pressure", address = "holding:101", type = "uint16", scale = 0.01, unit = "bar", deadband = 0.02 }},
    {{ name = "setpoint", address = "holding:110", type = "int16", scale = 0.1, unit = "Cel", deadband = 0, \
write = {{ min = 20, max = 90 }} }},
]

[device.pump]
kind = "modbus"
url = "tcp://127.0.0.1:{plant.pump_port}"
unit = {PUMP_UNIT}
poll = "500ms"
timeout = "300ms"
topic = "plant/pump"
point = [
    {{ name = "flow", address = "holding:0", type = "float32", unit = "m3/h", deadband = 0.1 }},
    {{ name = "speed", address = "holding:2", type = "uint16", unit = "1/min" }},
]

[uplink.cloud]
kind = "mqtt"
url = "mqtt://127.0.0.1:{uplink}"
forward = [
    {{ filter = "plant/#", to = "site/plant/#" }},
    {{ filter = "sensors/#", to = "site/sensors/#" }},
    {{ filter = "alarm/#", to = "site/alarm/#" }},
]
"""


def cloud_settings(listener: int) -> str:
    """The settings file of the gateway that plays the cloud broker."""
    return f"""\
[gateway]
name = "cloud"

[listener.local]
kind = "mqtt"
bind = "127.0.0.1:{listener}"

[mqtt]
queue_count = 100000
queue_bytes = "64MiB"
"""
