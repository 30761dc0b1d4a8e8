"""Waiting until something happens, or for a while."""

from __future__ import annotations

import asyncio
from typing import Final

WAITING: Final = "waiting for the time"
"""Why nothing moves while the clock is not set."""

HOLD_LOOK: Final = 1.0
"""Seconds between two looks whether the time is known, while rows are held back for it."""

FOREVER: Final = float("inf")
"""Seconds: until something happens."""


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set; ``seconds`` at most."""
    if seconds == FOREVER:
        await event.wait()
        return
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        # The time is what was waited for.
        return
