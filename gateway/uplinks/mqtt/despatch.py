"""Parcels on their way: sent, answered, refused, tried again, given up.

A refusal that may pass stops the line for a while, and the parcel is tried again. After ``TRIES``, and when it can
never arrive, its rows are counted and go to the dead letters: one bad row must not hold up those behind it. A parcel of
several rows is halved first, again and again, where the refusal may be meant for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.clock import Clock
from gateway.errors import Refused
from gateway.metrics import Metrics
from gateway.mqtt.reasons import PACKET_TOO_LARGE, reason_text
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.dead import DeadLetters
from gateway.uplinks.mqtt.client import CloudClient
from gateway.uplinks.mqtt.mapping import Topics, with_expiry
from gateway.uplinks.mqtt.poison import STRIKES, Poison
from gateway.uplinks.mqtt.progress import Progress
from gateway.uplinks.mqtt.refusals import MOST_REFUSED, OF_ROWS, PASSING, TRIES, word
from gateway.uplinks.mqtt.totals import Totals
from gateway.uplinks.mqtt.window import Run, Slot, Window
from gateway.uplinks.parcel import Parcel
from gateway.uplinks.profiles.pace import Pace


class Despatch:
    """For one uplink, over all its connections.

    window      what is under way
    topics      of ``forward``, for the QoS
    dead        where rows go that the cloud will not take
    pace        how many messages a second the service takes
    random      0 to 1, spreads the pauses
    halves      a parcel of several rows as two or more; none when it cannot be said how
    limit       messages that may be under way, when nothing is suspected
    resume_at   monotonic: the line rests until then
    last_error  what was last refused or given up on this connection
    """

    def __init__(
        self,
        window: Window,
        topics: Topics,
        reader: OutboxReader,
        dead: DeadLetters,
        pace: Pace,
        clock: Clock,
        metrics: Metrics,
        random: Callable[[], float],
        pauses: tuple[float, ...],
        halves: Callable[[Parcel], list[Parcel]],
    ) -> None:
        self.window = window
        self.totals = Totals()
        self.limit = window.limit
        self.resume_at = 0.0
        self.last_error = ""
        self._topics = topics
        self._reader = reader
        self._dead = dead
        self._pace = pace
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._pauses = pauses
        self._halves = halves
        self._progress = Progress(reader)
        self._poison = Poison()
        self._sent_at = 0.0
        self._is_answered = False

    def begin(self, limit: int) -> None:
        """A connection begins; ``limit``: messages that may be under way on it."""
        self.limit = limit
        self.window.limit = self.allowed
        self._is_answered = False
        self.resume_at = 0.0
        self.last_error = ""

    @property
    def allowed(self) -> int:
        """Messages that may be under way: one while a parcel is suspected of ending connections."""
        return 1 if self._poison.alone else self.limit

    def ended(self, client: CloudClient, text: str) -> None:
        """The connection has ended, ``text`` says how: was it a parcel that ended it?"""
        slots = self.window.live() if not self._is_answered else []
        since = self._clock.now() - self._sent_at
        number = self._poison.ended([slot.last for slot in slots], since, client.is_cut, client.farewell)
        if number is not None:
            (slot,) = slots
            self.window.wait(slot)
            slot.tries = STRIKES
            self._give_up(slot, "poison", f"{STRIKES} times the connection ended with it: {text}")

    def disconnected(self) -> None:
        """The connection is gone."""
        self._progress.flush()
        self.window.disconnected()

    @property
    def is_unpaced(self) -> bool:
        """Whether as many messages may go as there is room for."""
        return self._pace.is_free

    def must_rest(self, now: float) -> bool:
        """Whether the line rests, after a refusal or because the broker takes no more in this second."""
        rest = self._pace.wait(now)
        if rest:
            self.resume_at = max(self.resume_at, now + rest)
        return self.resume_at > now

    def why_it_rests(self, now: float) -> str:
        """While it does: ``rate``, or ``paused`` after a refusal."""
        return "rate" if self._pace.wait(now) else "paused"

    def send(self, client: CloudClient, slot: Slot, first: float | None = None) -> None:
        """Send a parcel that is in the window. ``first``: now, when it has not been tried before."""
        parcel = slot.parcel
        assert parcel is not None, "a settled parcel is never sent"
        if first is not None and parcel.rows[0].expires is not None and (expires := parcel.expires) is not None:
            slot.until = first + expires - self._clock.time()  # a step of the clock does not end what is under way
        props, packed = parcel.props, parcel.packed
        if slot.until is not None:
            left = slot.until - self._clock.now()
            if left <= 0:
                self._give_up(slot, "expired")
                return
            props, packed = with_expiry(props, left), None
        try:
            qos = self._topics.qos(parcel.rows)
            size = client.publish(slot.id, parcel.topic, parcel.payload, parcel.retain, props, slot.sent, qos, packed)
        except Refused as refused:
            self._give_up(slot, "too_large" if refused.reason == PACKET_TOO_LARGE else "bad_topic", str(refused))
            return
        except ValueError as error:
            self._give_up(slot, "malformed", f"it cannot be written as MQTT: {error}")
            return
        self.window.start(slot)
        self._sent_at = self._clock.now() if first is None else first
        self._pace.sent(self._sent_at)
        self.totals.publish(len(parcel.rows), size)
        if not qos:
            self._settle(slot)  # nobody will say whether it has arrived

    def sent(self, run: Run, parcels: Sequence[Parcel], size: int, now: float) -> None:
        """Parcels of one row, ``size`` bytes in all, have been handed to the connection for the first time."""
        self.window.enter(run, parcels)
        self._sent_at = now
        self.totals.publish(len(parcels), size, len(parcels))

    def answered(self, identifier: int, reason: int) -> bool:
        """The cloud has answered for a packet identifier; whether it was one of ours."""
        slot = self.window.answered(identifier)
        if slot is None or slot.parcel is None:
            return False
        self._is_answered = True
        if self._poison.answered():
            self.window.limit = self.limit
        if reason < 0x80:
            self.totals.acked += len(slot.parcel.rows)
            self._settle(slot)
        else:
            self._on_refusal(slot, slot.parcel, reason)
        return True

    def acked(self, identifiers: Sequence[int]) -> list[int]:
        """The cloud has what was sent under these packet identifiers; those that are not ours."""
        rows, moved, others = self.window.acked(identifiers)
        if rows:
            self._is_answered = True
            if self._poison.answered():
                self.window.limit = self.limit
            self.totals.acked += rows
            for run in moved:
                self._progress.moved(run)
        return others

    def skip(self, run: Run, seq: int) -> None:
        """Pass by rows that nobody is sent."""
        if self.window.skip(run, seq):
            self._progress.moved(run)

    def _on_refusal(self, slot: Slot, parcel: Parcel, reason: int) -> None:
        self.totals.refused += 1
        self._metrics.count("uplink_refused")
        text = f"the broker refused it: {reason_text(reason)}"
        self._note(parcel, text)
        self.window.wait(slot)
        if reason in PASSING and slot.tries < TRIES:
            pause = self._pauses[min(slot.tries, len(self._pauses)) - 1]
            self.resume_at = self._clock.now() + pause * (0.5 + self._random())
        elif reason not in OF_ROWS or not self._split(slot, parcel):
            self._give_up(slot, word(reason), text)

    def _split(self, slot: Slot, parcel: Parcel) -> bool:
        """Send the halves of a refused parcel in its place, so that in the end only what is meant is given up."""
        spare = [MOST_REFUSED] if slot.spare is None else slot.spare
        if len(parcel.rows) == 1 or spare[0] <= 0:
            return False
        spare[0] -= 1
        parts = self._halves(parcel)
        # What may pass has had its tries: each part has one.
        return len(parts) > 1 and self.window.split(slot, parts, TRIES - 1, spare)

    def _give_up(self, slot: Slot, reason: str, error: str = "") -> None:
        """``error``: what to keep its rows with among the dead letters; without one they are not kept."""
        if slot.parcel is not None:
            if error:
                self._note(slot.parcel, error)
            for row in slot.parcel.rows:
                self._reader.drop(row, reason)
                if error:
                    self._dead.add(row, reason, error, slot.tries)
        self._settle(slot)

    def _settle(self, slot: Slot) -> None:
        if self.window.settle(slot):
            self._progress.moved(slot.run)

    def _note(self, parcel: Parcel, text: str) -> None:
        row = parcel.rows[0]
        self.last_error = f"message {row.message_id} on {row.topic!r}: {text}"
