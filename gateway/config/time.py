"""Settings of the gateway's clock: ``[time]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, between, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """How far the clock of this machine is believed, and what happens until it is."""

    source: Literal["system", "trust"] = setting(
        "system",
        text="system: the clock is right once the kernel, or systemd-timesyncd, says that it is synchronised; until "
        "then what goes to a cloud is marked as estimated. trust: it is right as soon as it shows 2024 or later; for "
        "machines with a battery clock and no time server.",
    )
    hold: Duration = setting(
        0.0,
        text="How long after a start the uplinks hold back what they would have to mark as estimated. 0: they send at "
        "once.",
        check=between(0, 86_400),
    )
    step_alarm: Duration = setting(
        60.0,
        text="A step of the clock by more than this raises the alarm clock for an hour.",
        check=between(0.1, 86_400 * 3650),
    )
