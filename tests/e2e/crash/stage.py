"""What all clients of the crash rig share, and the loop that lets them act.

One thread; a pass of the loop gives every client its turn, so that with one seed the same clients do the same things,
as far as the gateway's own timing lets them.
"""

from __future__ import annotations

import random
import selectors
import time
from collections.abc import Callable
from typing import Protocol

from e2e.crash.ledger import Ledger

PASS = 0.002
"""Seconds that a pass takes at least."""


class Actor(Protocol):
    """A client."""

    def tick(self) -> None:
        """Do what is to do now."""

    def read(self) -> None:
        """Something has come."""


class Stage:
    """``is_loaded``: publishers publish; without it they only finish what is under way."""

    def __init__(self, port: int, source: random.Random, ledger: Ledger) -> None:
        self.port = port
        self.source = source
        self.ledger = ledger
        self.now = time.monotonic()
        self.is_loaded = False
        self.actors: list[Actor] = []
        self.selector = selectors.DefaultSelector()

    def run(self, seconds: float, until: Callable[[], object] | None = None) -> bool:
        """Let all act for so long, or until something is true; whether it is."""
        end = time.monotonic() + seconds
        while True:
            self.now = self.ledger.now = time.monotonic()
            for key, _ in self.selector.select(PASS):
                key.data.read()
            for actor in self.actors:
                actor.tick()
            if until is not None and until():
                return True
            if self.now >= end:
                return False
            time.sleep(PASS / 2)
