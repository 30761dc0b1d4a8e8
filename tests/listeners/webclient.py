"""WebSocket from the client's side: bytes for the layer, and a client for the listener."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from gateway.listeners.frames import Policy
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, Packet, PingReq, Publish
from listeners.stage import Client, Stage

OPEN = Policy("/mqtt", (), True, 1 << 20)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def request(path: str = "/mqtt", *, drop: str = "", **headers: str) -> bytes:
    """An upgrade as a browser sends it; ``headers`` replace or add (``_`` is ``-``), ``drop`` leaves one out."""
    all_headers = {
        "Host": "127.0.0.1:9001",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    all_headers.pop(drop, None)
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    ends = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


PACKETS: list[Packet] = [
    Connect("c", 5, True, 60),
    Publish("a/b", b"x" * 300, 0, False, False, 0),
    PingReq(),
    Publish("a", b"", 1, False, False, 7),
    Disconnect(0),
]
STREAM = b"".join(encode(packet, 5) for packet in PACKETS)


class WebClient:
    """A WebSocket client that speaks MQTT 5."""

    def __init__(self, wire: Client, port: int, origin: str | None = None) -> None:
        self.wire = wire
        self.protocol = ClientProtocol(
            parse_uri(f"ws://127.0.0.1:{port}/mqtt"),
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol("mqtt")],
            extensions=[ClientPerMessageDeflateFactory()],
        )
        self.decoder = Decoder(5)
        self.frames: list[Frame] = []
        self.protocol.send_request(self.protocol.connect())

    def send(self, *packets: Packet) -> None:
        self.protocol.send_binary(b"".join(encode(packet, 5) for packet in packets))

    async def event(self) -> Any:
        """The next response or frame; None at the end of the stream."""
        self.wire.writer.write(b"".join(self.protocol.data_to_send()))
        while not self.frames:
            data = await self.wire.read()
            if not data:
                return None
            self.protocol.receive_data(data)
            self.frames += self.protocol.events_received()  # type: ignore[arg-type]
            self.wire.writer.write(b"".join(self.protocol.data_to_send()))
        return self.frames.pop(0)

    async def next(self) -> Packet | None:
        """The next packet; None when the connection is closed."""
        while (packet := self.decoder.next()) is None:
            event = await self.event()
            if event is None or event.opcode is Opcode.CLOSE:
                return None
            self.decoder.feed(bytes(event.data))
        return packet


async def web_client(it: Stage, client_id: str) -> WebClient:
    client = WebClient(await it.open(), it.port)
    response = await client.event()
    assert isinstance(response, Response)
    assert response.status_code == 101
    assert client.protocol.state is State.OPEN
    client.send(Connect(client_id, 5, True, 60))
    answer = await client.next()
    assert isinstance(answer, ConnAck)
    assert answer.reason == 0
    return client
