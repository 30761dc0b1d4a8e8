"""Rows of the outbox to the cloud until the cloud has each.

A connection begins with what was sent and has no answer; then comes what is live, and the backlog beside it, each in
order (``lanes.py``). The window lives longer than a connection, so that only unanswered rows are repeated, each under
its packet identifier and its message id.

A row leaves the window when the cloud has acknowledged it, or when it can never arrive: expired, too large, or
refused. A refusal that may pass stops the line for a while and is tried again; after ``TRIES`` the row is
dropped and counted, and the line moves on: one bad row must not hold up those behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from gateway.clock import Clock
from gateway.errors import Refused
from gateway.metrics import Metrics
from gateway.mqtt.reasons import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    PACKET_IDENTIFIER_IN_USE,
    QUOTA_EXCEEDED,
    REASONS,
    UNSPECIFIED_ERROR,
    reason_text,
)
from gateway.outbound import BY_URGENCY, CLASSES, LAST, Row
from gateway.ranges import NOTHING, Ranges
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.client import CloudClient, Welcome
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.lanes import Lane, Share, split
from gateway.uplinks.mqtt.mapping import Topics, outgoing_properties, with_expiry
from gateway.uplinks.mqtt.window import Run, Slot, Window
from gateway.uplinks.parcel import Parcel, single

READ_ROWS: Final = 512
READ_BYTES: Final = 256 * 1024
"""One batch from the outbox: what waits in memory in front of the window, of a lane and a class."""

FOREVER: Final = float("inf")
"""Until something happens."""

TRIES: Final = 3
"""How often a parcel is sent to a cloud that refuses it."""

PAUSES: Final = (1.0, 5.0)
"""Seconds the line rests after the first and the second refusal of a parcel that may pass."""

PASSING: Final = frozenset((UNSPECIFIED_ERROR, IMPLEMENTATION_SPECIFIC_ERROR, PACKET_IDENTIFIER_IN_USE, QUOTA_EXCEEDED))
"""Refusals that say nothing against the parcel itself."""


class Pump:
    """What goes up of one uplink, for all of its connections: ``connected``, ``run``, ``disconnected``.

    source      how rows are marked that came from this uplink: they do not go back
    random      0 to 1, spreads the pauses
    moved       set when there is something to do
    last_error  what was last refused or given up on this connection
    """

    def __init__(
        self,
        source: str,
        config: MqttUplink,
        reader: OutboxReader,
        clock: Clock,
        metrics: Metrics,
        gateway_name: str,
        random: Callable[[], float],
        pauses: tuple[float, ...],
    ) -> None:
        self.moved = asyncio.Event()
        self.last_error = ""
        self._source = source
        self._config = config
        self._reader = reader
        self._clock = clock
        self._metrics = metrics
        self._gateway = gateway_name
        self._random = random
        self._pauses = pauses
        self._topic = Topics(config.forward)
        self._window = Window(config.window)
        self._lanes: tuple[Lane, ...] = ()
        self._share = Share(1.0, None, 0.0)
        self._begins = 0
        self._is_up = False
        self._resume_at = 0.0
        self._wakes = 0
        self._moved_runs: set[Run] = set()
        # Set by the first connection: before it, the store may not be open.
        self._possibly_sent: list[Ranges] = []
        self._sent = self._acked = self._refused = self._messages = self._bytes = 0
        self._counted = (0, 0)

    # A connection.

    def connected(self, welcome: Welcome) -> None:
        """A connection begins: what is in the outbox is the backlog from here on, and what comes is live."""
        reader, window, backlog, now = self._reader, self._window, self._config.backlog, self._clock.now()
        if not self._possibly_sent:
            self._possibly_sent = [reader.possibly_sent(room) for room in range(len(CLASSES))]
            reader.wake(self._on_rows)
        if not welcome.session_present:
            window.new_session()
            self._possibly_sent = [NOTHING] * len(CLASSES)
        window.limit = min(self._config.window, welcome.receive_maximum)
        self._begins = reader.newest
        lanes = split(reader.acked, window, self._begins, backlog.order == "in_order", now)
        self._lanes = tuple([lane for lane in lanes if lane is not None])
        self._share = Share(backlog.share, backlog.rate, now)
        self._resume_at = 0.0
        self.last_error = ""
        self._is_up = True

    def disconnected(self) -> None:
        """The connection is gone."""
        self._is_up = False
        self._flush()
        self._window.disconnected()

    async def run(self, client: CloudClient) -> None:
        """Keep the window full until the connection ends. Raises what ``client.check`` raises."""
        while True:
            client.check()
            self.moved.clear()
            now = self._clock.now()
            rest = self._resume_at - now
            if rest <= 0:
                self._send_waiting(client)
                missing = self._send_new(client, now)
                self._count()
                if isinstance(missing, tuple):
                    await self._read(*missing)
                    continue
                rest = missing
            await self._wait(rest)

    def _count(self) -> None:
        """Bring the metrics up to date: not for each parcel, because that is felt."""
        messages, size = self._counted
        if self._messages > messages:
            self._metrics.count("uplink_messages_out", self._messages - messages)
            self._metrics.count("uplink_bytes_out", self._bytes - size)
            self._counted = (self._messages, self._bytes)

    async def _wait(self, seconds: float) -> None:
        """Until something happens; ``seconds`` at most."""
        if seconds == FOREVER:
            await self.moved.wait()
            return
        try:
            async with asyncio.timeout(seconds):
                await self.moved.wait()
        except TimeoutError:
            pass

    def _send_waiting(self, client: CloudClient) -> None:
        window = self._window
        for slot in window.waiting():
            if window.in_flight >= window.limit:
                return
            self._send(client, slot)

    def _send_new(self, client: CloudClient, now: float) -> tuple[Lane, Run] | float:
        """Send what there is room for. What must be read to go on, or the seconds after which to try again."""
        for lane in self._lanes:
            lane.rate.observe(lane.load.settled, now)
            for room in BY_URGENCY:
                queue = lane.queues[room]
                if queue:
                    rest = self._send_from(client, lane, lane.runs[room][0], queue, now)
                    if queue:
                        return rest
                if lane.more[room]:
                    run = self._next_run(lane, room)
                    if run is not None:
                        return lane, run
                    lane.more[room] = False
        return FOREVER

    def _send_from(self, client: CloudClient, lane: Lane, run: Run, queue: deque[Row], now: float) -> float:
        """Send what there is room for of one class; the seconds after which to try again."""
        window, is_backlog = self._window, lane.is_backlog
        is_marked, prefix = is_backlog and self._config.backlog.mark, self._config.backlog.prefix if is_backlog else ""
        maybe_sent = self._possibly_sent[run.room]
        while queue:
            row = queue[0]
            topic = None if row.source == self._source else self._topic(row.topic)
            if topic is None:
                queue.popleft()
                self._skip(run, row.seq)
                continue
            size = len(row.payload)
            if not window.has_room(row.seq, size):
                return FOREVER
            if is_backlog:
                if not self._share.has_room(lane, window.limit, size, now):
                    return FOREVER
                rest = self._share.take(1, now)
                if rest:
                    return rest
            queue.popleft()
            parcel = single(row, prefix + topic, outgoing_properties(row, self._gateway, is_marked))
            self._send(client, window.take(run, parcel, row.seq in maybe_sent))
        if not is_backlog:
            self._share.live(now)
        return 0.0

    def _next_run(self, lane: Lane, room: int) -> Run | None:
        """What is to be read next of a class whose queue is empty, when there may be something."""
        runs = lane.runs[room]
        while runs:
            run = runs[0]
            if run.read_to < run.upto and self._reader.has(room, run.read_to):
                return run
            if run.upto == LAST:
                return None
            # Its end, so that it joins what is acknowledged behind it.
            self._skip(run, run.upto)
            runs.popleft()
        return None

    async def _read(self, lane: Lane, run: Run) -> None:
        wakes, read_to = self._wakes, run.read_to
        batch = await self._reader.read(run.room, read_to, run.upto, READ_ROWS, READ_BYTES)
        run.read_to = max(read_to, batch.reached)
        lane.queues[run.room].extend(batch.rows)
        # A commit while the read was under way may have added what it did not see.
        lane.more[run.room] = run.read_to > read_to or self._wakes != wakes

    def _on_rows(self) -> None:
        self._wakes += 1
        for lane in self._lanes:
            lane.woken()
        self.moved.set()

    # A parcel.

    def _send(self, client: CloudClient, slot: Slot) -> None:
        parcel = slot.parcel
        assert parcel is not None, "a settled parcel is never sent"
        props = parcel.props
        expires = parcel.rows[0].expires
        if expires is not None and (expires := parcel.expires) is not None:
            left = expires - self._clock.time()
            if left <= 0:
                self._give_up(slot, "expired")
                return
            props = with_expiry(props, left)
        try:
            size = client.publish(slot.id, parcel.topic, parcel.payload, parcel.retain, props, slot.sent)
        except Refused as refused:
            self._note(parcel, str(refused))
            self._give_up(slot, "too_large")
            return
        except ValueError as error:
            self._note(parcel, f"it cannot be written as MQTT: {error}")
            self._give_up(slot, "malformed")
            return
        self._window.start(slot)
        self._sent += len(parcel.rows)
        self._messages += 1
        self._bytes += size

    def answered(self, identifier: int, reason: int) -> None:
        """The cloud has answered for a packet identifier."""
        slot = self._window.answered(identifier)
        if slot is None or slot.parcel is None:
            return
        if reason < 0x80:
            self._acked += len(slot.parcel.rows)
            self._settle(slot)
        else:
            self._on_refusal(slot, slot.parcel, reason)
        self.moved.set()

    def _on_refusal(self, slot: Slot, parcel: Parcel, reason: int) -> None:
        self._refused += 1
        self._metrics.count("uplink_refused")
        self._note(parcel, f"the broker refused it: {reason_text(reason)}")
        self._window.wait(slot)
        if reason in PASSING and slot.tries < TRIES:
            pause = self._pauses[min(slot.tries, len(self._pauses)) - 1]
            self._resume_at = self._clock.now() + pause * (0.5 + self._random())
        else:
            name = REASONS[reason][0] if reason in REASONS else "unknown"
            self._give_up(slot, "refused_" + name.replace(" ", "_"))

    def _give_up(self, slot: Slot, reason: str) -> None:
        if slot.parcel is not None:
            for row in slot.parcel.rows:
                self._reader.drop(row, reason)
        self._settle(slot)

    def _settle(self, slot: Slot) -> None:
        if self._window.settle(slot):
            self._acknowledge(slot.run)

    def _skip(self, run: Run, seq: int) -> None:
        if self._window.skip(run, seq):
            self._acknowledge(run)

    def _acknowledge(self, run: Run) -> None:
        """Tell the outbox how far a run is: once for all that is said in one pass of the loop."""
        if not self._moved_runs:
            asyncio.get_running_loop().call_soon(self._flush)
        self._moved_runs.add(run)

    def _flush(self) -> None:
        runs, self._moved_runs = self._moved_runs, set()
        for run in runs:
            self._reader.acknowledge(run.room, run.after, run.cursor)

    def _note(self, parcel: Parcel, text: str) -> None:
        row = parcel.rows[0]
        self.last_error = f"message {row.message_id} on {row.topic!r}: {text}"

    # Status.

    def status(self) -> dict[str, Any]:
        """What a person wants to see of it, a part of the uplink's."""
        return {
            "reason": self._reason(),
            "in_flight": self._window.in_flight,
            "cursor": self._reader.cursor,
            "sent": self._sent,
            "acked": self._acked,
            "refused": self._refused,
            "bytes": self._bytes,
            "lanes": {"backlog" if lane.is_backlog else "live": self._lane_status(lane) for lane in self._lanes},
        }

    def _reason(self) -> str:
        reasons = [self._reason_of(lane) for lane in self._lanes] or ["offline"]
        return next((reason for reason in reasons if reason != "caught_up"), "caught_up")

    def _reason_of(self, lane: Lane) -> str:
        """Why a lane does not move, or ``moving``."""
        window, now = self._window, self._clock.now()
        if not self._is_up:
            return "offline"
        if now < self._resume_at:
            return "paused"
        if lane.is_at_rest:
            return "caught_up"
        row = lane.next_row()
        if row is not None:
            if not window.has_room(row.seq, len(row.payload)):
                return "window_full"
            if lane.is_backlog and not self._share.has_room(lane, window.limit, len(row.payload), now):
                return "share_full"
            if lane.is_backlog and self._share.wait(now):
                return "rate"
        return "moving"

    def _lane_status(self, lane: Lane) -> dict[str, Any]:
        """Rows that wait, the age of the oldest in seconds, rows a second, and why it does not move."""
        slot = self._window.oldest(lane.load)
        row = slot.parcel.rows[0] if slot is not None and slot.parcel is not None else lane.next_row()
        begins = self._begins if len(self._lanes) > 1 else 0
        return {
            "depth": self._reader.depth(*((0, begins) if lane.is_backlog else (begins, LAST))),
            "oldest_age": None if row is None else max(0.0, round(self._clock.time() - row.time, 3)),
            "rate": round(lane.rate.per_second(lane.load.settled, self._clock.now()), 1),
            "reason": self._reason_of(lane),
        }
