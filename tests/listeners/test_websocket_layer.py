"""WebSocket as a layer: the upgrade and who may ask for it, frames in any split, and the close."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from gateway.listeners.frames import LONGEST_REQUEST, Policy, WebSocketLayer
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect
from listeners.webclient import OPEN, PACKETS, STREAM, frame, pieces, request


def status(layer: WebSocketLayer) -> int:
    """Of the HTTP response that the layer has to say; 0 when it says nothing."""
    answer = layer.send(b"", last=False)
    return int(answer.split(b" ", 2)[1]) if answer else 0


def opened(policy: Policy = OPEN) -> WebSocketLayer:
    layer = WebSocketLayer(policy)
    assert layer.receive(request()) == b""
    assert status(layer) == 101
    assert layer.is_open
    return layer


# The upgrade


@pytest.mark.parametrize("step", [1, 5, 10_000])
def test_a_good_request_is_answered_by_an_upgrade(step: int) -> None:
    layer = WebSocketLayer(OPEN)
    data = request("/mqtt?token=x") + frame(b"early")
    out = b"".join(layer.receive(data[at : at + step]) for at in range(0, len(data), step))
    answer = layer.send(b"", last=False)
    assert out == b"early"
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Sec-WebSocket-Protocol: mqtt\r\n" in answer


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (request("/"), 404),
        (request("/mqtt/x"), 404),
        (request(drop="Sec-WebSocket-Protocol"), 400),
        (request(Sec_WebSocket_Protocol="chat, amqp"), 400),
        (request(drop="Sec-WebSocket-Key"), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Version="8"), 400),
        (request(drop="Upgrade"), 426),
        (request(Upgrade="h2c"), 426),
        (request(Connection="keep-alive"), 426),
        (request().replace(b"GET", b"POST"), 405),
        (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (request(X="x" * LONGEST_REQUEST), 431),
        (b"GET /" + b"x" * (LONGEST_REQUEST + 1), 431),
        (encode(Connect("c", 5, True, 60), 5), 400),
        (b"\x16\x03\x01", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_what_is_no_upgrade_to_mqtt_is_refused(data: bytes, answer: int) -> None:
    layer = WebSocketLayer(OPEN)
    assert layer.receive(data + frame(b"x")) == b""
    assert (status(layer), layer.is_open, layer.is_fault) == (answer, False, True)
    assert layer.receive(frame(b"x")) == b""


def test_mqtt_3_1_has_a_name_of_its_own() -> None:
    layer = WebSocketLayer(OPEN)
    layer.receive(request(Sec_WebSocket_Protocol="mqttv3.1"))
    assert b"Sec-WebSocket-Protocol: mqttv3.1\r\n" in layer.send(b"", last=False)


@pytest.mark.parametrize(
    ("origin", "host", "origins", "is_local", "is_good"),
    [
        ("https://evil.example", "127.0.0.1:9001", (), True, False),
        ("https://evil.example", "gateway.plant:9001", (), False, False),
        ("null", "127.0.0.1:9001", (), True, False),
        ("https://panel.example", "x:1", ("https://panel.example",), True, True),
        ("https://panel.example:444", "x:1", ("https://panel.example",), True, False),
        ("http://panel.example", "x:1", ("https://panel.example",), True, False),
        ("https://evil.example", "x:1", ("*",), True, True),
        ("http://127.0.0.1:9001", "127.0.0.1:9001", (), True, True),
        ("http://127.0.0.1:8080", "127.0.0.1:9001", (), True, False),
        ("http://localhost:9001", "localhost:9001", (), True, True),
        ("http://[::1]:9001", "[::1]:9001", (), True, True),
        ("http://gateway.plant:9001", "gateway.plant:9001", (), False, True),
        # DNS rebinding: the page's name was made to point here, where whoever reaches the listener is let in.
        ("http://evil.example:9001", "evil.example:9001", (), True, False),
        ("http://[", "[", (), True, False),
        ("", "", (), True, False),
    ],
)
def test_origins(origin: str, host: str, origins: tuple[str, ...], is_local: bool, is_good: bool) -> None:
    layer = WebSocketLayer(Policy("/mqtt", origins, is_local, 1 << 20))
    layer.receive(request(Origin=origin, Host=host))
    assert status(layer) == (101 if is_good else 403)


def test_two_origins_are_none() -> None:
    layer = WebSocketLayer(OPEN)
    layer.receive(request(Origin="http://a.example").replace(b"Origin", b"Origin: http://b.example\r\nOrigin"))
    assert status(layer) == 400


def test_compression_is_not_agreed_to() -> None:
    layer = WebSocketLayer(OPEN)
    layer.receive(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
    assert b"Extensions" not in layer.send(b"", last=False)


# Frames


@given(st.lists(st.integers(0, 400), max_size=12), st.lists(st.booleans(), max_size=12), st.lists(st.integers(0, 2000)))
@example(list(range(len(STREAM))), [True] * 400, list(range(2000)))
@settings(deadline=None)
def test_any_split_over_frames_and_reads_gives_the_same_packets(
    cuts: list[int], fragments: list[bool], reads: list[int]
) -> None:
    wire, is_inside = b"", False
    parts = pieces(STREAM, cuts)
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1 or not (number < len(fragments) and fragments[number])
        wire += frame(part, Opcode.CONT if is_inside else Opcode.BINARY, fin=is_last)
        wire += frame(b"!", Opcode.PING)  # control frames come anywhere between
        is_inside = not is_last
    layer, decoder, got = opened(), Decoder(5), []
    for part in pieces(wire, reads):
        decoder.feed(layer.receive(part))
        while (packet := decoder.next()) is not None:
            got.append(packet)
    assert got == PACKETS
    assert layer.send(b"", last=False) == Frame(Opcode.PONG, b"!").serialize(mask=False) * len(parts)


def test_what_is_sent_is_one_binary_frame() -> None:
    assert opened().send(b"x" * 70_000, last=False) == b"\x82\x7f" + (70_000).to_bytes(8, "big") + b"x" * 70_000


def closing(layer: WebSocketLayer) -> Close:
    """The close frame at the end of what the layer says."""
    said = layer.send(b"", last=True)
    at = said.index(b"\x88")
    return Close.parse(said[at + 2 : at + 2 + said[at + 1]])


def test_a_text_frame_is_the_end() -> None:
    layer = opened()
    assert layer.receive(frame(b"good") + frame(b"bad", Opcode.TEXT) + frame(b"late")) == b"good"
    assert layer.ended == "a text frame [MQTT-6.0.0-1]"
    assert layer.is_fault
    assert closing(layer).code == 1003
    assert layer.receive(frame(b"later")) == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (Frame(Opcode.BINARY, b"x").serialize(mask=False), 1002),
        (b"\xc2\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (frame(b"x", Opcode.CONT), 1002),
        (b"\x82\xff" + (100_001).to_bytes(8, "big"), 1009),
        (b"\x82\xff" + b"\xff" * 8, 1009),
    ],
    ids=["unmasked", "reserved bit", "unknown opcode", "continues nothing", "too long", "longest"],
)
def test_a_broken_frame_is_the_end(data: bytes, code: int) -> None:
    layer = opened(OPEN._replace(max_frame=100_000))
    assert layer.receive(frame(b"good") + data) == b"good"
    assert layer.is_fault
    assert closing(layer).code == code


def test_a_frame_may_be_as_long_as_the_largest_packet() -> None:
    layer = opened(OPEN._replace(max_frame=100_000))
    assert layer.receive(frame(b"x" * 100_000)) == b"x" * 100_000


def test_the_client_may_close() -> None:
    layer = opened()
    assert layer.receive(frame(b"last") + frame(Close(1000, "bye").serialize(), Opcode.CLOSE)) == b"last"
    assert (layer.ended, layer.is_fault) == ("WebSocket closed by the client", False)
    assert layer.send(b"never sent", last=True) == Frame(Opcode.CLOSE, Close(1000, "bye").serialize()).serialize(
        mask=False
    )


def test_our_close_comes_after_our_last_words() -> None:
    said = opened().send(b"bye", last=True)
    assert said == b"\x82\x03bye" + Frame(Opcode.CLOSE, Close(1000, "").serialize()).serialize(mask=False)


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_bytes_end_it_or_give_bytes(parts: list[bytes], is_upgraded: bool) -> None:
    layer = opened() if is_upgraded else WebSocketLayer(OPEN)
    for part in parts:
        layer.receive(part)
        layer.send(b"", last=False)
    layer.send(b"x", last=True)
    assert layer.send(b"", last=True) == b""


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_mutated_requests_end_it_or_wait(data: st.DataObject) -> None:
    good = bytearray(request(Origin="http://a.example", Cookie="a=b") + frame(b"x"))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    layer = WebSocketLayer(OPEN)
    for part in pieces(bytes(good), data.draw(st.lists(st.integers(0, 400), max_size=3))):
        layer.receive(part)
    layer.send(b"x", last=True)
