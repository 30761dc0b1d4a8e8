"""The way to the cloud broker step by step: name, TCP, TLS, CONNECT, SUBSCRIBE, PUBLISH; what works, and what is wrong.

Beside an uplink that runs it disturbs nothing: it has another client id and a session of its own, which ends with it.
It publishes only when it is given a topic for that. A step that fails ends the look at that host, but a filter that is
refused does not hide the next one.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, NamedTuple

from gateway.errors import Malformed
from gateway.message import Properties
from gateway.mqtt import properties as prop
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from gateway.mqtt.reasons import NO_MATCHING_SUBSCRIBERS, reason_text
from gateway.uplinks.mqtt import dial, explain
from gateway.uplinks.mqtt.config import Endpoint, MqttUplink, Receive
from gateway.uplinks.mqtt.link import tls_context
from gateway.uplinks.mqtt.logins import logged_in
from gateway.uplinks.mqtt.wire import Meter

SUFFIX: Final = "-test"
"""Behind the client id of the uplink: with the same one the broker would end the session that runs."""

SOON: Final = 30
"""Days before the end of a certificate that are worth a warning."""

_DAY: Final = 86_400.0


class Step(NamedTuple):
    """One step at one host. ``text``: what was found, or what is wrong and how to mend it."""

    host: str
    step: str
    ok: bool
    text: str


class _Failed(Exception):
    """The rest of the steps make no sense."""


class _Line:
    """A connection to the broker, read one packet at a time."""

    def __init__(self, at: Endpoint, config: MqttUplink) -> None:
        self.at = at
        self.writer: asyncio.StreamWriter | None = None
        self.version = V5 if config.version == "5" else V311
        self._reader: asyncio.StreamReader | None = None
        self._decoder = Decoder(self.version)
        self._patience = config.connect_timeout

    async def open(self, sock: Any, context: ssl.SSLContext | None) -> None:
        name = self.at.host if context is not None else None
        self._reader, self.writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=name)

    def send(self, packet: Packet) -> None:
        assert self.writer is not None, "open first"
        self.writer.write(encode(packet, self.version))

    async def wait_for(self, *kinds: type[Any]) -> Any:
        """The next packet of one of the kinds; others (retained messages) are passed over. Raises _Failed."""
        assert self._reader is not None, "open first"
        names = " or ".join(kind.__name__.upper() for kind in kinds)
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    packet = self._decoder.next()
                    if isinstance(packet, kinds):
                        return packet
                    if isinstance(packet, Disconnect):
                        reason = prop.get(packet.props, prop.REASON_STRING, "")
                        raise _Failed(explain.disconnect(packet.reason, reason))
                    if packet is None:
                        self._take(await self._reader.read(65_536))
        except TimeoutError:
            if ConnAck in kinds:
                raise _Failed(explain.timeout(self.at, self._patience, True)) from None
            raise _Failed(f"{self.at} sent no {names} within {self._patience:g} s") from None
        except OSError as error:
            raise _Failed(explain.loss(error, self.at, ConnAck not in kinds)) from None
        except Malformed as error:
            raise _Failed(f"{self.at} sent what is not MQTT: {error}; is it an MQTT broker?") from None

    def _take(self, data: bytes) -> None:
        if not data:
            raise _Failed(explain.loss(None, self.at, False))
        if data[:2] == b"\x20\x02" and len(data) == 4 and 0 < data[3] < 0x80:
            self._decoder.version = V311  # how a broker of MQTT 3 refuses a CONNECT of version 5
        self._decoder.feed(data)


async def probe(
    config: MqttUplink, client_id: str, time: Callable[[], float], publish: str | None = None
) -> AsyncIterator[Step]:
    """The steps as they are taken, all hosts one after the other.

    client_id  of the test; it must not be the one of an uplink that runs
    time       the wall clock, for the dates of certificates
    publish    topic at the cloud for one message; None: none is sent
    """
    config, _ = logged_in(config, time())
    for at in config.endpoints:
        async for step in _host(config, at, client_id, time, publish):
            yield step


async def _host(
    config: MqttUplink, at: Endpoint, client_id: str, time: Callable[[], float], publish: str | None
) -> AsyncIterator[Step]:
    line, meter = _Line(at, config), Meter()
    host, step, wire = str(at), "dns", None
    try:
        addresses = await dial.resolve(at)
        yield Step(host, step, True, f"{at.host} is " + ", ".join(address[0] for _, address in addresses))
        step = "tcp"
        async with asyncio.timeout(config.connect_timeout):
            sock, wire = await dial.connect(addresses, meter)
        yield Step(host, step, True, f"connected to {sock.getpeername()[0]} port {at.port}")
        step = "tls" if at.tls else "connect"
        context = await asyncio.to_thread(tls_context, config, at.port) if at.tls else None
        async with asyncio.timeout(config.connect_timeout):
            await line.open(sock, context)
        if at.tls:
            yield _certificate(host, line, time())
        step = "connect"
        yield await _connect(config, line, client_id)
        step = "subscribe"
        for number, entry in enumerate(config.receive, 1):
            yield await _subscribe(line, entry, number)
        step = "publish"
        if publish is not None:
            yield await _publish(line, publish, len(config.receive) + 1)
        line.send(Disconnect())
    except _Failed as failed:
        yield Step(host, step, False, str(failed))
    except TimeoutError:
        yield Step(host, step, False, explain.timeout(at, config.connect_timeout, False))
    except (OSError, UnicodeError) as error:
        yield Step(host, step, False, explain.failure(error, at))
    finally:
        if wire is not None:
            meter.end(wire)
        if line.writer is not None:
            await _close(line.writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(1.0):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        # It is over either way, and what was worth saying has been said.
        writer.transport.abort()


def _certificate(host: str, line: _Line, time: float) -> Step:
    """What was agreed in TLS. The certificate is good, or there would have been an exception."""
    assert line.writer is not None, "open first"
    tls = line.writer.get_extra_info("ssl_object")
    found = tls.getpeercert() or {}
    names = [name for kind, name in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    issuer = dict(pair for pairs in found.get("issuer", ()) for pair in pairs)
    days = (ssl.cert_time_to_seconds(found["notAfter"]) - time) / _DAY
    text = (
        f"{tls.version()}; certificate for {', '.join(names[:4])}, signed by "
        f"{issuer.get('commonName') or issuer.get('organizationName') or 'somebody without a name'}, "
        f"good until {found['notAfter']}"
    )
    if days < SOON:
        text += f"; WARNING: that is in {max(0, math.floor(days))} days, ask the operator of the broker to renew it"
    return Step(host, "tls", True, text)


async def _connect(config: MqttUplink, line: _Line, client_id: str) -> Step:
    password = None if config.password is None else str(config.password).encode()
    connect = Connect(client_id, line.version, True, math.ceil(config.keep_alive), None, config.username, password)
    line.send(connect)
    packet = await line.wait_for(ConnAck)
    if packet.reason:
        text = explain.connack(packet.reason, config.version, prop.get(packet.props, prop.REASON_STRING, ""))
        if packet.reason in (0x85, 0x87, 2, 5):
            text += (
                f"; this test used the client id {client_id!r}: if the broker ties the login to one, use --client-id"
            )
        raise _Failed(text)
    version = "MQTT 5" if line.version == V5 else "MQTT 3.1.1"
    return Step(str(line.at), "connect", True, f"welcome as {client_id!r}, {version}{_limits(packet.props)}")


def _limits(props: Properties) -> str:
    said = []
    for identifier, words in (
        (prop.RECEIVE_MAXIMUM, "receive maximum {}"),
        (prop.MAXIMUM_PACKET_SIZE, "largest packet {} bytes"),
        (prop.SERVER_KEEP_ALIVE, "keep-alive {} s"),
        (prop.MAXIMUM_QOS, "QoS up to {}"),
        (prop.TOPIC_ALIAS_MAXIMUM, "{} topic aliases"),
    ):
        value = prop.get(props, identifier, None)
        if value is not None:
            said.append(words.format(value))
    if prop.get(props, prop.RETAIN_AVAILABLE, 1) == 0:
        said.append("no retained messages")
    return "; " + ", ".join(said) if said else ""


async def _subscribe(line: _Line, entry: Receive, packet_id: int) -> Step:
    # Retained messages are not sent (retain handling 2): they are for the uplink.
    wanted = Filter(entry.filter, entry.qos, no_local=True, retain_as_published=True, retain_handling=2)
    line.send(Subscribe(packet_id, (wanted,)))
    (code,) = (await line.wait_for(SubAck)).reasons
    if code < 0x80:
        return Step(str(line.at), "subscribe", True, f"{entry.filter} with QoS {code}")
    said = reason_text(code) if line.version == V5 else "refused"
    text = f"{entry.filter}: {said}; check the broker's access rules: this client may not read there"
    return Step(str(line.at), "subscribe", False, text)


async def _publish(line: _Line, topic: str, packet_id: int) -> Step:
    line.send(Publish(topic, b"gateway uplink test", 1, False, False, packet_id))
    packet: PubAck = await line.wait_for(PubAck)
    if packet.reason >= 0x80:
        text = (
            f"{topic}: {reason_text(packet.reason)}; check the broker's access rules: this client may not write there"
        )
        return Step(str(line.at), "publish", False, text)
    heard = "; nobody subscribes to it" if packet.reason == NO_MATCHING_SUBSCRIBERS else ""
    return Step(str(line.at), "publish", True, f"{topic} was acknowledged{heard}")
