"""How a half-duplex line is switched; what the settings say and ``serial_port.py`` does. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Rs485(NamedTuple):
    """The direction of a half-duplex line, switched by the driver (Linux: driver-api/serial/serial-rs485).

    rts_on_send    level of RTS while sending; it is the other while receiving
    before, after  seconds between the switch and the first bit, and between the last bit and the switch
    hears_itself   the receiver stays on while sending
    """

    rts_on_send: bool = True
    before: float = 0.0
    after: float = 0.0
    hears_itself: bool = False
