"""How an MQTT uplink packs: which rows of which classes, under which topic, with which marks.

Does not know the connection; what it makes ready is sent by the pump.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from gateway.clock import Clock
from gateway.message import USER_PROPERTY
from gateway.outbound import CLASSES, OutboxReader, Row
from gateway.uplinks.mqtt.config import MqttUplink
from gateway.uplinks.mqtt.lanes import Lane
from gateway.uplinks.mqtt.mapping import REPLAYED, VIA, own_properties
from gateway.uplinks.mqtt.saver import Saver
from gateway.uplinks.mqtt.waiting import FOREVER
from gateway.uplinks.packing.filling import Filling
from gateway.uplinks.packing.parcels import Packer


class Packing:
    """``topic``: where a row goes at the cloud, None for one that does not go there; ``gateway``: its name;
    ``date``: puts a row's time right; ``pass_by``: is told of those."""

    def __init__(
        self,
        config: MqttUplink,
        gateway: str,
        topic: Callable[[Row], str | None],
        reader: OutboxReader,
        clock: Clock,
        date: Callable[[Row], Row],
        pass_by: Callable[[Row], None],
    ) -> None:
        self._config = config
        self._gateway = gateway
        self._topic = topic
        self._reader = reader
        self._clock = clock
        self._date = date
        self._pass = pass_by

    def begin(self, lanes: Iterable[Lane], maximum_packet: int) -> None:
        """Let rows share parcels in the lanes of a connection. ``maximum_packet``: bytes that its broker takes."""
        batch, backlog = self._config.batch, self._config.backlog
        if batch is None:
            return
        via = (USER_PROPERTY, (VIA, self._gateway))
        for lane in lanes:
            marks = (REPLAYED, via) if lane.is_backlog and backlog.mark else (via,)
            packer = Packer(batch, self._gateway, marks, backlog.prefix if lane.is_backlog else "")
            for name in batch.classes:
                lane.fillings[CLASSES.index(name)] = Filling(batch, packer, maximum_packet)

    def feed(self, filling: Filling, queue: deque[Row], now: float, saver: Saver | None) -> float:
        """Move rows from the queue into parcels to come, until one is ready. What has expired is dropped here: within a
        parcel it would go on. ``saver``: holds some back; seconds until it lets the next one go."""
        while queue and not filling.ready:
            if saver is not None:
                rest = saver.rest(queue, now, filling.pass_by, bursts=False)
                if rest or not queue:
                    return rest or FOREVER
            row = self._date(queue.popleft())
            topic = self._topic(row)
            if topic is None:
                self._pass(row)
                filling.passed = row.seq
            elif row.expires is not None and row.expires <= self._clock.time():
                self._reader.drop(row, "expired")
                filling.passed = row.seq
            else:
                filling.add(row, topic, own_properties(row), now)
        return FOREVER
