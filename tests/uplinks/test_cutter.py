"""PUBACKs are taken out of any stream, however it is cut; nothing else is lost or changed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.encode import encode
from gateway.mqtt.packets import V5, V311, Disconnect, PingResp, PubAck, Publish, SubAck
from gateway.uplinks.mqtt.cutter import Cutter

PACKETS = st.lists(
    st.one_of(
        st.builds(PubAck, st.integers(1, 65_535), st.sampled_from([0, 0x10, 0x80, 0x97])),
        st.builds(PubAck, st.integers(1, 65_535), st.sampled_from([0, 0x87]), st.just(((0x1F, "why"),))),
        st.builds(Publish, st.just("cmd"), st.binary(max_size=300)),
        st.just(PingResp()),
        st.builds(SubAck, st.just(65_535), st.just((0, 1))),
    ),
    max_size=20,
)


def fed(version: int, data: bytes, cuts: list[int]) -> tuple[list[int], bytes]:
    """What comes out when the bytes come in pieces."""
    cutter = Cutter(version)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    acked: list[int] = []
    rest = b""
    for begin, end in zip(places, places[1:], strict=False):
        ids, others = cutter.receive(data[begin:end])
        acked += ids
        rest += others
    return acked, rest


@given(st.sampled_from([V311, V5]), PACKETS, st.lists(st.integers(0, 5000), max_size=30))
def test_any_split(version: int, packets: list[PubAck | Publish | PingResp | SubAck], cuts: list[int]) -> None:
    def is_plain(packet: object) -> bool:
        return isinstance(packet, PubAck) and (version != V5 or (packet.reason < 0x80 and not packet.props))

    data = b"".join(encode(packet, version) for packet in packets)
    assert fed(version, data, cuts) == (
        [packet.packet_id for packet in packets if isinstance(packet, PubAck) and is_plain(packet)],
        b"".join(encode(packet, version) for packet in packets if not is_plain(packet)),
    )


def test_reason_and_length_of_properties_may_be_written_out() -> None:
    for tail in (b"\3\0\1\0", b"\3\0\1\x10", b"\4\0\1\0\0"):
        assert fed(V5, b"\x40" + tail, []) == ([1], b"")
        assert fed(V311, b"\x40" + tail, []) == ([], b"\x40" + tail), "3.1.1 has no reasons: for the strict decoder"


def test_what_is_no_puback_is_left_for_the_decoder() -> None:
    for data in (b"\x40\2\0\0", b"\x40\1\0", b"\x40\0", b"\x41\2\0\1", encode(Disconnect(0x97), V5)):
        assert fed(V5, data, []) == ([], data)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_bytes_are_cut_the_same_in_any_split(data: bytes, cuts: list[int]) -> None:
    assert fed(V5, data, cuts) == fed(V5, data, [])


def test_behind_what_is_no_mqtt_nothing_is_looked_at() -> None:
    broken = b"\x30\xff\xff\xff\xff\x01"
    puback = b"\x40\2\0\1"
    assert fed(V5, puback + broken + puback, []) == ([1], broken + puback)
    assert fed(V5, puback + broken + puback, [*range(20)]) == ([1], broken + puback)


def test_a_packet_that_has_only_begun_is_handed_on_but_for_its_first_bytes() -> None:
    cutter = Cutter(V5)
    assert cutter.receive(b"\x30\x80") == ([], b"")
    assert cutter.receive(b"\1abc") == ([], b"\x30\x80\1abc"), "a large message is not kept here"
    assert cutter.receive(b"x" * 125 + b"\x40\2\0\7") == ([7], b"x" * 125)
