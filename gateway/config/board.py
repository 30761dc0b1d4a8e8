"""Settings of the board that the gateway runs on, beyond what it measures (``kind = "board"``)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gateway.config.declare import between, setting


def _led_name(value: str) -> str | None:
    if re.fullmatch(r"[\w:-][\w:.-]*", value):
        return None
    return "must be a name below /sys/class/leds, such as ACT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """The board that the gateway runs on."""

    led: str | None = setting(
        None,
        text="LED that shows how the gateway is: blinks while it starts, flashes every 3 s when all is well, is lit "
        "with gaps while an uplink is down, blinks fast for a fault or an alarm. Under systemd only; docs/install.md.",
        check=_led_name,
        example='"ACT"',
    )
    reset_gpio: int | None = setting(
        None,
        text="GPIO of a Raspberry's header with a button to ground: held for 10 s while the board starts, then let go "
        "within 10 s, it is a factory reset of the appliance. docs/hardware.md.",
        check=between(0, 53),
        example="21",
    )
