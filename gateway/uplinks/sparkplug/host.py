"""Whether the primary host application is there: its STATE messages.

Source: Eclipse Sparkplug 3.0.0, sections 5.4, 5.5 and 6.4.27. A STATE that is older than one seen on the same
connection says nothing: a will that comes late must not end a session with a host that is back. Each server keeps a
STATE of its own, so what another connection has said is not compared. Pure.
"""

from __future__ import annotations

import json
import math
from typing import Any


class PrimaryHost:
    """One host.

    online  what it said last on this connection
    left    whether it has gone since ``left`` was last set to False, also when it is back
    """

    __slots__ = ("topic", "online", "left", "_time")

    def __init__(self, host: str) -> None:
        self.topic = f"spBv1.0/STATE/{host}"
        self.connected()

    def connected(self) -> None:
        """A connection begins; the broker tells again."""
        self.online = self.left = False
        self._time = float("-inf")

    def take(self, payload: bytes) -> bool:
        """A message on ``topic``. False when it is none that a host sends."""
        try:
            state: Any = json.loads(payload)
        except ValueError:
            return False
        if not isinstance(state, dict):
            return False
        online, time = state.get("online"), state.get("timestamp")
        if not isinstance(online, bool) or isinstance(time, bool) or not isinstance(time, int | float):
            return False
        if not math.isfinite(time):
            return False
        if time >= self._time:
            self._time = time
            self.left = self.left or (self.online and not online)
            self.online = online
        return True
