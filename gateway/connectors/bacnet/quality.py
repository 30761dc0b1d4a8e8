"""Status flags and reliability of an object -> how far its value can be trusted (ASHRAE 135 clause 12). Pure."""

from __future__ import annotations

from gateway.connectors.bacnet.values import Flags
from gateway.connectors.base import Quality


def judge(flags: Flags | None, reliability: str = "") -> tuple[Quality, str]:
    """Quality and reason.

    fault           bad: the object itself says that its value is not to be trusted; ``reliability`` says why
    out of service  uncertain: the value is what somebody has put there, not what the input sees
    overridden      uncertain: held by hand at the device
    in alarm        good: a true value that somebody should look at
    """
    if flags is None:
        return Quality.GOOD, ""
    if flags.fault:
        why = reliability if reliability not in ("", "no-fault-detected") else "the device does not say why"
        return Quality.BAD, f"fault: {why}"
    if flags.out_of_service:
        return Quality.UNCERTAIN, "out of service"
    if flags.overridden:
        return Quality.UNCERTAIN, "overridden by hand"
    return Quality.GOOD, ""
