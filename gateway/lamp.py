"""How the gateway is, in a word, for an LED of the board.

The gateway has no right to anything below /sys. It writes ``LED STATE`` to the file ``led`` in its runtime folder when
the state changes; systemd sees that and lets ``gateway-led`` take it and set the LED, which then blinks by the kernel's
own timer.
Without an LED in the settings, or without a runtime folder (no systemd), nothing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

FILE: Final = "led"


class State(StrEnum):
    """Words that ``gateway-led`` knows."""

    STARTING = "starting"
    READY = "ready"
    UPLINK_DOWN = "uplink_down"
    FAULT = "fault"
    STOPPED = "stopped"


class Lamp:
    """``led`` is the name of the LED, below /sys/class/leds; ``environ`` is ``os.environ``, passed in."""

    def __init__(self, led: str | None, environ: Mapping[str, str]) -> None:
        folder = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._file = Path(folder, FILE) if led and folder else None
        self._led = led
        self._shown: State | None = None

    def show(self, state: State) -> None:
        """Say it, if it is new. A lamp that cannot be told is no reason to stop working."""
        if self._file is None or state is self._shown:
            return
        self._shown = state
        with contextlib.suppress(OSError):
            new = self._file.with_name(FILE + ".new")
            new.write_text(f"{self._led} {state}\n")
            new.replace(self._file)
