"""What holds for all packets and all bytes: there and back is the same, cuts do not matter, nonsense is Malformed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.message import Properties
from gateway.mqtt.decode import Decoder, Malformed
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import (
    WILL,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from gateway.mqtt.properties import BINARY, FLAG, FOUR, PAIR, RESPONSE_TOPIC, TABLE, TEXT, TWO, VARINT
from gateway.mqtt.reasons import REASONS, V3_CONNACK

VERSIONS = (3, 4, 5)

# No time limits: a small board is no failure.
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=200)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20)
patterns = st.one_of(
    names.filter(lambda name: not name.startswith("$share")),
    st.sampled_from(["#", "+", "a/+/b", "a/#", "+/+", "/", "/+", "$SYS/#", "$share/group/a/+", "$share/g//"]),
)
payloads = st.binary(max_size=300)
packet_ids = st.integers(1, 0xFFFF)
qualities = st.integers(0, 2)

values: dict[str, st.SearchStrategy[Any]] = {
    FLAG: st.integers(0, 1),
    TWO: st.integers(1, 0xFFFF),
    FOUR: st.integers(1, 0xFFFF_FFFF),
    VARINT: st.integers(1, 268_435_455),
    TEXT: texts,
    PAIR: st.tuples(texts, texts),
    BINARY: st.binary(max_size=20),
}


def properties(packet: int, version: int) -> st.SearchStrategy[Properties]:
    """Any list of properties that the packet allows, in any order."""
    if version < 5:
        return st.just(())
    rows = [
        st.tuples(st.just(key), names if key == RESPONSE_TOPIC else values[row.kind])
        for key, row in TABLE.items()
        if packet in row.packets
    ]

    def without_repeats(props: list[tuple[int, Any]]) -> Properties:
        seen: set[int] = set()
        kept = []
        for key, value in props:
            if key not in seen or packet in TABLE[key].repeats:
                kept.append((key, value))
            seen.add(key)
        return tuple(kept)

    return st.lists(st.one_of(rows), max_size=6).map(without_repeats)


def reasons(packet: int, version: int) -> st.SearchStrategy[int]:
    return st.sampled_from(
        [code for code, (_, packets) in REASONS.items() if packet in packets and version == 5] or [0]
    )


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    wills = st.builds(Will, names, payloads, qualities, st.booleans(), properties(WILL, version))
    username = draw(st.none() | texts)
    password = draw(st.none() | payloads) if username is not None or version == 5 else None
    props = draw(properties(Connect.type, version))
    if not any(key == 0x15 for key, _ in props):
        props = tuple(prop for prop in props if prop[0] != 0x16)
    return Connect(
        draw(texts),
        version,
        draw(st.booleans()),
        draw(st.integers(0, 0xFFFF)),
        draw(st.none() | wills),
        username,
        password,
        props,
    )


@st.composite
def connacks(draw: st.DrawFn, version: int) -> ConnAck:
    reason = draw(reasons(ConnAck.type, 5) if version == 5 else st.integers(0, len(V3_CONNACK) - 1))
    present = draw(st.booleans()) if reason == 0 and version != 3 else False
    return ConnAck(present, reason, draw(properties(ConnAck.type, version)))


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(qualities)
    props = draw(properties(Publish.type, version))
    aliased = any(key == 0x23 for key, _ in props)
    return Publish(
        draw(names | st.just("") if aliased else names),
        draw(payloads),
        qos,
        draw(st.booleans()),
        draw(st.booleans()) if qos else False,
        draw(packet_ids) if qos else 0,
        props,
    )


def filters(version: int) -> st.SearchStrategy[Filter]:
    if version < 5:
        return st.builds(Filter, patterns, qualities)
    made = st.builds(Filter, patterns, qualities, st.booleans(), st.booleans(), qualities)
    return made.filter(lambda one: not (one.no_local and one.pattern.startswith("$share")))


@st.composite
def auths(draw: st.DrawFn) -> Auth:
    props = draw(properties(Auth.type, 5))
    if not any(key == 0x15 for key, _ in props):
        props = (*props, (0x15, "SCRAM"))
    return Auth(draw(reasons(Auth.type, 5)), props)


def packets_by_type(version: int) -> dict[int, st.SearchStrategy[Any]]:
    """Any valid packet of a version, in either direction."""

    def props(packet: int) -> st.SearchStrategy[Properties]:
        return properties(packet, version)

    def some(one: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(one, min_size=1, max_size=4).map(tuple)

    granted = reasons(SubAck.type, 5) if version == 5 else st.sampled_from([0, 1, 2, 0x80])
    ended = some(reasons(UnsubAck.type, 5)) if version == 5 else st.just(())
    found: dict[int, st.SearchStrategy[Any]] = {
        kind.type: st.builds(kind, packet_ids, reasons(kind.type, version), props(kind.type))
        for kind in (PubAck, PubRec, PubRel, PubComp)
    }
    found |= {
        Connect.type: connects(version),
        ConnAck.type: connacks(version),
        Publish.type: publishes(version),
        Subscribe.type: st.builds(Subscribe, packet_ids, some(filters(version)), props(Subscribe.type)),
        SubAck.type: st.builds(SubAck, packet_ids, some(granted), props(SubAck.type)),
        Unsubscribe.type: st.builds(Unsubscribe, packet_ids, some(patterns), props(Unsubscribe.type)),
        UnsubAck.type: st.builds(UnsubAck, packet_ids, ended, props(UnsubAck.type)),
        PingReq.type: st.just(PingReq()),
        PingResp.type: st.just(PingResp()),
        Disconnect.type: st.builds(Disconnect, reasons(Disconnect.type, version), props(Disconnect.type)),
    }
    if version == 5:
        found[Auth.type] = auths() | st.just(Auth())
    return found


PACKETS = {version: packets_by_type(version) for version in VERSIONS}


def packets(version: int) -> st.SearchStrategy[Packet]:
    return st.one_of(*PACKETS[version].values())


streams = st.sampled_from(VERSIONS).flatmap(
    lambda version: st.tuples(st.just(version), st.lists(packets(version), min_size=1, max_size=3))
)
cut_places = st.lists(st.integers(0, 1_000_000), max_size=6)

Outcome = tuple[list[Packet], tuple[str, int] | None]


def decode(version: int, chunks: list[bytes], max_packet: int = 100_000) -> Outcome:
    """All packets, and the error (text, reason) that ended them. Anything but Malformed fails the test."""
    decoder = Decoder(version, max_packet)
    found: list[Packet] = []
    for chunk in chunks:
        decoder.feed(chunk)
        more, error = drain(decoder)
        found += more
        if error is not None:
            return found, error
    return found, None


def same_however_cut(version: int, data: bytes, cuts: list[int]) -> Outcome:
    whole = decode(version, [data])
    assert decode(version, [data[at : at + 1] for at in range(len(data))]) == whole
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert decode(version, pieces) == whole
    # All fed before the first packet is taken.
    decoder = Decoder(version, 100_000)
    for piece in pieces:
        decoder.feed(piece)
    assert drain(decoder) == whole
    return whole


def drain(decoder: Decoder) -> Outcome:
    found: list[Packet] = []
    try:
        while (packet := decoder.next()) is not None:
            found.append(packet)
    except Malformed as error:
        return found, (str(error), error.reason)
    return found, None


@few
@given(streams)
def test_decode_undoes_encode(stream: tuple[int, list[Packet]]) -> None:
    version, sent = stream
    data = b"".join(encode(packet, version) for packet in sent)
    assert decode(version, [data]) == (sent, None)


@pytest.mark.parametrize(
    ("version", "kind"),
    [(version, kind) for version in VERSIONS for kind in range(1, 16 if version == 5 else 15)],
)
def test_encode_undoes_decode(version: int, kind: int) -> None:
    @settings(few, max_examples=8, database=None)
    @given(PACKETS[version][kind])
    def there_and_back(packet: Packet) -> None:
        data = encode(packet, version)
        found, error = decode(version, [data])
        assert error is None
        assert [encode(one, version) for one in found] == [data]

    there_and_back()


@few
@given(streams, cut_places)
def test_any_cut_of_a_stream_gives_the_same_packets(stream: tuple[int, list[Packet]], cuts: list[int]) -> None:
    version, sent = stream
    data = b"".join(encode(packet, version) for packet in sent)
    assert same_however_cut(version, data, cuts) == (sent, None)


@many
@given(st.sampled_from((0, 3, 4, 5)), st.binary(max_size=80), st.lists(st.integers(0, 100), max_size=4))
def test_any_bytes_give_packets_or_malformed(version: int, data: bytes, cuts: list[int]) -> None:
    same_however_cut(version, data, cuts)


@many
@given(st.sampled_from((0, 3, 4, 5)), st.integers(0x10, 0xFF), st.binary(max_size=60))
def test_any_body_gives_a_packet_or_malformed(version: int, first: int, body: bytes) -> None:
    found, error = same_however_cut(version, bytes((first, len(body))) + body, [1, 3])
    assert len(found) + (error is not None) == 1


def flip(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


def cut_out(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + data[at + 1 :]


def put_in(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at:]


damage_lists = st.lists(
    st.tuples(st.sampled_from([flip, cut_out, put_in]), st.integers(0, 10_000), st.integers(0, 255)),
    min_size=1,
    max_size=3,
)


@few
@given(streams, damage_lists, cut_places)
def test_damaged_packets_give_packets_or_malformed(
    stream: tuple[int, list[Packet]],
    damages: list[tuple[Callable[[bytes, int, int], bytes], int, int]],
    cuts: list[int],
) -> None:
    version, sent = stream
    data = b"".join(encode(packet, version) for packet in sent)
    for damage, at, value in damages:
        data = damage(data, at % max(len(data), 1), value)
    for packet in same_however_cut(version, data, cuts)[0]:
        # What was accepted can be said again, and means the same.
        assert decode(version, [encode(packet, version)]) == ([packet], None)


@few
@given(st.sampled_from(VERSIONS).flatmap(lambda version: st.tuples(st.just(version), packets(version))))
def test_a_cut_packet_is_waited_for(version_and_packet: tuple[int, Packet]) -> None:
    version, packet = version_and_packet
    data = encode(packet, version)
    for size in range(len(data)):
        assert decode(version, [data[:size]]) == ([], None)


@few
@given(st.sampled_from(VERSIONS).flatmap(connects))
def test_connect_tells_the_version(connect: Connect) -> None:
    decoder = Decoder()
    decoder.feed(encode(connect, connect.level) + encode(PingReq(), connect.level))
    assert decoder.version == 0
    assert decoder.next() == connect
    assert decoder.version == connect.level
    assert decoder.next() == PingReq()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("invariant", "strategies"),
    [
        (test_decode_undoes_encode, (streams,)),
        (test_any_cut_of_a_stream_gives_the_same_packets, (streams, cut_places)),
        (test_damaged_packets_give_packets_or_malformed, (streams, damage_lists, cut_places)),
    ],
)
def test_at_length(invariant: Any, strategies: tuple[st.SearchStrategy[Any], ...]) -> None:
    settings(few, max_examples=500)(given(*strategies)(invariant.hypothesis.inner_test))()
