"""Rows of the outbox to the cloud until the cloud has each.

A connection begins with what was sent and has no answer; then comes what is live, and the backlog beside it, each in
order (``lanes.py``). The window lives longer than a connection, so that only unanswered rows are repeated, each under
its packet identifier and its message id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.outbound import BY_URGENCY, CLASSES, LAST, TELEMETRY, Archive, Row, Timing
from gateway.ranges import NOTHING, Ranges
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.dead import DeadLetters
from gateway.uplinks.ledger import ledger_topics
from gateway.uplinks.mqtt.again import Again
from gateway.uplinks.mqtt.ahead import FEW, MANY, ReadAhead
from gateway.uplinks.mqtt.client import CloudClient, Welcome
from gateway.uplinks.mqtt.config import Forward, MqttUplink
from gateway.uplinks.mqtt.despatch import Despatch
from gateway.uplinks.mqtt.envelope import Envelope
from gateway.uplinks.mqtt.lanes import Lane, Share, split, status_of, why_at_rest
from gateway.uplinks.mqtt.mapping import Topics, outgoing_properties, plain_topics
from gateway.uplinks.mqtt.packed import Packing
from gateway.uplinks.mqtt.refusals import NOT_FORWARDED
from gateway.uplinks.mqtt.saver import Saver
from gateway.uplinks.mqtt.waiting import FOREVER, HOLD_LOOK, WAITING, wait_for
from gateway.uplinks.mqtt.window import MAX_BYTES, Run, Window
from gateway.uplinks.packing.filling import Filling
from gateway.uplinks.parcel import make_parcel
from gateway.uplinks.profiles.pace import Pace
from gateway.uplinks.profiles.service import Limits

AT_ONCE: Final = 16
"""Rows in one write to the socket: while the broker reads them, the next ones are made."""


class Pump:
    """What goes up of one uplink, for all of its connections: ``connected``, ``run``, ``disconnected``.

    source      how rows are marked that came from this uplink: they do not go back
    archive     what can be sent once more; None: nothing
    again       who does that
    random      0 to 1, spreads the pauses
    dead        where rows go that the cloud will not take
    limits      what the service takes
    moved       set when there is something to do
    out         what is under way
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
        dead: DeadLetters,
        timing: Timing,
        archive: Archive | None,
        limits: Limits,
    ) -> None:
        self.moved = asyncio.Event()
        self._saver = Saver(reader, clock, lambda row: self._topic(row) is not None)
        self._source = source
        self._name = source.removeprefix("uplink:")
        self._config = config
        self._reader = reader
        self._clock = clock
        self._metrics = metrics
        self._gateway = gateway_name
        self._timing = timing
        self._limits = limits
        own = [Forward(filter=local, to=topic) for local, topic in ledger_topics(config.ledger, gateway_name)]
        self._topics = Topics((*own, *config.forward))
        self._packing = Packing(
            self._name, config, gateway_name, self._topics, self._topic, reader, clock, timing.date_all, self._pass
        )
        self._window = Window(config.window)
        self.out = Despatch(
            self._window, self._topics, reader, dead, Pace(limits.rate), clock, metrics, random, pauses,
            self._packing.halves,
        )  # fmt: skip
        can_repeat = archive if config.version == "5" else None
        self.again = Again(can_repeat, self._topics, gateway_name, metrics, self.moved.set)
        self._ahead = ReadAhead(reader)
        self._lanes: tuple[Lane, ...] = ()
        self._envelopes = [Envelope(gateway_name, is_marked) for is_marked in (False, True)]
        self._share = Share(1.0, None, 0.0)
        self._begins = 0
        self._is_up = self._is_finishing = False
        self._still = asyncio.Event()
        self._wakes = 0
        # Set by the first connection: before it, the store may not be open.
        self._possibly_sent: list[Ranges] = []

    def connected(self, welcome: Welcome) -> None:
        """A connection begins: what is in the outbox is the backlog from here on, and what comes is live."""
        reader, window, backlog, now = self._reader, self._window, self._config.backlog, self._clock.now()
        if not self._possibly_sent:
            self._possibly_sent = [reader.possibly_sent(room) for room in range(len(CLASSES))]
            reader.wake(self._on_rows)
        if not welcome.session_present:
            window.new_session()
            self._possibly_sent = [NOTHING] * len(CLASSES)
        self.out.begin(min(self._config.window, welcome.receive_maximum))
        self.again.connected(welcome.session_present)
        self._begins = reader.newest
        self._saver.begin()
        lanes = split(reader.acked, window, self._begins, backlog.order == "in_order", now)
        self._lanes = tuple([lane for lane in lanes if lane is not None])
        self._packing.begin(self._lanes, min(welcome.maximum_packet, self._limits.payload))
        self._share = Share(backlog.share, backlog.rate, now)
        self._is_up = True

    def press(self, level: int) -> None:
        """Save bytes, see ``uplinks.budget``."""
        self._saver.press(level)
        self.moved.set()

    def disconnected(self) -> None:
        """The connection is gone."""
        self._is_up = False
        self._still.set()
        self.out.disconnected()
        self.again.disconnected()

    async def finish(self) -> None:
        """Send nothing more, and wait until the cloud has answered for what is under way: it would come twice else."""
        self._is_finishing = True
        if self._is_up and self._window.in_flight:
            self._still.clear()
            await self._still.wait()

    async def run(self, client: CloudClient) -> None:
        """Keep the window full until the connection ends. Raises what ``client.check`` raises."""
        try:
            await self._run(client)
        finally:
            await self._ahead.end()

    async def _run(self, client: CloudClient) -> None:
        while True:
            client.check()
            await client.drained()
            self.moved.clear()
            now = self._clock.now()
            rest = max(self.out.resume_at - now, min(self._timing.held(), HOLD_LOOK))
            if self._is_finishing:
                rest = FOREVER
            elif rest <= 0:
                self._send_waiting(client)
                if self.again.is_busy:
                    is_idle = all(one.is_at_rest for one in self._lanes)
                    if await self.again.turn(client, self._window, self.out.allowed, is_idle):
                        self.moved.set()
                missing = self._send_new(client, now)
                client.flush()
                self.out.totals.count(self._metrics)
                if isinstance(missing, tuple):
                    await self._read(*missing)
                    continue
                rest = min(missing, self.out.resume_at - now if self.out.resume_at > now else FOREVER)
            await wait_for(self.moved, rest)

    def _send_waiting(self, client: CloudClient) -> None:
        window = self._window
        for slot in window.waiting():
            if window.in_flight >= window.limit or self.out.must_rest(self._clock.now()):
                return
            self.out.send(client, slot)

    def _send_new(self, client: CloudClient, now: float) -> tuple[Lane, Run] | float:
        """Send what there is room for. What must be read to go on, or the seconds after which to try again."""
        soonest, saver = FOREVER, self._saver
        for lane in self._lanes:
            lane.rate.observe(lane.load.settled, now)
            for room in BY_URGENCY:
                queue, filling = lane.queues[room], lane.fillings[room]
                if filling is not None:
                    soonest = min(soonest, self._fill(client, lane, room, filling, now))
                    if filling.ready:
                        return soonest
                elif queue:
                    rest = self._send_from(client, lane, lane.runs[room][0], queue, now)
                    if queue and not saver.holds(room):
                        return min(soonest, rest)
                    soonest = min(soonest, rest) if queue else soonest
                if lane.more[room] and (not queue or saver.reads_ahead(room, queue)):
                    run = saver.ahead(lane) if queue else self._next_run(lane, room)
                    if run is not None:
                        return lane, run
                    lane.more[room] = False
        return soonest

    def _send_from(self, client: CloudClient, lane: Lane, run: Run, queue: deque[Row], now: float) -> float:
        """Send what there is room for of one class; the seconds after which to try again."""
        window, is_backlog, out, date = self._window, lane.is_backlog, self.out, self._timing.date
        is_marked, prefix = is_backlog and self._config.backlog.mark, self._config.backlog.prefix if is_backlog else ""
        maybe_sent, is_held = self._possibly_sent[run.room], self._saver.holds(run.room)
        envelope, gateway = self._envelopes[is_marked], self._gateway
        while queue and not is_held and self._send_plain(client, lane, run, queue, now):
            client.flush()
        while queue:
            if is_held:
                rest = self._saver.rest(queue, now, partial(self.out.skip, run))
                if rest or not queue:
                    return rest
            row = queue[0]
            topic = self._topic(row)
            if topic is None:
                queue.popleft()
                self._pass(row)
                self.out.skip(run, row.seq)
                continue
            rest = self._room_for(lane, row.seq, len(row.payload), 1, now)
            if rest:
                return rest
            queue.popleft()
            row = date(row)
            props, packed = outgoing_properties(row, gateway, is_marked), envelope(row)
            retain = row.retain and self._topics.keeps_retain(row.topic)
            parcel = make_parcel(((row,), prefix + topic, row.payload, retain, props, packed))
            out.send(client, window.take(run, parcel, row.seq in maybe_sent), now)
        if not is_backlog:
            self._share.live(now)
        return 0.0

    def _send_plain(self, client: CloudClient, lane: Lane, run: Run, queue: deque[Row], now: float) -> bool:
        """Send some rows at once for which there surely is room, when none has anything unusual: what else there is to
        be seen to of a row costs more than to send it. Whether all of them went; what is left goes one by one."""
        window, topics, backlog = self._window, self._topics, self._config.backlog
        free, bytes_in_flight = min(window.free, AT_ONCE), MAX_BYTES
        if lane.is_backlog:
            free = min(free, self._share.free(lane, window.limit, now))
            bytes_in_flight = min(MAX_BYTES, int(MAX_BYTES * backlog.share) - lane.load.bytes + window.bytes)
        if free < 2 or not topics.is_plain or not self.out.is_unpaced or self.out.must_rest(now):
            return False
        rows = list(islice(queue, free))
        if self._possibly_sent[run.room].touches(rows[0].seq - 1, rows[-1].seq):
            return False
        targets = plain_topics(rows, self._name, topics)
        if targets is None or not window.has_room_for(rows, bytes_in_flight) or self._timing.date_all(rows) is not rows:
            return False
        if lane.is_backlog and backlog.prefix:
            targets = [backlog.prefix + topic for topic in targets]
        bodies = self._envelopes[lane.is_backlog and backlog.mark].all(rows)
        count, size = client.publish_all(rows, targets, bodies)
        sent = [
            make_parcel(((row,), topic, row.payload, False, (), body))
            for row, topic, body in zip(rows[:count], targets, bodies, strict=False)
        ]
        for _ in sent:
            queue.popleft()
        self.out.sent(run, sent, size, now)
        return count == len(rows)

    def _topic(self, row: Row) -> str | None:
        """Where a row goes at the cloud; None when it does not go there."""
        is_mine = self._name in row.uplinks if row.uplinks else row.source != self._source
        return self._topics(row.topic) if is_mine else None

    def _pass(self, row: Row) -> None:
        """A row does not go to the cloud: the settings may have been others when it was kept."""
        if self._name in row.uplinks:
            self._reader.drop(row, NOT_FORWARDED)

    def _room_for(self, lane: Lane, seq: int, size: int, rows: int, now: float) -> float:
        """0 when a parcel that begins with row ``seq`` may go now, or the seconds after which to try again."""
        window, share = self._window, self._share
        if not window.has_room(seq, size) or (lane.is_backlog and not share.has_room(lane, window.limit, size, now)):
            return FOREVER
        if self.out.must_rest(now):
            return FOREVER
        return share.take(rows, now) if lane.is_backlog else 0.0

    def _fill(self, client: CloudClient, lane: Lane, room: int, filling: Filling, now: float) -> float:
        """Pack rows of one class and send what is due and has room; the seconds after which to try again."""
        queue, runs = lane.queues[room], lane.runs[room]
        while runs:
            run = runs[0]
            while filling.ready:
                parcel = filling.ready[0]
                rest = self._room_for(lane, parcel.first, len(parcel.payload), len(parcel.rows), now)
                if rest:
                    return rest
                filling.ready.popleft()
                self.out.send(client, self._window.take(run, parcel, parcel.first in self._possibly_sent[room]), now)
            if queue and not lane.is_backlog:
                self._share.live(now)
            held = self._packing.feed(filling, queue, now, self._saver if self._saver.holds(room) else None)
            if filling.passed and filling.first is None:
                self.out.skip(run, filling.passed)
                filling.passed = 0
            is_end = not queue and run.upto != LAST and not self._has_more(run)
            rest = 0.0 if filling.ready else filling.close(now, is_end, self._saver.wait_factor(room))
            if rest:
                return min(rest, held)
        return FOREVER

    def _next_run(self, lane: Lane, room: int) -> Run | None:
        """What is to be read next of a class whose queue is empty, when there may be something."""
        runs, filling = lane.runs[room], lane.fillings[room]
        while runs:
            run = runs[0]
            if self._has_more(run):
                return run
            if run.upto == LAST:
                return None
            assert filling is None or filling.first is None, "what is not sent is never passed by"
            # Its end, so that it joins what is acknowledged behind it.
            self.out.skip(run, run.upto)
            runs.popleft()
        return None

    def _has_more(self, run: Run) -> bool:
        """Whether a run may have rows that were not read: what is behind its end is of another one."""
        return run.read_to < run.upto and self._reader.has(run.room, run.read_to)

    async def _read(self, lane: Lane, run: Run) -> None:
        read_to, is_packed = run.read_to, lane.fillings[run.room] is not None
        limits = MANY if lane.is_backlog or is_packed else FEW
        batch, wakes = await self._ahead.take(run, limits, self._wakes)
        run.read_to = max(read_to, batch.reached)
        lane.queues[run.room].extend(batch.rows)
        self._saver.took(run.room, batch.rows)
        # A commit while the read was under way may have added what it did not see.
        lane.more[run.room] = run.read_to > read_to or self._wakes != wakes
        if is_packed and len(batch.rows) == limits.rows and self._has_more(run):
            self._ahead.begin(run, limits, self._wakes)

    def _on_rows(self) -> None:
        self._wakes += 1
        for lane in self._lanes:
            lane.woken()
        self.moved.set()

    def answered(self, identifier: int, reason: int) -> None:
        """The cloud has answered for a packet identifier."""
        if self.again.answered(identifier, reason) or self.out.answered(identifier, reason):
            self.moved.set()
            if not self._window.in_flight:
                self._still.set()

    def acked(self, identifiers: Sequence[int]) -> None:
        """The cloud has what was sent under these packet identifiers."""
        others = self.out.acked(identifiers)
        for identifier in others:
            self.again.answered(identifier, 0)
        self.moved.set()
        if not self._window.in_flight:
            self._still.set()

    def status(self) -> dict[str, Any]:
        """What a person wants to see of it, a part of the uplink's."""
        return {
            "reason": self._reason(),
            "in_flight": self._window.in_flight,
            "cursor": self._reader.cursor,
            **self.out.totals.status(self.again.bytes),
            "lanes": {"backlog" if lane.is_backlog else "live": self._lane_status(lane) for lane in self._lanes},
        }

    def _reason(self) -> str:
        reasons = [self._reason_of(lane) for lane in self._lanes] or ["offline"]
        return next((reason for reason in reasons if reason != "caught_up"), "caught_up")

    def _reason_of(self, lane: Lane) -> str:
        """Why a lane does not move, or ``moving``."""
        if not self._is_up:
            return "offline"
        if self._timing.held() > 0:
            return WAITING
        now = self._clock.now()
        if now < self.out.resume_at:
            return self.out.why_it_rests(now)
        if lane.next_room() == TELEMETRY and self._saver.holds(TELEMETRY):
            return "saving"
        return why_at_rest(lane, self._window, self._share, now)

    def _lane_status(self, lane: Lane) -> dict[str, Any]:
        begins = self._begins if len(self._lanes) > 1 else 0
        depth = self._reader.depth(*((0, begins) if lane.is_backlog else (begins, LAST)))
        return {**status_of(lane, self._window, self._clock), "depth": depth, "reason": self._reason_of(lane)}
