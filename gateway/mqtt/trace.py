"""Packet trace: every packet of the clients that match, decoded, for a limited time.

A connection that is traced has a ``Tap``, which sees the bytes of each read and each write and decodes them a
second time with decoders of its own. So the path of the others has one test for each read and each write, and
what the trace shows is what was on the wire. A trace may begin before its client is there: then it begins with
the client's CONNECT, also when that is refused.

Pure: lines go to a ``sink`` that must not block; the server's clock gives the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import GatewayError, Malformed, Refused
from gateway.mqtt.decode import Decoder
from gateway.mqtt.reasons import QUOTA_EXCEEDED
from gateway.mqtt.trace_line import packet_fields

if TYPE_CHECKING:
    from gateway.mqtt.connection import Connection
    from gateway.mqtt.packets import Connect, Packet
    from gateway.mqtt.server import MqttServer

MAX_TRACES: Final = 8
MAX_SECONDS: Final = 300.0

Sink = Callable[[dict[str, Any]], None]


class Trace:
    """One request to see packets.

    pattern       client id; ``*`` stands for any characters
    with_payload  whether payloads are shown
    until         monotonic: when it ends by itself
    sink          takes each line
    on_end        called once when it has ended
    """

    __slots__ = ("ended", "on_end", "pattern", "sink", "until", "with_payload")

    def __init__(self, pattern: str, with_payload: bool, until: float, sink: Sink, on_end: Callable[[], None]) -> None:
        self.pattern = pattern
        self.with_payload = with_payload
        self.until = until
        self.sink = sink
        self.on_end = on_end
        self.ended = False

    def matches(self, client_id: str) -> bool:
        """Whether packets of this client are wanted."""
        return client_id == self.pattern or ("*" in self.pattern and fnmatchcase(client_id, self.pattern))

    def emit(self, line: dict[str, Any]) -> None:
        if not self.ended:
            self.sink(line)


class Tap:
    """What a traced connection has: sees its bytes, tells its traces."""

    __slots__ = ("_client_id", "_connection", "_in", "_out", "traces")

    def __init__(self, connection: Connection, client_id: str) -> None:
        limit = connection.server.limits.max_packet
        self._connection = connection
        self._client_id = client_id
        self._in: Decoder | None = Decoder(connection.version, limit)
        self._out: Decoder | None = Decoder(connection.version)
        self.traces: list[Trace] = []

    def received(self, data: bytes) -> None:
        """Bytes that the socket gave."""
        self._in = self._decode(self._in, data, "<")

    def sent(self, data: bytes) -> None:
        """Bytes that go to the socket; whole packets."""
        self._out = self._decode(self._out, data, ">")

    def _decode(self, decoder: Decoder | None, data: bytes, direction: str) -> Decoder | None:
        if decoder is None:
            return None
        try:
            decoder.feed(data)
            while (packet := decoder.next()) is not None:
                self.packet(direction, packet)
        except Malformed as error:
            self._emit(direction, {"packet": "MALFORMED", "error": str(error)})
            return None
        return decoder

    def packet(self, direction: str, packet: Packet) -> None:
        """One packet; the two shapes of a line are made at most once each."""
        shapes: dict[bool, dict[str, Any]] = {}
        for trace in self.traces:
            if trace.with_payload not in shapes:
                shapes[trace.with_payload] = self._line(direction, packet_fields(packet, trace.with_payload))
            trace.emit(shapes[trace.with_payload])

    def lost(self) -> None:
        """The socket is gone."""
        self._emit("-", {"packet": "CLOSED", "reason": self._connection.closing_reason or "connection lost"})

    def _emit(self, direction: str, fields: dict[str, Any]) -> None:
        line = self._line(direction, fields)
        for trace in self.traces:
            trace.emit(line)

    def _line(self, direction: str, fields: dict[str, Any]) -> dict[str, Any]:
        time = self._connection.server.clock.time
        return {"time": time, "client": self._client_id, "direction": direction, **fields}


class Tracer:
    """All traces of a server. ``active``: there is at least one, new connections are looked at."""

    __slots__ = ("_server", "_traces", "active")

    def __init__(self, server: MqttServer) -> None:
        self._server = server
        self._traces: list[Trace] = []
        self.active = False

    def start(
        self, pattern: str, with_payload: bool, seconds: float, sink: Sink, on_end: Callable[[], None] = lambda: None
    ) -> Trace:
        """Begin a trace of at most ``seconds``, MAX_SECONDS at the longest. Raises Refused when too many run."""
        if len(self._traces) >= MAX_TRACES:
            raise Refused(f"{MAX_TRACES} traces run already", QUOTA_EXCEEDED)
        until = self._server.clock.now + min(seconds, MAX_SECONDS)
        trace = Trace(pattern, with_payload, until, sink, on_end)
        self._traces.append(trace)
        self.active = True
        for session in self._server.sessions.values():
            connection = session.connection
            if connection is not None and trace.matches(session.client_id):
                if connection.tap is None:
                    connection.watch(Tap(connection, session.client_id))
                assert connection.tap is not None
                connection.tap.traces.append(trace)
        return trace

    def begin(self, request: Mapping[str, Any], sink: Sink, on_end: Callable[[], None]) -> Callable[[], None]:
        """``start`` for a request of the control socket, ``client_id``, ``seconds``, ``payload``; returns its stop.

        Raises GatewayError when it makes no sense.
        """
        pattern, seconds = request.get("client_id"), request.get("seconds", MAX_SECONDS)
        if not isinstance(pattern, str) or not pattern:
            raise GatewayError("client_id must be a text that is not empty")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise GatewayError("seconds must be a number above 0")
        return partial(self.stop, self.start(pattern, request.get("payload") is True, seconds, sink, on_end))

    def stop(self, trace: Trace) -> None:
        """End it; ending it twice is once."""
        if trace.ended:
            return
        trace.ended = True
        self._traces.remove(trace)
        self.active = bool(self._traces)
        for connection in self._server.connections:
            tap = connection.tap
            if tap is not None and trace in tap.traces:
                tap.traces.remove(trace)
                if not tap.traces:
                    connection.tap = None
        trace.on_end()

    def connecting(self, connection: Connection, connect: Connect) -> None:
        """A CONNECT came in: does somebody want to see it?"""
        traces = [trace for trace in self._traces if trace.matches(connect.client_id)]
        if not traces:
            return
        tap = Tap(connection, connect.client_id)
        tap.traces = traces
        tap.packet("<", connect)
        connection.watch(tap)

    def tick(self) -> None:
        """End what is overdue. Call about once a second."""
        now = self._server.clock.now
        for trace in [trace for trace in self._traces if trace.until <= now]:
            self.stop(trace)
