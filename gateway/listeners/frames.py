"""WebSocket as a layer: the HTTP upgrade, then MQTT bytes in binary frames. Sans-IO, on ``websockets``.

MQTT 5 section 6: packets may split and merge over frames as they like [MQTT-6.0.0-2], so frames are taken as a stream
and a flush leaves as one frame; a text frame ends the connection [MQTT-6.0.0-1]; the client offers the subprotocol
``mqtt`` [MQTT-6.0.0-3]. Compression is not offered: MQTT is small, and a window for each client is not.
"""

from __future__ import annotations

import ipaddress
import logging
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from websockets.datastructures import MultipleValuesError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from gateway.listeners.layer import Layer

SUBPROTOCOLS: Final = (Subprotocol("mqtt"), Subprotocol("mqttv3.1"))
"""The second is what clients of MQTT 3.1 offer."""

LONGEST_REQUEST: Final = 16 << 10
"""Bytes of the HTTP request with its headers. Cookies of a web page are the most that honest ones carry."""

SMALLEST_BOUND: Final = 64 << 10
"""A frame may be this long even where the largest packet is smaller: it may hold many."""

_END_OF_HEADERS: Final = b"\r\n\r\n"

_log = logging.getLogger("gateway.websocket")
_log.setLevel(logging.ERROR)  # The library tells of every connection at info.


class Policy(NamedTuple):
    """Who may upgrade.

    path       of the URL, without the query
    origins    web pages that may connect; "*" is every page
    is_local   the listener lets in whoever reaches it, because only this machine can
    max_frame  bytes in a frame of the client
    """

    path: str
    origins: tuple[str, ...]
    is_local: bool
    max_frame: int

    def refusal(self, request: Request) -> tuple[HTTPStatus, str] | None:
        """Why this request is refused, beyond what the protocol itself asks of it."""
        if request.path.partition("?")[0] != self.path:
            return HTTPStatus.NOT_FOUND, f"MQTT is at {self.path}\n"
        try:
            origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        except MultipleValuesError:
            return HTTPStatus.BAD_REQUEST, "Origin or Host is there twice\n"
        if origin is None or "*" in self.origins or origin in self.origins or self._is_own(origin, host):
            return None
        return HTTPStatus.FORBIDDEN, "this page may not connect; the gateway's setting origins names those that may\n"

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether the page comes from the address that the client connects to.

        A name proves nothing where reaching the listener is enough to be let in: any page can have its name point to
        127.0.0.1 (DNS rebinding). An address in the page's own URL cannot be had that way.
        """
        try:
            page = urlsplit(origin)
            name = page.hostname or ""
        except ValueError:
            return False
        return page.netloc.lower() == host.lower() != "" and (not self.is_local or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return True


class WebSocketLayer(Layer):
    """The server's side of one WebSocket connection."""

    __slots__ = ("_policy", "_protocol", "_request")

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy
        self._request = b""
        self._protocol = ServerProtocol(
            subprotocols=SUBPROTOCOLS, max_size=(None, max(policy.max_frame, SMALLEST_BOUND)), logger=_log
        )

    def receive(self, data: bytes) -> bytes:
        if self.ended or not data:
            return b""
        if not self.is_open:
            data = self._upgrade(data)
        if data:
            self._protocol.receive_data(data)
        out: list[bytes] = []
        for event in self._protocol.events_received():
            assert isinstance(event, Frame)
            if event.opcode is Opcode.TEXT:
                self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "MQTT needs binary frames")
                self.end("a text frame [MQTT-6.0.0-1]")
                break
            if event.opcode in (Opcode.BINARY, Opcode.CONT):
                out.append(bytes(event.data))
        self._look_for_the_end()
        return out[0] if len(out) == 1 else b"".join(out)

    def _upgrade(self, data: bytes) -> bytes:
        """The HTTP request, whole or not; returns the bytes behind it. What comes before the answer is no frame yet,
        so the library sees the request alone."""
        self._request += data
        head, end, rest = self._request.partition(_END_OF_HEADERS)
        if not head[:1].isalpha():
            self._refuse(HTTPStatus.BAD_REQUEST, "this is not HTTP\n")
        elif len(head) > LONGEST_REQUEST:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long\n")
        elif end:
            self._request = b""
            self._protocol.receive_data(head + end)
            self._answer()
            if self.is_open:
                return rest
        return b""

    def _answer(self) -> None:
        protocol = self._protocol
        for request in protocol.events_received():
            assert isinstance(request, Request)
            refusal = self._policy.refusal(request)
            if refusal is not None:
                self._refuse(*refusal)
                return
            response = protocol.accept(request)
            protocol.send_response(response)
            self.is_open = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        if not self.is_open:
            self.end(f"HTTP: {protocol.handshake_exc}")

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._protocol.send_response(self._protocol.reject(status, text))
        self.end(f"HTTP: {text.rstrip()}")

    def _look_for_the_end(self) -> None:
        protocol = self._protocol
        if not protocol.eof_sent or self.ended:
            return
        if protocol.parser_exc is not None:
            self.end(f"WebSocket: {protocol.parser_exc}")
        else:
            self.ended = "WebSocket closed by the client"

    def send(self, data: bytes, last: bool) -> bytes:
        protocol = self._protocol
        if protocol.state is State.OPEN:
            if data:
                protocol.send_binary(data)
            if last:
                protocol.send_close(CloseCode.NORMAL_CLOSURE)
        return b"".join(piece for piece in protocol.data_to_send() if piece is not SEND_EOF)
