"""Rows under way to the cloud: how many may be, which are settled, and how far the cursor may move.

Rows enter in the order of the outbox. Each is *sent*, then *settled* (the cloud has it, or it was given up), in
any order; the cursor is the last row below which everything is settled. A row whose connection was lost or
whose refusal may pass is *waiting*: it keeps its place and its packet identifier and is sent again before any
new row, in order.

Pure bookkeeping: no clock, no I/O, no decision about what is sent or given up.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.uplinks.base import Row

PACKET_IDS: Final = 65_470
"""Packet identifiers for rows. Those behind are for rows that are sent once more, and 65 535 for SUBSCRIBE."""

RESEND_IDS: Final = range(PACKET_IDS + 1, 65_535)

SUBSCRIBE_ID: Final = 65_535

MAX_BYTES: Final = 1 << 20
"""Payload bytes under way at once: what a dead line can hold in memory and in the socket's buffer."""

MAX_SPAN: Final = 4096
"""Settled rows remembered behind one that is not: a broker that answers all but one must not fill the memory."""


def packet_id(seq: int) -> int:
    """The packet identifier of a row: the same after a restart, so that a repeat is a repeat on the wire too."""
    return (seq - 1) % PACKET_IDS + 1


class Slot:
    """One row on its way.

    row    None once settled
    sent   may have reached the cloud in the session that goes on: the next PUBLISH of it has DUP
    live   sent on this connection, the answer is due
    tries  how often the cloud has refused it
    """

    __slots__ = ("seq", "row", "sent", "live", "tries")

    def __init__(self, seq: int, row: Row | None, sent: bool = False) -> None:
        self.seq = seq
        self.row = row
        self.sent = sent
        self.live = False
        self.tries = 0


class Window:
    """See the module's docstring. ``limit``: rows that may be under way; set it for each connection."""

    __slots__ = ("limit", "cursor", "in_flight", "bytes", "_order", "_by_id")

    def __init__(self, cursor: int, limit: int) -> None:
        self.limit = limit
        self.cursor = cursor
        self.in_flight = 0
        self.bytes = 0
        self._order: deque[Slot] = deque()
        self._by_id: dict[int, Slot] = {}

    def __len__(self) -> int:
        """Rows not settled: in flight and waiting."""
        return len(self._by_id)

    def has_room(self, row: Row) -> bool:
        """Whether ``row`` may enter now. An empty window takes any row, however large."""
        if not self._by_id:
            return True
        return (
            len(self._by_id) < self.limit
            and self.bytes + len(row.payload) <= MAX_BYTES
            and len(self._order) < MAX_SPAN
            and packet_id(row.seq) not in self._by_id
        )

    def take(self, row: Row, sent: bool = False) -> Slot:
        """Let the next row in. ``sent``: an earlier process may have sent it in the session that goes on."""
        slot = Slot(row.seq, row, sent)
        self._order.append(slot)
        self._by_id[packet_id(row.seq)] = slot
        self.bytes += len(row.payload)
        return slot

    def skip(self, seq: int) -> bool:
        """Move past a row that is not for this uplink. True when the cursor moved."""
        if not self._order:
            self.cursor = seq
            return True
        if self._order[-1].row is None:
            self._order[-1].seq = seq
        else:
            self._order.append(Slot(seq, None))
        return False

    def start(self, slot: Slot) -> None:
        """The row has been handed to the connection."""
        if not slot.live:
            slot.live = slot.sent = True
            self.in_flight += 1

    def answered(self, identifier: int) -> Slot | None:
        """The row in flight under a packet identifier, or None: an answer that nobody waits for."""
        slot = self._by_id.get(identifier)
        return slot if slot is not None and slot.live else None

    def wait(self, slot: Slot) -> None:
        """The cloud refused the row: that exchange is over, the row waits for the next try."""
        self._land(slot)
        slot.sent = False
        slot.tries += 1

    def settle(self, slot: Slot) -> bool:
        """The row has arrived or is given up. True when the cursor moved."""
        if slot.row is None:
            return False
        self._land(slot)
        del self._by_id[packet_id(slot.seq)]
        self.bytes -= len(slot.row.payload)
        slot.row = None
        before = self.cursor
        while self._order and self._order[0].row is None:
            self.cursor = self._order.popleft().seq
        return self.cursor != before

    def waiting(self) -> list[Slot]:
        """What must be sent again before anything new, in order."""
        if len(self._by_id) == self.in_flight:
            return []
        return [slot for slot in self._order if slot.row is not None and not slot.live]

    def disconnected(self) -> None:
        """The connection is gone: all that was in flight waits."""
        for slot in self._by_id.values():
            self._land(slot)

    def new_session(self) -> None:
        """The broker has forgotten us: nothing was sent in the session that begins."""
        for slot in self._by_id.values():
            slot.sent = False

    def _land(self, slot: Slot) -> None:
        if slot.live:
            slot.live = False
            self.in_flight -= 1
