"""Parcels under way to the cloud: how many may be, which are settled, and how far each stretch of rows is.

Rows are sent in *runs*, stretches of the outbox: within a run in order. Each parcel is *sent*, then *settled* (the
cloud has it, or it was given up), in any order; the cursor of a run is the last row below which everything of it is
settled. A parcel whose connection was lost or whose refusal may pass is *waiting*: it keeps its place and its packet
identifier and is sent again before any new one, in order.

Pure bookkeeping: no clock, no I/O, no decision about what is sent or given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from gateway.uplinks.base import Row
from gateway.uplinks.parcel import Parcel

PACKET_IDS: Final = 65_470
"""Packet identifiers for parcels. Those behind are for rows that are sent once more, and 65 535 for SUBSCRIBE."""

RESEND_IDS: Final = range(PACKET_IDS + 1, 65_535)

SUBSCRIBE_ID: Final = 65_535

MAX_BYTES: Final = 1 << 20
"""Payload bytes under way at once: what a dead line can hold in memory and in the socket's buffer."""

MAX_SPAN: Final = 4096
"""Parcels remembered, with settled ones behind one that is not: a broker that answers all but one must not fill the
memory."""


def packet_id(seq: int) -> int:
    """The packet identifier of a parcel by its first row: the same after a restart, so that a repeat is a repeat on
    the wire too."""
    return (seq - 1) % PACKET_IDS + 1


class Load:
    """What a lane has in the window: parcels that are not settled, and their bytes of payload.

    settled  rows of it that are settled
    """

    __slots__ = ("bytes", "parcels", "settled")

    def __init__(self) -> None:
        self.bytes = self.parcels = self.settled = 0


class Run:
    """A stretch of rows that are read and settled in order: those behind ``after``, up to ``upto``, of one class.

    room     the class
    load     of its lane
    cursor   everything of it up to here is settled
    read_to  it has been read up to here
    order    its slots that the cursor has not passed
    """

    __slots__ = ("after", "cursor", "load", "order", "read_to", "room", "upto")

    def __init__(self, after: int, upto: int, room: int = 0, load: Load | None = None) -> None:
        self.after = self.cursor = self.read_to = after
        self.upto = upto
        self.room = room
        self.load = Load() if load is None else load
        self.order: deque[Slot] = deque()


class Slot:
    """One parcel on its way.

    id      its packet identifier
    last    number of its last row
    parcel  None once settled
    sent    may have reached the cloud in the session that goes on: the next PUBLISH of it has DUP
    live    sent on this connection, the answer is due
    tries   how often the cloud has refused it
    spare   how many parcels may still be refused of those that it was split into, shared by them; None: it is whole
    until   monotonic clock after which it is not worth sending; None: always
    """

    __slots__ = ("id", "last", "live", "parcel", "run", "sent", "spare", "tries", "until")

    def __init__(self, run: Run, last: int, parcel: Parcel | None, identifier: int = 0, sent: bool = False) -> None:
        self.run = run
        self.id = identifier
        self.last = last
        self.parcel = parcel
        self.sent = sent
        self.live = False
        self.tries = 0
        self.spare: list[int] | None = None
        self.until: float | None = None


