"""What encode drops in old versions, what it refuses, and PUBLISH frames shared by many receivers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import Properties
from gateway.mqtt.decode import Decoder
from gateway.mqtt.encode import encode, publish_frame
from gateway.mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from gateway.mqtt.wire import MAX_VARINT, pack_varint

USER: Properties = ((0x26, ("k", "v")),)
LONG = "x" * 65_536


@pytest.mark.parametrize(
    ("packet", "version", "expected"),
    [
        (Publish("a", b"x", props=USER), 4, "30 04 0001 61 78"),
        (ConnAck(True, 0, USER), 4, "20 02 01 00"),
        (ConnAck(True, 0), 3, "20 02 00 00"),
        (PubAck(1, 0x87, USER), 4, "40 02 0001"),
        (SubAck(1, (2, 0x87, 0x8F), USER), 4, "90 05 0001 02 80 80"),
        (UnsubAck(1, (0, 0x11), USER), 4, "B0 02 0001"),
        (Disconnect(0x8B, USER), 4, "E0 00"),
        (Subscribe(1, (Filter("a", 1, True, True, 2),), USER), 4, "82 06 0001 0001 61 01"),
        (
            Connect("c", 3, True, 1, Will("w", b"", 0, False, USER), props=USER),
            3,
            "10 14 0006 4D5149736470 03 06 0001 0001 63 0001 77 0000",
        ),
    ],
)
def test_what_a_version_cannot_say_is_left_out(packet: Packet, version: int, expected: str) -> None:
    assert encode(packet, version) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (PubAck(1), "40 02 0001"),
        (PubAck(1, 0x10), "40 03 0001 10"),
        (PubAck(1, 0, USER), "40 0B 0001 00 07 26 0001 6B 0001 76"),
        (Disconnect(), "E0 00"),
        (Disconnect(0x8B), "E0 01 8B"),
        (Disconnect(0, USER), "E0 09 00 07 26 0001 6B 0001 76"),
        (Auth(), "F0 00"),
        (Auth(0x18, ((0x15, "m"),)), "F0 06 18 04 15 0001 6D"),
    ],
)
def test_the_shortest_form_is_written(packet: Packet, expected: str) -> None:
    assert encode(packet, 5) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("packet", "version"),
    [
        (Publish(LONG, b""), 4),
        (Publish("a\0b", b""), 4),
        (Publish("a\ud800", b""), 4),
        (Publish("a", b"", 3), 4),
        (Publish("a", b"", 0, False, True), 4),
        (Publish("a", b"", 1), 4),
        (Publish("a", b"", 1, packet_id=65_536), 4),
        (Publish("a", b"", props=((0x03, LONG),)), 5),
        (Publish("a", b"", props=((0x02, 1 << 32),)), 5),
        (Publish("a", b"", props=((0x02, -1),)), 5),
        (Publish("a", b"", props=((0x0B, 1 << 28),)), 5),
        (Publish("a", b"", props=((0x11, 1),)), 5),
        (Publish("a", b"", props=((0x7F, 1),)), 5),
        (Connect("c", 6, True, 0), 5),
        (Connect("c", 4, True, 65_536), 4),
        (Connect("c", 4, True, 0, None, None, b"secret"), 4),
        (Connect("c", 4, True, 0, Will("w", bytes(65_536), 0, False)), 4),
        (Connect("c", 4, True, 0, Will("w", b"", 3, False)), 4),
        (ConnAck(False, 256), 5),
        (PubAck(0), 4),
        (Subscribe(1, ()), 4),
        (Subscribe(1, (Filter("a", 3),)), 4),
        (Subscribe(1, (Filter("a", 0, retain_handling=3),)), 5),
        (SubAck(1, ()), 5),
        (Unsubscribe(1, ()), 4),
        (UnsubAck(1, ()), 5),
        (Auth(0x18), 4),
    ],
)
def test_what_cannot_be_written_is_a_value_error(packet: Packet, version: int) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        encode(packet, version)


@pytest.mark.parametrize("flags", [-1, 6, 8, 9, 14, 16])
def test_flags_that_publish_does_not_have(flags: int) -> None:
    with pytest.raises(ValueError, match="no flags of PUBLISH"):
        publish_frame("a", b"", 4, flags, ())


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "00"), (127, "7F"), (128, "8001"), (16_383, "FF7F"), (16_384, "808001"), (MAX_VARINT, "FFFFFF7F")],
)
def test_lengths(value: int, expected: str) -> None:
    """Table 1-1 of section 1.5.5."""
    assert pack_varint(value) == bytes.fromhex(expected)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_a_packet_longer_than_the_wire_allows(value: int) -> None:
    with pytest.raises(ValueError, match="Variable Byte Integer"):
        pack_varint(value)


@given(st.sampled_from([3, 4, 5]), st.sampled_from([0, 1, 2, 3, 4, 5, 10, 11, 12, 13]), st.integers(1, 0xFFFF))
def test_many_receivers_share_one_frame(version: int, flags: int, packet_id: int) -> None:
    head, tail = publish_frame("plant/x", b"payload", version, flags, USER)
    qos = flags >> 1 & 3
    if qos == 0:
        assert tail == b""
        data, packet_id = head, 0
    else:
        data = head + packet_id.to_bytes(2, "big") + tail
    props = USER if version == 5 else ()
    packet = Publish("plant/x", b"payload", qos, bool(flags & 1), bool(flags & 8), packet_id, props)
    assert data == encode(packet, version)
    decoder = Decoder(version)
    decoder.feed(data)
    assert decoder.next() == packet


def test_packets_are_values() -> None:
    assert Publish("a", b"x") == Publish("a", b"x")
    assert Publish("a", b"x") != Publish("a", b"y")
    assert PubAck(1) != Disconnect(1)
    assert repr(PubAck(1, 0x10)) == "PubAck(packet_id=1, reason=16, props=())"
    assert eval(repr(Subscribe(1, (Filter("a", 1),)))) == Subscribe(1, (Filter("a", 1),))
    match Publish("a", b"x", 1, packet_id=7):
        case Publish(topic, _, qos):
            assert (topic, qos) == ("a", 1)
