"""Packet trace: what it shows, what it hides, when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import GatewayError, Refused
from gateway.message import CORRELATION_DATA, USER_PROPERTY
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    Auth,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import AUTHENTICATION_DATA
from gateway.mqtt.trace import MAX_SECONDS, MAX_TRACES
from gateway.mqtt.trace_line import PAYLOAD_SHOWN, packet_fields, text_of
from mqtt.pair import Client, World

WILL = "{topic=w qos=1 retain=yes bytes=0}"
Lines = list[dict[str, Any]]


def short(lines: Lines) -> list[str]:
    return [f"{line['direction']} {line['packet']}" for line in lines]


def test_a_client_that_is_there_is_traced_from_now_on() -> None:
    world = World()
    client = world.client("c", 4)
    client.subscribe("before")
    lines: Lines = []
    world.server.tracer.start("c", False, 60, lines.append)
    client.subscribe("a/#", 1)
    world.client("p").publish("a/b", b"secret", 1, 1)
    client.received()
    assert short(lines) == ["< SUBSCRIBE", "> SUBACK", "> PUBLISH"]
    assert lines[2] == {
        "time": 1_700_000_000.0,
        "client": "c",
        "direction": ">",
        "packet": "PUBLISH",
        "topic": "a/b",
        "qos": 1,
        "id": 1,
        "bytes": 6,
    }


def test_a_client_that_comes_later_is_traced_from_its_connect() -> None:
    world = World()
    lines: Lines = []
    world.server.tracer.start("late", False, 60, lines.append)
    client = Client(world)
    client._decoder.version = 5
    client.raw(
        encode(Connect("late", 5, True, 7), 5) + encode(PingReq(), 5) + encode(Subscribe(1, (Filter("a", 0),)), 5)
    )
    client.received()
    client.lose()
    assert short(lines) == ["< CONNECT", "< PINGREQ", "< SUBSCRIBE", "> CONNACK", "> PINGRESP", "> SUBACK", "- CLOSED"]
    assert lines[0]["keep_alive"] == 7
    assert lines[-1]["reason"] == "connection lost"


def test_a_refused_connect_is_seen() -> None:
    world = World()
    lines: Lines = []
    world.server.tracer.start("c", False, 60, lines.append)
    client = Client(world, local=False)
    client.connect("c")
    assert short(lines) == ["< CONNECT", "> CONNACK"]
    assert lines[1]["reason"] != "0x00"


def test_begun_in_the_middle_of_a_packet() -> None:
    world = World()
    client = world.client("c", 4)
    whole = encode(Publish("t", b"x" * 100), 4)
    client.raw(whole[:40])
    lines: Lines = []
    world.server.tracer.start("c", False, 60, lines.append)
    client.raw(whole[40:60])
    client.raw(whole[60:] + whole[:1])
    client.raw(whole[1:])
    assert [(line["packet"], line["bytes"]) for line in lines] == [("PUBLISH", 100)] * 2


def test_the_express_lane_hides_nothing() -> None:
    world = World()
    watcher, publisher = world.client("w", 4), world.client("p", 4)
    watcher.subscribe("a")
    publisher.publish("a", b"1")
    watcher.received()
    lines: Lines = []
    world.server.tracer.start("*", False, 60, lines.append)
    publisher.raw(b"\x30\x04\x00\x01a1" * 5)
    watcher.received()
    assert short(lines) == ["< PUBLISH"] * 5 + ["> PUBLISH"] * 5


def test_malformed_bytes_are_named() -> None:
    world = World()
    client = world.client("c", 4)
    lines: Lines = []
    world.server.tracer.start("c", False, 60, lines.append)
    client.raw(b"\x00\x00")
    assert short(lines)[0] == "< MALFORMED"
    assert lines[0]["error"]


def test_it_ends_by_itself_and_leaves_nothing() -> None:
    world = World()
    client = world.client("c")
    ends: list[str] = []
    lines: Lines = []
    tracer = world.server.tracer
    tracer.start("c", False, 10_000, lines.append, lambda: ends.append("end"))
    other = tracer.start("c", False, 5, lines.append)
    world.advance(MAX_SECONDS - 1)
    assert (tracer.active, ends, other.ended) == (True, [], True)
    world.advance(2)
    assert (tracer.active, ends, client.connection.tap) == (False, ["end"], None)
    tracer.stop(other)
    client.exchange(PingReq())
    assert not lines


def test_other_clients_are_not_looked_at() -> None:
    world = World()
    other = world.client("other")
    lines: Lines = []
    world.server.tracer.start("press-*", False, 60, lines.append)
    press = world.client("press-7")
    assert other.connection.tap is None
    assert press.connection.tap is not None
    assert {line["client"] for line in lines} == {"press-7"}


def test_two_traces_of_one_client_differ_in_what_they_show() -> None:
    world = World()
    client = world.client("c")
    plain: Lines = []
    whole: Lines = []
    world.server.tracer.start("c", False, 60, plain.append)
    world.server.tracer.start("c", True, 60, whole.append)
    client.publish("t", b"\xffab")
    assert "payload" not in plain[0]
    assert whole[0]["payload"] == "\\xffab"


def test_the_number_of_traces_is_bounded() -> None:
    tracer = World().server.tracer
    for _ in range(MAX_TRACES):
        tracer.start("c", False, 60, print)
    with pytest.raises(Refused):
        tracer.start("c", False, 60, print)


@pytest.mark.parametrize(
    "request_",
    [{}, {"client_id": ""}, {"client_id": 3}, {"client_id": "c", "seconds": "x"}, {"client_id": "c", "seconds": 0}],
)
def test_requests_that_make_no_sense(request_: dict[str, Any]) -> None:
    with pytest.raises(GatewayError):
        World().server.tracer.begin(request_, print, print)


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (
            Connect("c", 5, True, 9, Will("w", b"", 1, True), "u", b"pass word"),
            "CONNECT client_id=c level=5 clean=yes keep_alive=9 username=u password=(hidden) will=" + WILL,
        ),
        (Publish("a b", b"x", 0, True), "PUBLISH topic='a b' qos=0 retain=yes bytes=1"),
        (SubAck(3, (1, 0x97)), "SUBACK id=3 reasons=[0x01, 0x97]"),
        (
            Subscribe(3, (Filter("a/#", 1, True, True, 2),)),
            "SUBSCRIBE id=3 filters=[{filter=a/# qos=1 no_local=yes retain_as_published=yes retain_handling=2}]",
        ),
        (Unsubscribe(4, ("a", "b")), "UNSUBSCRIBE id=4 filters=[a, b]"),
        (PubAck(7), "PUBACK id=7"),
        (PubAck(7, 0x10), "PUBACK id=7 reason=0x10"),
        (PingReq(), "PINGREQ"),
        (Disconnect(0x8B), "DISCONNECT reason=0x8B"),
        (
            Auth(0x18, ((AUTHENTICATION_DATA, b"k"), (USER_PROPERTY, ("n", "v")))),
            "AUTH reason=0x18 properties=[['authentication data', (hidden)], ['user property', [n, v]]]",
        ),
        (
            Publish("t", b"", props=((CORRELATION_DATA, b"\x01"),)),
            "PUBLISH topic=t qos=0 bytes=0 properties=[['correlation data', (hidden)]]",
        ),
    ],
)
def test_text(packet: Packet, text: str) -> None:
    line = {"time": 1_700_000_000.0, "client": "c", "direction": "<", **packet_fields(packet, False)}
    assert text_of(line).removeprefix("2023-11-14T22:13:20.000Z c < ") == text


def test_a_long_payload_is_cut_and_control_characters_are_spelled() -> None:
    fields = packet_fields(Publish("t", b"\x1b[2J" + b"x" * 5000), True)
    assert fields["bytes"] == 5004
    assert len(fields["payload"]) <= PAYLOAD_SHOWN
    text = text_of({"time": 0.0, "client": "\x1b", "direction": "<", **fields})
    assert "\x1b" not in text
