"""A client of the cloud broker on one ``Link``: publish with QoS 1, subscribe, take messages and answer them.

Packet identifiers, the window and DUP are given by the caller, so that they outlive the connection; nothing is
queued here. What a refusal means is not decided here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from gateway.broker.port import Done
from gateway.errors import Refused, Retry
from gateway.message import Properties
from gateway.mqtt import properties as prop
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    PUBLISH,
    V5,
    ConnAck,
    Disconnect,
    Filter,
    Packet,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from gateway.mqtt.properties import pack_list
from gateway.mqtt.reasons import PACKET_TOO_LARGE, REASONS, UNSPECIFIED_ERROR
from gateway.mqtt.wire import MAX_VARINT, pack_text, pack_varint
from gateway.uplinks.base import Row
from gateway.uplinks.mqtt import explain
from gateway.uplinks.mqtt.aliases import Aliases
from gateway.uplinks.mqtt.answers import Answer, Answers
from gateway.uplinks.mqtt.config import Endpoint, MqttUplink
from gateway.uplinks.mqtt.line import Line
from gateway.uplinks.mqtt.link import Link
from gateway.uplinks.mqtt.mapping import Received
from gateway.uplinks.mqtt.window import SUBSCRIBE_ID, packet_id
from gateway.uplinks.profiles.service import PLAIN, Reply, Service

MOST_UNANSWERED: Final = 256
"""Messages of the cloud without an answer from which on nothing is read until half of them have theirs. A broker of
version 5 is asked for fewer and one of version 3 cannot be asked; mosquitto 2.0 forgets what it was asked for when a
session goes on, and sends all that waits. To end the connection for that would end every further one likewise."""

FILTERS_AT_ONCE: Final = 8
"""Topic filters in one SUBSCRIBE; AWS IoT Core takes no more."""

MOST_NAMES: Final = 1024
"""Topics that are remembered as they stand in a packet."""

_PUBLISH_QOS_1: Final = PUBLISH << 4 | 1 << 1
_AROUND: Final = 16
"""Bytes of a PUBLISH beside topic, properties and payload, at most: fixed header, identifier, length, alias."""

_ALIAS: Final = bytes((prop.TOPIC_ALIAS,))
_NO_NAME: Final = b"\0\0"

_REFUSED: Final = 0x80
"""This reason code and those above say no."""


class Welcome(NamedTuple):
    """What the broker said in CONNACK, with the defaults of the standard (section 3.2.2.3)."""

    session_present: bool
    receive_maximum: int = 65_535
    maximum_packet: int = MAX_VARINT + 5
    maximum_qos: int = 2
    retain: bool = True


class CloudClient:
    """One connection, used once: ``connect``, ``subscribe`` and ``publish``, ``close``.

    answers     what is owed for messages of the cloud; the same object for each connection
    on_answer   called with packet identifier and reason code for a PUBACK
    on_acked    called instead with the identifiers of several, for what has arrived
    on_message  called with each message and, for QoS 1 and 2, ``done``: the cloud gets its PUBACK or PUBREC
                only after ``done(None)``. ``done`` with Refused passes its reason on; with any other error
                the connection is given up, and the cloud sends the message again on the next one
    on_lost     called when the connection ends, except by ``close``; ``check`` raises why
    line        what outlives the connections: the hosts, and the bytes
    service     what the broker is

    ``farewell`` is the reason of the broker's DISCONNECT, None when it sent none.
    """

    def __init__(
        self,
        config: MqttUplink,
        client_id: str,
        answers: Answers,
        on_answer: Callable[[int, int], None],
        on_acked: Callable[[Sequence[int]], None],
        on_message: Callable[[Received, Done | None], None],
        on_lost: Callable[[], None],
        line: Line,
        service: Service = PLAIN,
    ) -> None:
        self._config = config
        self._client_id = client_id
        self._line = line
        self._service = service
        self._is_plain = type(service).up is Service.up  # messages go up as they are
        self._answers = answers
        self._on_answer = on_answer
        self._on_acked = on_acked
        self._on_message = on_message
        self._on_lost = on_lost
        self._link = self._new_link(line.hosts.current)
        self._welcome: Welcome | None = None
        self._aliases = Aliases(0)
        self._names: dict[str, bytes] = {}  # topics that the service takes, as they stand in a packet
        self._subscribed: asyncio.Future[tuple[int, ...]] | None = None
        self.farewell: int | None = None

    async def connect(self) -> Welcome:
        """Connect to the first host that takes us and wait for its welcome. Raises Retry with what failed at each and
        what may help."""
        hosts, now = self._line.hosts, self._line.now
        failures: list[Retry] = []
        for endpoint in hosts.round(now()):
            self._link = self._new_link(endpoint)
            try:
                await self._link.open()
            except Retry as error:
                hosts.failed(endpoint, now())
                failures.append(error)
                await self._link.close()
            else:
                assert self._welcome is not None, "the link opens with the welcome"
                hosts.connected(endpoint, now())
                return self._welcome
        # A certificate that is wrong by its date says something of our clock, whichever host showed it.
        causes = [error.__cause__ for error in failures]
        cause = next((one for one in causes if isinstance(one, ssl.SSLCertVerificationError)), causes[-1])
        raise Retry(" / ".join(map(str, failures))) from cause

    def _new_link(self, endpoint: Endpoint) -> Link:
        meter = self._line.meter
        return Link(self._config, endpoint, self._client_id, meter, self._take, self._on_acked, self._lost)

    def check(self) -> None:
        """Raise Retry when the connection has ended, or the exception of a callback that ended it."""
        self._link.check()

    @property
    def is_cut(self) -> bool:
        """Whether the broker has closed or reset the connection, or ended it with DISCONNECT."""
        return self._link.is_cut or self.farewell is not None

    async def close(self) -> None:
        """Say goodbye and close; no task, timer or socket is left."""
        self._line.hosts.ended(self._line.now())
        self._answers.disconnected()
        await self._link.close()

    # What goes up.

    def publish(
        self,
        packet_id: int,
        topic: str,
        payload: bytes,
        retain: bool,
        props: Properties,
        duplicate: bool,
        qos: int = 1,
        packed: bytes | None = None,
    ) -> int:
        """Send one message with QoS 1 or 0; the bytes it takes. With QoS 1 its end is told to ``on_answer`` or
        ``on_acked``. ``packed``: its properties as they stand in the packet, without their length, if they are known.

        Raises Refused when it is larger than the broker takes (0x95) or has a topic that is not taken there (0x90),
        and ValueError when it cannot be written.
        """
        welcome, aliases, service = self._welcome, self._aliases, self._service
        assert welcome is not None, "connect first"
        if self._is_plain:
            retain = retain and service.limits.retain
        else:
            topic, retain, changed = service.up(topic, retain, props)
            if changed is not props:
                props, packed = changed, None
        name = self._names.get(topic)
        if name is None or len(payload) > service.limits.payload:
            name = self._check(topic, len(payload))
        first, body = PUBLISH << 4 | qos << 1 | (retain and welcome.retain), b""
        if self._link.version == V5:
            body = pack_list(props, PUBLISH) if packed is None else packed
            heard, alias = aliases.choose(topic)
            if alias:
                body += _ALIAS + alias.to_bytes(2, "big")
                name = name if heard else _NO_NAME
            body = pack_varint(len(body)) + body
        if qos:
            identifier = packet_id.to_bytes(2, "big")
            first |= duplicate << 3
        else:
            identifier = b""
        size = len(name) + len(identifier) + len(body) + len(payload)
        head = b"%c%b" % (first, pack_varint(size))
        size += len(head)
        if size > welcome.maximum_packet:
            text = f"{size} bytes are more than the {welcome.maximum_packet} that the broker takes"
            raise Refused(text, PACKET_TOO_LARGE)
        self._link.write(head, name, identifier, body, payload)
        if aliases.maximum:
            aliases.sent(topic, alias)
        return size

    def publish_all(self, rows: Sequence[Row], topics: Sequence[str], bodies: Sequence[bytes]) -> tuple[int, int]:
        """Send rows for the first time, with QoS 1, as many of the first ones as surely can be: how many, and the
        bytes they take. ``bodies``: their properties, as ``packed``. The same as ``publish`` one by one."""
        welcome, aliases, names = self._welcome, self._aliases, self._names
        assert welcome is not None, "connect first"
        if not self._is_plain:
            return 0, 0
        count = total = 0
        is_v5, choose, most = self._link.version == V5, aliases.choose, self._service.limits.payload
        parts: list[bytes] = []
        for row, topic, body in zip(rows, topics, bodies, strict=True):
            seq, payload, name = row[0], row[3], names.get(topic)
            room = welcome.maximum_packet - len(payload) - len(body) - _AROUND
            if name is None or len(payload) > most or len(name) > room:
                break
            alias = 0
            if is_v5:
                if aliases.maximum:
                    heard, alias = choose(topic)
                    aliases.sent(topic, alias)
                    if alias:
                        body += _ALIAS + alias.to_bytes(2, "big")
                        name = name if heard else _NO_NAME
                size = len(body)
                body = b"%c%b" % (size, body) if size < 0x80 else pack_varint(size) + body
            else:
                body = b""
            size = len(name) + 2 + len(body) + len(payload)
            if 0x80 <= size < 0x4000:
                head = bytes((_PUBLISH_QOS_1, size & 0x7F | 0x80, size >> 7))
            else:
                head = b"%c%b" % (_PUBLISH_QOS_1, pack_varint(size))
            total += len(head) + size
            count += 1
            parts += head, name, packet_id(seq).to_bytes(2, "big"), body, payload
        if parts:
            self._link.write(*parts)
        return count, total

    def _check(self, topic: str, size: int) -> bytes:
        """The topic as it stands in a packet. Raises what ``publish`` raises."""
        self._service.check(topic, size)
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        name = self._names[topic] = pack_text(topic)
        return name

    def flush(self) -> None:
        """Let go what was sent; without it that is done when the loop comes round."""
        self._link.flush()

    async def drained(self) -> None:
        """Wait until the socket has taken enough of what was sent; what has no answer would fill the memory else."""
        await self._link.drained()

    async def subscribe(self, wanted: Sequence[tuple[str, int]]) -> list[int]:
        """Subscribe to filters with their QoS; the broker's code for each, 0x80 and above for a refusal.

        Raises Retry when the connection ends or no answer comes.
        """
        codes: list[int] = []
        for start in range(0, len(wanted), FILTERS_AT_ONCE):
            chunk = wanted[start : start + FILTERS_AT_ONCE]
            self._subscribed = asyncio.get_running_loop().create_future()
            self._write(Subscribe(SUBSCRIBE_ID, tuple(_filter(pattern, qos) for pattern, qos in chunk)))
            try:
                async with asyncio.timeout(self._config.connect_timeout):
                    answer = await self._subscribed
            except TimeoutError:
                text = f"the broker did not answer SUBSCRIBE within {self._config.connect_timeout:g} s"
                raise Retry(text) from None
            finally:
                self._subscribed = None
            self.check()
            if len(answer) != len(chunk):
                raise Retry(f"the broker answered {len(chunk)} subscriptions with {len(answer)} codes")
            codes += answer
        return codes

    def _write(self, packet: Packet) -> None:
        self._link.write(encode(packet, self._link.version))

    # What comes down.

    def _take(self, packet: Packet) -> None:
        match packet:
            case PubAck():
                self._on_answer(packet.packet_id, packet.reason)
            case Publish():
                self._take_message(packet)
            case PubRel():
                self._answers.released(packet.packet_id)
                self._write(PubComp(packet.packet_id))
            case ConnAck() if self._welcome is None:
                self._take_welcome(packet)
            case SubAck() if self._subscribed is not None and not self._subscribed.done():
                self._subscribed.set_result(packet.reasons)
            case Disconnect():
                self.farewell = packet.reason
                self._link.lose(explain.disconnect(packet.reason, prop.get(packet.props, prop.REASON_STRING, "")))
            case PingResp():
                pass
            case _:
                self._link.lose(f"{self._link.endpoint} sent {type(packet).__name__}, which nobody asked for")

    def _take_welcome(self, packet: ConnAck) -> None:
        get, props = prop.get, packet.props
        if packet.reason:
            text = explain.connack(packet.reason, self._config.version, get(props, prop.REASON_STRING, ""))
            self._link.lose(text)
            return
        limits = self._service.limits
        self._welcome = Welcome(
            packet.session_present,
            min(get(props, prop.RECEIVE_MAXIMUM, 65_535), limits.unanswered),
            min(get(props, prop.MAXIMUM_PACKET_SIZE, MAX_VARINT + 5), limits.packet),
            get(props, prop.MAXIMUM_QOS, 2),
            bool(get(props, prop.RETAIN_AVAILABLE, 1)),
        )
        self._aliases = Aliases(get(props, prop.TOPIC_ALIAS_MAXIMUM, 0))
        self._answers.connected(packet.session_present, self._answer)
        # A broker that switches its keep-alive off (0) does not switch ours off: it finds dead lines.
        self._link.welcomed(get(props, prop.SERVER_KEEP_ALIVE, 0))

    def _take_message(self, packet: Publish) -> None:
        topic, props, reply = self._service.down(packet.topic, packet.props)
        message = Received(topic, packet.payload, packet.qos, packet.retain, props)
        if not packet.topic:
            self._link.lose(f"{self._link.endpoint} used a topic alias, which it was not offered")
        elif not packet.qos:
            self._on_message(message, None if reply is None else partial(self._reply, reply))
        else:
            answer = self._answers.arrived(packet.packet_id, packet.qos)
            if len(self._answers) >= MOST_UNANSWERED:
                self._link.hold_back()
            if answer is not None:
                self._on_message(message, self._done_for(answer))

    def _done_for(self, answer: Answer) -> Done:
        def done(error: BaseException | None) -> None:
            if error is None:
                self._answers.finish(answer, 0)
            elif isinstance(error, Refused):
                self._answers.finish(answer, _ack_reason(error.reason))
            else:
                self._answers.forget(answer)
                self._link.lose(f"a message from the cloud could not be kept: {error}")
            if len(self._answers) <= MOST_UNANSWERED // 2:
                self._link.go_on()

        return done

    def _reply(self, reply: Reply, error: BaseException | None) -> None:
        topic, payload = reply(error)
        self._write(Publish(topic, payload))

    def _answer(self, qos: int, packet_id: int, reason: int) -> None:
        self._write(PubAck(packet_id, reason) if qos == 1 else PubRec(packet_id, reason))

    def _lost(self) -> None:
        self._answers.disconnected()
        if self._subscribed is not None and not self._subscribed.done():
            self._subscribed.set_result(())
        self._on_lost()


def _filter(pattern: str, qos: int) -> Filter:
    """No Local: what we forward does not come back. Retained messages come once, not at each reconnect."""
    return Filter(pattern, qos, no_local=True, retain_as_published=True, retain_handling=1)


def _ack_reason(reason: int) -> int:
    """The reason code, if PUBACK may carry it."""
    known = REASONS.get(reason)
    return reason if reason >= _REFUSED and known is not None and PubAck.type in known[1] else UNSPECIFIED_ERROR
