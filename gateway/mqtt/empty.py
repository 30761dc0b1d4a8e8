"""Empty queues that all clients share. Never changed: who has something to put in makes a queue of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from gateway.mqtt.item import Item

NOTHING: Final[deque[Item]] = deque()
"""Stands for an empty queue: a deque of its own takes 700 bytes, and most clients never need it."""

NO_IDS: Final[list[int]] = []
NO_REPLAYS: Final[list[Iterator[Item]]] = []
NO_ASKERS: Final[list[Callable[[], None]]] = []
"""For what ``Outgoing.waits`` looks into after every flush: what all clients share is in the processor's
cache, while a list of each client's own was last used when that client last had a message."""
