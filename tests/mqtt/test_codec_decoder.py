"""The decoder around the packets: sizes, versions, its end after an error, and what buffering costs."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from gateway.mqtt.decode import Decoder, Malformed, UnsupportedVersion
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect, PingReq, Publish
from gateway.mqtt.wire import MAX_VARINT, pack_varint

CONNECT_5 = encode(Connect("c", 5, True, 60), 5)


def test_a_packet_of_exactly_the_limit_passes() -> None:
    data = encode(Publish("a", b"x" * 95), 4)
    decoder = Decoder(4, max_packet=len(data))
    decoder.feed(data)
    assert decoder.next() == Publish("a", b"x" * 95)


@pytest.mark.parametrize("version", [0, 3, 4, 5])
@pytest.mark.parametrize("size", [200, 20_000, MAX_VARINT])
def test_too_large_is_refused_from_the_header_alone(version: int, size: int) -> None:
    """[MQTT-3.1.2-24], [MQTT-3.1.2-25]: nobody waits for a body that will not be taken."""
    decoder = Decoder(version, max_packet=100)
    decoder.feed((b"\x30" if version else b"\x10") + pack_varint(size))
    with pytest.raises(Malformed, match="larger than the limit of 100") as caught:
        decoder.next()
    assert caught.value.reason == 0x95


def test_the_limit_may_change_between_packets() -> None:
    decoder = Decoder(4, max_packet=10)
    decoder.feed(encode(Publish("a", b"12345"), 4) + encode(Publish("a", b"1" * 50), 4))
    assert decoder.next() == Publish("a", b"12345")
    decoder.max_packet = 100
    assert decoder.next() == Publish("a", b"1" * 50)


def test_after_an_error_it_stays_dead() -> None:
    decoder = Decoder(5)
    decoder.feed(encode(PingReq(), 5) + bytes.fromhex("0000") + encode(PingReq(), 5))
    assert decoder.next() == PingReq()
    with pytest.raises(Malformed) as first:
        decoder.next()
    decoder.feed(encode(PingReq(), 5))
    with pytest.raises(Malformed) as second:
        decoder.next()
    assert second.value is first.value


def test_connect_sets_the_version_for_the_bytes_behind_it() -> None:
    decoder = Decoder()
    decoder.feed(CONNECT_5 + bytes.fromhex("3004000161 00"))
    decoder.next()
    assert decoder.version == 5
    assert decoder.next() == Publish("a", b"")


def test_a_second_connect_does_not_change_the_version() -> None:
    """It is a protocol error [MQTT-3.1.0-2], and the connection says so in the version it speaks."""
    decoder = Decoder()
    decoder.feed(CONNECT_5 + encode(Connect("c", 4, True, 60), 4))
    decoder.next()
    assert decoder.next() == Connect("c", 4, True, 60)
    assert decoder.version == 5


@pytest.mark.parametrize("level", [0, 2, 3, 6, 0x84, 0xFF])
def test_unknown_level_is_told(level: int) -> None:
    decoder = Decoder()
    decoder.feed(CONNECT_5.replace(b"MQTT\x05", b"MQTT" + bytes((level,))))
    with pytest.raises(UnsupportedVersion) as caught:
        decoder.next()
    assert caught.value.level == level
    assert caught.value.reason == 0x84
    assert decoder.version == 0


def test_errors_name_packet_field_and_what_was_there() -> None:
    for data, text in (
        ("4001 00", "PUBACK: packet identifier needs 2 bytes, 1 are left"),
        ("4004 0001 9200", "PUBACK: reason code 0x92 is not allowed here"),
        ("8205 0001 00 0005", "SUBSCRIBE: topic filter needs 5 bytes, 0 are left"),
        ("3006 000161 022402", "PUBLISH: property maximum QoS is not allowed in PUBLISH"),
        ("6302 0001", "PUBREL: flags in the first byte must be 2, not 3"),
        ("3004 000161 07", "PUBLISH: properties needs 7 bytes, 0 are left"),
        ("C00100", "PINGREQ: 1 bytes too many at the end"),
    ):
        decoder = Decoder(5)
        decoder.feed(bytes.fromhex(data))
        with pytest.raises(Malformed) as caught:
            decoder.next()
        assert str(caught.value) == text


def test_topics_are_kept_only_up_to_a_bound() -> None:
    decoder = Decoder(4)
    for number in range(5000):
        decoder.feed(encode(Publish(f"t/{number}", b""), 4))
        assert decoder.next() == Publish(f"t/{number}", b"")


def test_a_refused_topic_is_refused_again() -> None:
    for _ in range(2):
        decoder = Decoder(4)
        decoder.feed(bytes.fromhex("3003000123"))
        with pytest.raises(Malformed):
            decoder.next()


def test_memory_for_a_packet_in_small_pieces_is_about_its_size() -> None:
    size = 500_000
    data = encode(Publish("a", bytes(size)), 4)
    decoder = Decoder(4)
    tracemalloc.start()
    for at in range(0, len(data) - 1, 50):
        decoder.feed(data[at : min(at + 50, len(data) - 1)])
        assert decoder.next() is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * size
    decoder.feed(data[-1:])
    assert decoder.next() == Publish("a", bytes(size))


def seconds_to_decode(data: bytes, step: int, count: int) -> float:
    decoder = Decoder(4)
    found = 0
    start = time.perf_counter()
    for at in range(0, len(data), step):
        decoder.feed(data[at : at + step])
        while decoder.next() is not None:
            found += 1
    took = time.perf_counter() - start
    assert found == count
    return took


@pytest.mark.slow
@pytest.mark.parametrize(
    ("payload", "count", "step"), [(100_000, 1, 1), (20, 10_000, 1_000_000_000), (20, 10_000, 7), (400_000, 1, 40)]
)
def test_time_grows_with_the_bytes_and_not_with_their_square(payload: int, count: int, step: int) -> None:
    """Eight times the bytes take about eight times as long; a quadratic buffer would take 64 times."""
    small = encode(Publish("a", bytes(payload // (1 if count > 1 else 8))), 4) * (count // 8 or 1)
    large = encode(Publish("a", bytes(payload)), 4) * count
    base = min(seconds_to_decode(small, step, count // 8 or 1) for _ in range(5))
    assert min(seconds_to_decode(large, step, count) for _ in range(3)) < 24 * base
