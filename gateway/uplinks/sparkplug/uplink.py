"""Points of devices to Sparkplug hosts: births, data, deaths; commands of hosts to the points.

One ``run`` is one connection. Its CONNECT gets a number (bdSeq) that is on the disk before it leaves; its will is the
NDEATH with that number. When the primary host is there, if one is wanted, the node and its devices are born, then rows
of the outbox are sent as DDATA.

What is at present comes from the messages of the points, not from the outbox: a birth tells it, however much waits
there. A row that was in the outbox when its device was born is historical. A row that says what was told already is
not sent.

Reconnecting, and how long to wait before it, is the business of whoever calls ``run``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from gateway.broker.port import Publisher
from gateway.clock import Clock, iso_time
from gateway.errors import Malformed, Retry
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.mqtt.packets import Publish, Will
from gateway.outbound import RightTime, Timing
from gateway.uplinks.base import OnSite, OutboxReader, Row, Site
from gateway.uplinks.sparkplug.commands import commands
from gateway.uplinks.sparkplug.config import SparkplugUplink
from gateway.uplinks.sparkplug.devices import devices_of
from gateway.uplinks.sparkplug.host import PrimaryHost
from gateway.uplinks.sparkplug.intake import Intake
from gateway.uplinks.sparkplug.line import Line
from gateway.uplinks.sparkplug.node import Device, EdgeNode, Frame, News, Reading, Tag
from gateway.uplinks.sparkplug.present import Present
from gateway.uplinks.sparkplug.readings import milliseconds, reading_of

BDSEQ_VALUES: Final = 256

MOST_NEWS: Final = 100
"""Metrics in one DDATA."""

CONFIRM_AFTER: Final = 2.0
"""Seconds that rows stay unconfirmed while the window has room. A confirmation costs a packet in each direction."""


class SparkplugUplinkRunner(OnSite):
    """One edge node. The constructor does no I/O; ``run`` is called again for each connection, never twice at once.

    confirm_after  see CONFIRM_AFTER
    """

    def __init__(
        self,
        name: str,
        config: SparkplugUplink,
        reader: OutboxReader,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
        gateway_name: str,
        random: Callable[[], float],
        site: Site,
        timing: Timing | None = None,
        confirm_after: float = CONFIRM_AFTER,
    ) -> None:
        self._name = name
        self._source = f"uplink:{name}"
        self._config = config
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics
        self._site = site
        self._confirm_after = confirm_after
        self._client_id = config.client_id or f"gw-{gateway_name}"
        filters = [entry.filter for entry in config.forward]
        self._node = EdgeNode(
            config.group, config.node or gateway_name, devices_of(site.devices, filters), config.aliases
        )
        self._host = PrimaryHost(config.primary_host) if config.primary_host is not None else None
        self._moved = asyncio.Event()
        self._intake = Intake(name, reader, self._moved.set, (timing or RightTime()).date)
        self._present = Present(self._on_present)
        self._watching = False
        self._line: Line | None = None
        self._born = self._rebirth = False
        self._revived: set[str] = set()
        # The newest row when each device was born: what its birth has told is as new as that.
        self._born_at: dict[str, int] = {}
        self._ping_due = 0.0
        self._births = self._sent = self._unchanged = self._bytes = self._received = 0
        self._state = "down"
        self._last_error = ""
        self._connected_since: float | None = None

    async def run(self, up: Callable[[], None]) -> None:
        """The life of one connection. Raises Retry when it cannot be had or has ended."""
        self._watch_points()
        self._state = "connecting"
        try:
            await self._connect()
            await self._wait_for_host()
            self._state = "up"
            self._last_error = ""
            self._bear()
            up()
            await self._pump()
        except Retry as retry:
            self._last_error = str(retry)
            raise
        finally:
            self._state = "down"
            self._connected_since = None
            await self._leave()

    def leave(self) -> None:
        """See ``OnSite``."""
        if self._watching:
            self._watching = False
            for topic in self._node.by_topic:
                self._publisher.unsubscribe(topic, self._present)

    def status(self) -> dict[str, Any]:
        """What a person wants to see. ``reason`` says why nothing moves, or ``moving``. Bytes are those of MQTT."""
        since, intake = self._connected_since, self._intake
        sent, received = self.traffic()
        return {
            "state": self._state,
            "reason": self._reason(),
            "in_flight": intake.unconfirmed,
            "cursor": intake.cursor,
            "sent": self._sent,
            "acked": intake.confirmed,
            "unchanged": self._unchanged,
            "births": self._births,
            "bdseq": self._node.bdseq,
            "host_online": None if self._host is None else self._host.online,
            "devices": {name: "born" if device.born else "dead" for name, device in self._node.devices.items()},
            "refused": 0,
            "bytes": sent,
            "wire_out": sent,
            "wire_in": received,
            "host": str(self._config.endpoint),
            "lanes": {},
            "last_error": self._last_error,
            "connected_since": None if since is None else iso_time(since),
        }

    async def finish(self) -> None:
        """The gateway stops: nothing is waited for; what is not confirmed will be told as historical."""

    def traffic(self) -> tuple[int, int]:
        """Bytes of MQTT sent and received since the start."""
        line = self._line
        return (
            self._bytes + (line.bytes if line is not None else 0),
            self._received + (line.received if line is not None else 0),
        )

    def _reason(self) -> str:
        if self._connected_since is None:
            return "offline"
        if not self._born:
            return "waiting_for_host"
        if self._intake.unconfirmed >= self._config.window:
            return "window_full"
        return "caught_up" if self._intake.idle else "moving"

    # The life of a connection.

    def _watch_points(self) -> None:
        if not self._watching:
            self._watching = True
            for topic in self._node.by_topic:
                self._publisher.subscribe(topic, self._present)

    async def _connect(self) -> None:
        line = self._line = Line(
            self._config, self._client_id, self._will, self._on_message, self._on_pong, self._moved.set
        )
        if self._host is not None:
            self._host.connected()
        self._intake.begin()
        self._rebirth = False
        await line.open()
        self._connected_since = self._clock.time()
        wanted = [self._node.topic("NCMD"), self._node.topic("DCMD", "+")]
        if self._host is not None:
            wanted.append(self._host.topic)
        await line.subscribe(wanted)

    async def _will(self) -> Will:
        self._node.begin(await self._site.number(f"{self._name}/bdSeq", BDSEQ_VALUES))
        return Will(*self._node.death(self._now()), 1, False)

    async def _wait_for_host(self) -> None:
        host = self._host
        if host is None:
            return
        while not host.online:
            self._check()
            self._moved.clear()
            await self._moved.wait()
        host.left = False

    async def _leave(self) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        if self._born and line.problem is None:
            line.publish(*self._node.death(self._now()))
        self._born = False
        self._node.end()
        try:
            await line.close()
        finally:
            self._bytes += line.bytes
            self._received += line.received

    def _check(self) -> None:
        assert self._line is not None, "connect first"
        self._line.check()

    # What hosts are told.

    async def _pump(self) -> None:
        while True:
            self._check()
            self._moved.clear()
            if self._host is not None and self._host.left:
                raise Retry(f"the primary host {self._config.primary_host!r} is offline")
            if self._rebirth:
                self._bear()
            self._tell_changes()
            self._send_rows()
            if self._intake.must_read and self._intake.unconfirmed < self._config.window:
                await self._intake.read()
                continue
            await self._rest()

    async def _rest(self) -> None:
        """Ask for a confirmation when it is time, and wait for news."""
        line, intake = self._line, self._intake
        assert line is not None, "connect first"
        left: float | None = None
        if intake.unconfirmed and not line.asking:
            left = self._ping_due - asyncio.get_running_loop().time()
            if left <= 0 or intake.unconfirmed >= self._config.window:
                line.ping(intake.mark())
                left = None
        try:
            async with asyncio.timeout(left):
                await self._moved.wait()
        except TimeoutError:
            pass

    def _bear(self) -> None:
        """The whole birth sequence, at the beginning and when a host asks for it."""
        self._rebirth = False
        self._born = True
        self._births += 1
        self._born_at = dict.fromkeys(self._node.devices, self._intake.newest)
        self._revived.clear()
        for frame in self._node.births(self._now()):
            self._publish(frame)

    def _tell_changes(self) -> None:
        """DBIRTH of devices that are there again, DDEATH of those that are not; the rest is data."""
        idle = self._intake.idle
        for name, device in self._node.devices.items():
            if device.alive:
                self._revived.discard(name)
                if not device.born:
                    self._bear_device(device)
            elif device.born and (idle or name not in self._revived):
                self._revived.discard(name)
                self._publish(self._node.device_death(device, self._now()))

    def _bear_device(self, device: Device) -> None:
        self._born_at[device.name] = self._intake.newest
        self._publish(self._node.device_birth(device, self._now()))

    def _send_rows(self) -> None:
        intake, room = self._intake, self._config.window
        news: dict[Tag, News] = {}
        current: Device | None = None
        while intake.first is not None and intake.unconfirmed < room:
            if not intake.unconfirmed:
                self._ping_due = asyncio.get_running_loop().time() + self._confirm_after
            row = intake.take()
            found = self._known(row)
            if found is None:
                continue
            device, tag, reading = found
            if device is not current or tag in news or len(news) >= MOST_NEWS:
                self._send_news(current, news)
                current = device
            if not device.born and reading == tag.present:
                # Its death has told that, and its next birth will.
                self._unchanged += 1
                continue
            if not device.born:
                # Its birth says that nothing is known at present; what follows is its past.
                self._revived.add(device.name)
                self._bear_device(device)
            one = self._news(tag, reading, row.seq <= self._born_at[device.name])
            if one is not None:
                news[tag] = one
        self._send_news(current, news)

    def _known(self, row: Row) -> tuple[Device, Tag, Reading] | None:
        """What a row says, or None when it is nothing for hosts: then it is counted."""
        if row.expires is not None and row.expires <= self._clock.time():
            self._intake.drop(row, "expired")
            return None
        found = self._node.by_topic.get(row.topic)
        if found is None:
            self._intake.drop(row, "no_metric")
            return None
        device, tag = found
        try:
            return device, tag, reading_of(tag.point, row.payload, row.time)
        except ValueError as error:
            self._last_error = f"message {row.message_id} on {row.topic!r}: {error}"
            self._intake.drop(row, "malformed")
            return None

    def _news(self, tag: Tag, reading: Reading, historical: bool) -> News | None:
        told = tag.told
        assert told is not None, "a birth tells every metric"
        same = (reading.value, reading.quality) == (told.value, told.quality)
        if same and (not historical or reading.time == told.time):
            self._unchanged += 1
            return None
        return News(tag, reading, historical)

    def _send_news(self, device: Device | None, news: dict[Tag, News]) -> None:
        if device is not None and news:
            self._publish(self._node.data(device, list(news.values()), self._now()))
            self._sent += len(news)
            self._metrics.count("uplink_messages_out", len(news))
        news.clear()

    def _publish(self, frame: Frame) -> None:
        assert self._line is not None, "connect first"
        self._metrics.count("uplink_bytes_out", self._line.publish(*frame))

    def _now(self) -> int:
        return milliseconds(self._clock.time())

    # What comes: from the points, from the broker.

    def _on_present(self, message: Message) -> None:
        device, tag = self._node.by_topic[message.topic]
        try:
            tag.present = reading_of(tag.point, message.payload, message.time)
        except ValueError:
            # The row of the same message is counted when it is its turn.
            return
        if device.alive != device.born:
            self._moved.set()

    def _on_pong(self, mark: int) -> None:
        self._intake.confirm(mark)
        self._ping_due = asyncio.get_running_loop().time() + self._confirm_after
        self._moved.set()

    def _on_message(self, packet: Publish) -> None:
        self._metrics.count("uplink_messages_in")
        if self._host is not None and packet.topic == self._host.topic:
            if not self._host.take(packet.payload):
                self._metrics.drop("sparkplug_bad_state")
            self._moved.set()
            return
        try:
            asked = commands(self._node, packet)
        except Malformed as error:
            self._last_error = f"a command on {packet.topic!r}: {error}"
            self._metrics.drop("sparkplug_bad_command")
            return
        for reason in asked.dropped:
            self._metrics.drop(reason)
        if asked.rebirth:
            self._rebirth = True
            self._moved.set()
        for topic, value in asked.writes:
            time = self._clock.time()
            self._publisher.publish(Message(topic, qos=1, time=time, source=self._source, value={"value": value}))
