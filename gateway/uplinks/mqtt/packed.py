"""How an MQTT uplink packs: which rows of which classes, under which topic, with which marks.

Does not know the connection; what it makes ready is sent by the pump.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import repeat

from gateway.clock import Clock
from gateway.message import USER_PROPERTY
from gateway.outbound import CLASSES, OutboxReader, Row
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.lanes import Lane
from gateway.uplinks.mqtt.mapping import REPLAYED, VIA, Topics, own_properties, plain_topics
from gateway.uplinks.mqtt.saver import Saver
from gateway.uplinks.mqtt.waiting import FOREVER
from gateway.uplinks.packing.entry import Entry, make_entry
from gateway.uplinks.packing.filling import Filling
from gateway.uplinks.packing.lines import LEVEL, LEVEL_OF_BACKLOG
from gateway.uplinks.packing.parcels import Packer
from gateway.uplinks.parcel import Parcel


class Packing:
    """``name``: of the uplink; ``topics``: of ``forward``; ``topic``: where a row goes at the cloud, None for one that
    does not go there; ``gateway``: its name; ``date_all``: puts the times of rows right; ``pass_by``: is told of rows
    that do not go."""

    def __init__(
        self,
        name: str,
        config: MqttUplink,
        gateway: str,
        topics: Topics,
        topic: Callable[[Row], str | None],
        reader: OutboxReader,
        clock: Clock,
        date_all: Callable[[list[Row]], list[Row]],
        pass_by: Callable[[Row], None],
    ) -> None:
        self._name = name
        self._config = config
        self._gateway = gateway
        self._topics = topics
        self._topic = topic
        self._reader = reader
        self._clock = clock
        self._date_all = date_all
        self._pass = pass_by
        self._packers: list[Packer] = []
        self._maximum_packet = 0

    def begin(self, lanes: Iterable[Lane], maximum_packet: int) -> None:
        """Let rows share parcels in the lanes of a connection. ``maximum_packet``: bytes that its broker takes."""
        batch, backlog = self._config.batch, self._config.backlog
        if batch is None:
            return
        via = (USER_PROPERTY, (VIA, self._gateway))
        self._packers, self._maximum_packet = [], maximum_packet
        for lane in lanes:
            marks = (REPLAYED, via) if lane.is_backlog and backlog.mark else (via,)
            prefix, level = (backlog.prefix, LEVEL_OF_BACKLOG) if lane.is_backlog else ("", LEVEL)
            packer = Packer(batch, self._gateway, marks, prefix, level)
            self._packers.append(packer)
            for name in batch.classes:
                lane.fillings[CLASSES.index(name)] = Filling(batch, packer, maximum_packet)

    def halves(self, parcel: Parcel) -> list[Parcel]:
        """The rows of a parcel of several in two or more; none when it is not from here."""
        entries = []
        for row in parcel.rows:
            topic = self._topics(row.topic)
            if topic is None:
                return []
            entries.append(Entry(row, topic, own_properties(row)))
        half = len(entries) // 2
        for packer in self._packers:
            if (packer.topic, packer.props) == (parcel.topic, parcel.props):
                parts = entries[:half], entries[half:]
                return [one for part in parts for one in packer.parcels(part, self._maximum_packet)]
        return []

    def feed(self, filling: Filling, queue: deque[Row], now: float, saver: Saver | None) -> float:
        """Move rows from the queue into parcels to come, until one is ready. What has expired is dropped here: within a
        parcel it would go on. ``saver``: holds some back; seconds until it lets the next one go."""
        while queue and not filling.ready:
            count = 1
            if saver is None:
                count = min(filling.room, len(queue))
            elif (rest := saver.rest(queue, now, filling.pass_by, bursts=False)) or not queue:
                return rest or FOREVER
            self._add(filling, self._date_all([queue.popleft() for _ in range(count)]), now)
        return FOREVER

    def _add(self, filling: Filling, rows: list[Row], now: float) -> None:
        entries = self._plain(rows) or self._entries(rows)
        if entries:
            filling.add(entries, now)
        if not entries or entries[-1].row.seq != rows[-1].seq:
            filling.pass_by(rows[-1].seq)

    def _plain(self, rows: list[Row]) -> list[Entry]:
        """All rows as entries when none of them has anything but topic and payload, which is nearly always; else none:
        they are looked at one by one."""
        topics = plain_topics(rows, self._name, self._topics)
        return [] if topics is None else list(map(make_entry, zip(rows, topics, repeat(()), strict=False)))

    def _entries(self, rows: list[Row]) -> list[Entry]:
        time, keeps_retain = self._clock.time(), self._topics.keeps_retain
        entries: list[Entry] = []
        for row in rows:
            topic = self._topic(row)
            if topic is None:
                self._pass(row)
            elif row.expires is not None and row.expires <= time:
                self._reader.drop(row, "expired")
            else:
                kept = row if not row.retain or keeps_retain(row.topic) else row._replace(retain=False)
                entries.append(make_entry((kept, topic, own_properties(row) if row.props or row.clock else ())))
        return entries