class Window:
    """See the module's docstring. ``limit``: parcels that may be under way; set it for each connection."""

    __slots__ = ("_by_id", "_span", "bytes", "in_flight", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.bytes = 0
        self._span = 0
        self._by_id: dict[int, Slot] = {}  # in the order they entered

    def __len__(self) -> int:
        """Parcels not settled: in flight and waiting."""
        return len(self._by_id)

    def has_room(self, seq: int, size: int) -> bool:
        """Whether a parcel that begins with row ``seq`` and has ``size`` bytes of payload may enter now. An empty
        window takes any, however large."""
        if not self._by_id:
            return self.limit > 0
        return (
            len(self._by_id) < self.limit
            and self.bytes + size <= MAX_BYTES
            and self._span < MAX_SPAN
            and packet_id(seq) not in self._by_id
        )

    def take(self, run: Run, parcel: Parcel, sent: bool = False) -> Slot:
        """Let the next parcel of a run in. ``sent``: an earlier process may have sent it in the session that goes
        on."""
        rows = parcel.rows
        slot = Slot(run, rows[-1].seq, parcel, packet_id(rows[0].seq), sent)
        run.order.append(slot)
        self._span += 1
        self._by_id[slot.id] = slot
        size = len(parcel.payload)
        self.bytes += size
        load = run.load
        load.bytes += size
        load.parcels += 1
        return slot

    @property
    def free(self) -> int:
        """How many more parcels may enter now, if they are small."""
        return min(self.limit - len(self._by_id), MAX_SPAN - self._span)

    def has_room_for(self, rows: Sequence[Row], bytes_in_flight: int) -> bool:
        """Whether so many rows as are ``free``, each a parcel, may enter as far as their sizes and identifiers go;
        ``bytes_in_flight``: how many may be, with those that are."""
        by_id = self._by_id
        if rows[-1].seq - rows[0].seq >= PACKET_IDS:
            return False
        if self.bytes + sum([len(row.payload) for row in rows]) > bytes_in_flight:
            return False
        return not by_id or by_id.keys().isdisjoint([packet_id(row.seq) for row in rows])

    def enter(self, run: Run, parcels: Sequence[Parcel]) -> None:
        """Let parcels of one row in that have just been handed to the connection for the first time."""
        by_id, order, size = self._by_id, run.order, 0
        for parcel in parcels:
            seq = parcel.rows[0].seq
            identifier = packet_id(seq)
            slot = Slot(run, seq, parcel, identifier, True)
            slot.live = True
            order.append(slot)
            by_id[identifier] = slot
            size += len(parcel.payload)
        count, load = len(parcels), run.load
        self._span += count
        self.in_flight += count
        self.bytes += size
        load.bytes += size
        load.parcels += count

    def skip(self, run: Run, seq: int) -> bool:
        """Move a run past rows that are not for this uplink, up to ``seq``. True when its cursor moved."""
        order = run.order
        if not order:
            run.cursor = seq
            return True
        if order[-1].parcel is None:
            order[-1].last = seq
        else:
            order.append(Slot(run, seq, None))
            self._span += 1
        return False

    def start(self, slot: Slot) -> None:
        """The parcel has been handed to the connection."""
        if not slot.live:
            slot.live = slot.sent = True
            self.in_flight += 1

    def answered(self, identifier: int) -> Slot | None:
        """The parcel in flight under a packet identifier, or None: an answer that nobody waits for."""
        slot = self._by_id.get(identifier)
        return slot if slot is not None and slot.live else None

    def wait(self, slot: Slot) -> None:
        """The cloud refused the parcel: that exchange is over, it waits for the next try."""
        self._land(slot)
        slot.sent = False
        slot.tries += 1

    def split(self, slot: Slot, parcels: Sequence[Parcel], tries: int, spare: list[int]) -> bool:
        """Put several parcels in the place of one that waits. False, and nothing is done, when a packet identifier is
        in use. ``tries``, ``spare``: what each of them begins with."""
        run, whole = slot.run, slot.parcel
        identifiers = [packet_id(parcel.first) for parcel in parcels]
        if whole is None or not (self._by_id.keys() - {slot.id}).isdisjoint(identifiers):
            return False
        slots = []
        for parcel, identifier in zip(parcels, identifiers, strict=True):
            part = Slot(run, parcel.last, parcel, identifier)
            part.tries, part.spare, part.until = tries, spare, slot.until
            slots.append(part)
        slots[-1].last = slot.last
        at = run.order.index(slot)
        del run.order[at]
        for part in reversed(slots):
            run.order.insert(at, part)
        by_id: dict[int, Slot] = {}
        for identifier, known in self._by_id.items():
            by_id |= {part.id: part for part in slots} if known is slot else {identifier: known}
        self._by_id = by_id
        more = sum([len(parcel.payload) for parcel in parcels]) - len(whole.payload)
        self._span += len(slots) - 1
        self.bytes += more
        run.load.bytes += more
        run.load.parcels += len(slots) - 1
        slot.parcel = None
        return True

    def settle(self, slot: Slot) -> bool:
        """The parcel has arrived or is given up. True when the cursor of its run moved."""
        if slot.parcel is None:
            return False
        run = slot.run
        self._leave(slot, slot.parcel)
        if run.order[0].parcel is not None:
            return False
        self._pass_settled(run)
        return True

    def _leave(self, slot: Slot, parcel: Parcel) -> None:
        if slot.live:
            slot.live = False
            self.in_flight -= 1
        del self._by_id[slot.id]
        slot.parcel = None
        size = len(parcel.payload)
        self.bytes -= size
        load = slot.run.load
        load.bytes -= size
        load.parcels -= 1
        load.settled += len(parcel.rows)

    def _pass_settled(self, run: Run) -> None:
        """Move the cursor of a run past what is settled."""
        order = run.order
        while order and order[0].parcel is None:
            run.cursor = order.popleft().last
            self._span -= 1

    def acked(self, identifiers: Sequence[int]) -> tuple[int, set[Run], list[int]]:
        """Parcels in flight under these packet identifiers have arrived: how many rows they had, the runs of which the
        cursor moved, and the identifiers that nobody waits for."""
        by_id = self._by_id
        rows, moved, others = 0, set[Run](), list[int]()
        for identifier in identifiers:
            slot = by_id.get(identifier)
            parcel = None if slot is None or not slot.live else slot.parcel
            if slot is None or parcel is None:
                others.append(identifier)
                continue
            rows += len(parcel.rows)
            run = slot.run
            self._leave(slot, parcel)
            if run.order[0] is slot:
                moved.add(run)
        for run in moved:
            self._pass_settled(run)
        return rows, moved, others

    def waiting(self) -> list[Slot]:
        """What must be sent again before anything new, in order. Of the parts of one parcel only the first: what behind
        it is split no further would overtake it."""
        if len(self._by_id) == self.in_flight:
            return []
        found, split = list[Slot](), set[int]()
        for slot in self._by_id.values():
            if slot.spare is not None:
                if id(slot.spare) in split:
                    continue
                split.add(id(slot.spare))
            if not slot.live:
                found.append(slot)
        return found

    def runs(self) -> set[Run]:
        """Those that have parcels in it."""
        return {slot.run for slot in self._by_id.values()}

    def oldest(self, load: Load) -> Slot | None:
        """The parcel of a lane that entered first and is not settled."""
        return next((slot for slot in self._by_id.values() if slot.run.load is load), None)

    def live(self) -> list[Slot]:
        """What is in flight, in order."""
        return [slot for slot in self._by_id.values() if slot.live]

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
