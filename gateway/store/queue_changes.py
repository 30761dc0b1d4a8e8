"""What one transaction does to queues and streams, and what it did: the words between the loop and the thread."""

from __future__ import annotations

from typing import NamedTuple

from gateway.broker.port import Done
from gateway.broker.queue_port import Entry, NewEntry, Purged, StoredGroup
from gateway.message import Properties


class Transfer(NamedTuple):
    """A message that goes from one queue to the end of another one, with ``props`` added, or (None) without what was
    written on it as a dead letter. ``group`` held it; 0: none. ``gone``: nobody else needs it."""

    queue: int
    offset: int
    group: int
    gone: bool
    to: int
    props: Properties | None
    done: Done


class Purge(NamedTuple):
    """The oldest messages of ``queue`` go: those up to an offset, at most ``limit``."""

    queue: int
    up_to: int
    limit: int
    told: Purged


class QueueChanges:
    """What one transaction does. Keys: queue id, or group id, or both.

    fresh  held entries that no earlier transaction has written: they may be taken out again
    dones  waiters of positions and settlements
    """

    __slots__ = (
        "closed", "cursors", "dones", "fresh", "held", "opened", "purges", "removed", "rows", "sought", "sweeps",
        "transfers", "trims",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rows: dict[int, list[tuple[NewEntry, Done | None]]] = {}
        self.cursors: dict[int, int] = {}
        self.held: dict[tuple[int, int], int | None] = {}
        self.fresh: set[tuple[int, int]] = set()
        self.removed: dict[int, set[int]] = {}
        self.transfers: list[Transfer] = []
        self.opened: list[tuple[int, int, str, str, int]] = []
        self.closed: set[int] = set()
        self.sought: set[int] = set()
        self.trims: set[int] = set()
        self.sweeps: set[int] = set()
        self.purges: list[Purge] = []
        self.dones: list[Done] = []


class QueueResult(NamedTuple):
    """What a transaction did to one queue. ``more``: there is more to let go than one transaction does."""

    entries: list[Entry]
    last: int
    gone: list[tuple[list[tuple[int, int]], str]]
    more: bool


class Applied(NamedTuple):
    """What a transaction did: by queue, which transfers found their message, and how many each purge has let go."""

    queues: dict[int, QueueResult]
    transferred: list[bool]
    purged: list[int]


class LoadedQueue(NamedTuple):
    """A queue as the last run left it."""

    number: int
    last: int
    depth: int
    bytes: int
    groups: list[StoredGroup]
