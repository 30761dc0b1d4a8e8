"""What the store and the uplinks share: rows on their way to the cloud, and the view of them that an uplink has.

It lives below both, because the I/O layers do not import each other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

from gateway.message import Properties
from gateway.ranges import Ranges

CLASSES: Final = ("telemetry", "alarm", "command", "result")
"""Classes of rows by their number, which is on the disk: add at the end only."""

TELEMETRY: Final = 0
RESULT: Final = 3

BY_URGENCY: Final = (1, 2, 3, 0)
"""The classes in the order in which their rows go to the cloud."""

LAST: Final = (1 << 56) - 1
"""No row has a higher number."""

ESTIMATED: Final = "estimated"
CORRECTED: Final = "corrected"
"""What the time of a row is worth, beside nothing for a time that was right."""

LEDGER_TOPIC: Final = "$gateway/ledger"
RESEND_TOPIC: Final = "$gateway/resend"
"""Local topics of what an uplink says of itself; nobody can publish or subscribe there."""


class Row(NamedTuple):
    """One stored message on its way to the cloud.

    seq      number in the outbox: grows by one for each row, never used again
    boot     number of the gateway start that stored it; ``<boot>:<seq>`` is the row's message id for ever
    topic    local topic, before any rewrite
    payload  bytes as published
    qos      as published (0 to 2); an uplink sends at least QoS 1, or it could not know that it arrived
    retain   as published
    props    MQTT 5 properties as published
    time     wall clock when it was accepted
    expires  wall clock after which it is not worth sending; None never expires
    source   who published it, see ``Message.source``; the loop guard reads it
    clock    what ``time`` is worth: "" when the clock was right; set by ``Timing.date``
    uplinks  names of those who must have it; empty: whoever reads it
    """

    seq: int
    boot: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    props: Properties
    time: float
    expires: float | None
    source: str
    clock: str = ""
    uplinks: tuple[str, ...] = ()

    @property
    def message_id(self) -> str:
        """Identity over restarts and repeats: the cloud drops duplicates by it."""
        return f"{self.boot}:{self.seq}"


make_row: Final = partial(tuple.__new__, Row)
"""A row from its fields in order, at a third of what the class's own constructor costs."""


class Batch(NamedTuple):
    """Rows that were read. ``reached``: all rows of the class up to here have been read; what is between the last row
    and it is not of the class, or nobody needs it any more."""

    rows: list[Row]
    reached: int


class OutboxReader(Protocol):
    """One uplink's view of the outbox, class by class (see CLASSES). The store implements it; tests pass lists.

    Where the numbers of a class have gaps, the rows between are of other classes. What was acknowledged of a class
    is any set of numbers, but each stretch that is not next to another costs memory and disk: keep them few.
    """

    async def read(self, room: int, after: int, upto: int, limit: int, max_bytes: int) -> Batch:
        """Rows of the class ``room`` with ``after < seq <= upto`` in order; at most ``limit`` rows and about
        ``max_bytes`` of payload, at least one row when there is one. What was acknowledged may be among them."""

    def has(self, room: int, after: int) -> bool:
        """Whether there may be a row of the class behind ``after``; costs nothing to ask."""

    def acknowledge(self, room: int, after: int, upto: int) -> None:
        """The cloud has every row of the class with ``after < seq <= upto``, or it was skipped on purpose. Joins the
        next group commit."""

    def drop(self, row: Row, reason: str, room: int | None = None) -> None:
        """Count a row that will never be sent (expired, too large, refused) under ``reason``; ``room`` is its class, if
        it was not read from here. ``acknowledge`` still moves past it, and only then it is in the books."""

    def acked(self, room: int) -> Ranges:
        """What was acknowledged of the class; after a start, as stored."""

    def possibly_sent(self, room: int) -> Ranges:
        """What may have reached the cloud before the last stop: send it with DUP."""

    def depth(self, after: int, upto: int) -> int:
        """About how many rows between are not acknowledged, of all classes."""

    @property
    def newest(self) -> int:
        """Number of the newest row."""

    @property
    def cursor(self) -> int:
        """Everything up to here is acknowledged, of all classes."""

    def wake(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when there are rows to read: soon after they came, whether they are committed or not."""


class Timing(Protocol):
    """What uplinks ask about the clock."""

    def date(self, row: Row) -> Row:
        """The row with its time and expiry as they are known by now; ask just before it is sent."""

    def date_all(self, rows: list[Row]) -> list[Row]:
        """The same for rows in the order of their numbers, at less than one by one costs."""

    def unset(self) -> str | None:
        """What the clock of this machine says, when no certificate can be valid by it; None when it may be right."""

    def doubtful(self) -> str | None:
        """The same, when it is not known to be right; None when it is."""

    def held(self) -> float:
        """Seconds for which rows are to be held back until the time is known."""

    async def changed(self, within: float) -> None:
        """Wait until the clock has moved or is known, at most ``within`` seconds."""


class RightTime:
    """A ``Timing`` for where the clock is right."""

    def date(self, row: Row) -> Row:
        return row

    def date_all(self, rows: list[Row]) -> list[Row]:
        return rows

    def unset(self) -> str | None:
        return None

    def doubtful(self) -> str | None:
        return None

    def held(self) -> float:
        return 0.0

    async def changed(self, within: float) -> None:
        raise AssertionError("nobody waits for a clock that is right")


class Wanted(NamedTuple):
    """Rows that are to be sent again: of the start ``boot`` (None: any), with numbers from ``first`` to ``last``,
    accepted from ``since`` to ``until`` on the wall clock."""

    boot: int | None
    first: int
    last: int
    since: float
    until: float


class Found(NamedTuple):
    """Some rows of the archive, in order.

    rows     those that the uplink has done with
    waiting  how many it has not: they come anyway
    others   numbers of rows that are there and not for this uplink
    after    where to go on; None: there is no more
    """

    rows: list[Row]
    waiting: list[int]
    others: list[int]
    after: int | None


class Archive(Protocol):
    """What an uplink has done with and is still on the disk, and a way to say something of its own."""

    async def find(self, wanted: Wanted, after: int) -> Found:
        """Some of the wanted rows, class by class; begin with ``after`` 0. Raises sqlite3.Error."""

    def post(self, topic: str, payload: bytes, props: Properties) -> None:
        """Send a message to the cloud like any row of the class ``result``; ``topic`` is local."""
