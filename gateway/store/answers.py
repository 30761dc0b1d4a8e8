"""Calls the waiters of many rows, and lets a bug in one cost the others nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from gateway.broker.port import Done


def answer(dones: Iterator[Done], error: BaseException | None) -> None:
    """Call each with ``error``. What one raises is raised here, shown by the loop; the rest follows at once."""
    try:
        for done in dones:
            done(error)
    except Exception:
        asyncio.get_running_loop().call_soon(answer, dones, error)
        raise
