"""The machine as ``gateway update settle`` sees it: its clock, its gateway, and the way to restart it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway import told_alarms
from gateway.appliance.restart import restart
from gateway.control import NotRunning, ask
from gateway.errors import GatewayError


class World:
    """``root``: the folder that is "/" there; only a real one is restarted."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._state = root / "var/lib/gateway"

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def status(self) -> Mapping[str, Any] | None:
        """What the gateway tells; None while none answers."""
        try:
            found: Mapping[str, Any] = ask(self._state, "status")
        except (NotRunning, GatewayError, OSError):
            return None
        return found

    def restart(self) -> None:
        """Restart the machine."""
        restart(self._root)

    def say(self, state: str, **more: Any) -> bool:
        """Tell the gateway how far an update is that was asked for; whether it heard."""
        try:
            ask(self._state, "update-told", state=state, **more)
        except (NotRunning, GatewayError, OSError):
            return False
        return True

    def tell(self, alarm: str, text: str | None) -> None:
        """Raise an alarm of the gateway, or end it; also for one that is started later. Raises GatewayError."""
        try:
            told_alarms.keep(self._root / told_alarms.FOLDER.relative_to("/"), alarm, text)
        except OSError as error:
            raise GatewayError(f"the alarm {alarm} cannot be told: {error}") from error
        with contextlib.suppress(NotRunning, GatewayError, OSError):
            ask(self._state, "alarm", name=alarm, text=text)
