"""A strict MQTT endpoint: what a cloud's rules forbid ends the connection, as the cloud itself does it.

``Endpoint`` speaks MQTT (on the sans-IO codec) and TLS; ``Rules`` are those of one service. What the endpoint
accepted is in ``messages``, why it hung up in ``hangups``, what it threw away without an answer in ``discarded``.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    V5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from peers.mosquitto import Certificates
from uplinks.bench import until


class HangUp(Exception):
    """The service ends the connection. ``reason``: of the DISCONNECT that MQTT 5 has for it."""

    def __init__(self, why: str, reason: int = 0x82) -> None:
        super().__init__(why)
        self.reason = reason


class Rules:
    """What one service forbids. Each method may raise HangUp."""

    wants_certificate = False
    alpn: str | None = None

    def connect(self, packet: Connect, certificate: str | None) -> ConnAck:
        """The answer to CONNECT; ``certificate`` is the common name of the client's."""
        raise NotImplementedError

    def publish(self, packet: Publish, now: float) -> bool:
        """False: thrown away without an answer."""
        raise NotImplementedError

    def subscribe(self, packet: Subscribe) -> tuple[int, ...]:
        """The codes of SUBACK."""
        raise NotImplementedError


class Line:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.decoder = Decoder()
        self.connect: Connect | None = None

    def send(self, packet: Packet) -> None:
        self.writer.write(encode(packet, self.decoder.version))

    @property
    def certificate(self) -> str | None:
        """Common name of the client's certificate."""
        found: dict[str, Any] = self.writer.get_extra_info("peercert") or {}
        names = dict(pair for group in found.get("subject", ()) for pair in group)
        return names.get("commonName")

    @property
    def alpn(self) -> str | None:
        name: str | None = self.writer.get_extra_info("ssl_object").selected_alpn_protocol()
        return name


class Endpoint:
    """The endpoint of one service on 127.0.0.1, with TLS."""

    def __init__(self, rules: Rules, certificates: Certificates) -> None:
        self.rules = rules
        self.port = 0
        self.connects: list[Connect] = []
        self.messages: list[Publish] = []
        self.discarded: list[Publish] = []
        self.hangups: list[str] = []
        self.filters: list[tuple[str, int]] = []
        self.alpn: list[str | None] = []
        self.lines: dict[str, Line] = {}
        self._open = 0
        self._server: asyncio.Server | None = None
        self._context = certificates.server_context()
        self._context.load_verify_locations(certificates.ca)
        self._context.verify_mode = ssl.CERT_REQUIRED if rules.wants_certificate else ssl.CERT_OPTIONAL
        if rules.alpn is not None:
            self._context.set_alpn_protocols([rules.alpn])

    async def __aenter__(self) -> Endpoint:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await asyncio.sleep(0.005)
        self._server.close()
        for line in list(self.lines.values()):
            line.writer.transport.abort()
        await self._server.wait_closed()
        await until(lambda: self._open == 0)

    def send(self, client_id: str, packet: Packet) -> None:
        """Send to a client that is connected."""
        self.lines[client_id].send(packet)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        line = Line(writer)
        try:
            while data := await reader.read(65536):
                line.decoder.feed(data)
                while (packet := line.decoder.next()) is not None:
                    self._take(line, packet)
        except HangUp as end:
            self._hang_up(line, end)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            client_id = line.connect.client_id if line.connect is not None else ""
            if self.lines.get(client_id) is line:
                del self.lines[client_id]
            writer.close()
            try:
                await writer.wait_closed()
            except (ConnectionError, ssl.SSLError):
                pass
            self._open -= 1

    def _hang_up(self, line: Line, end: HangUp) -> None:
        self.hangups.append(str(end))
        if line.decoder.version == V5 and line.connect is not None:
            line.send(Disconnect(end.reason))

    def _take(self, line: Line, packet: Packet) -> None:
        match packet:
            case Connect():
                self._connect(line, packet)
            case Publish():
                if not self.rules.publish(packet, asyncio.get_running_loop().time()):
                    self.discarded.append(packet)
                    return
                self.messages.append(packet)
                if packet.qos == 1:
                    line.send(PubAck(packet.packet_id))
            case Subscribe():
                codes = self.rules.subscribe(packet)
                self.filters += [(entry.pattern, entry.qos) for entry in packet.filters]
                line.send(SubAck(packet.packet_id, codes))
            case PingReq():
                line.send(PingResp())
            case PubAck() | Disconnect():
                pass
            case _:
                raise HangUp(f"{type(packet).__name__} is not known here")

    def _connect(self, line: Line, packet: Connect) -> None:
        answer = self.rules.connect(packet, line.certificate)
        self.alpn.append(line.alpn)
        line.send(answer)
        if answer.reason:
            self.hangups.append(f"refused with {answer.reason}")
            line.writer.close()
            return
        older = self.lines.get(packet.client_id)
        if older is not None:
            self._hang_up(older, HangUp("a newer connection of the same client", 0x8E))
            older.writer.close()
        line.connect = packet
        self.lines[packet.client_id] = line
        self.connects.append(packet)
