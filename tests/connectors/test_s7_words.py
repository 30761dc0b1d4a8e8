"""Words about S7 frames for the trace: any bytes have some, known frames have the right ones."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.s7 import frames
from gateway.connectors.s7.address import AREAS
from gateway.connectors.s7.messages import Extent, Questions, contents, number_of, parse
from gateway.connectors.s7.words import frame_words
from gateway.errors import Malformed

EXTENTS = st.builds(
    Extent, st.sampled_from(sorted(AREAS)), st.integers(1, 65_535), st.integers(0, 65_535), st.integers(1, 200)
).map(lambda one: one if one.area == "DB" else one._replace(block=0))


def answer(parameters: bytes, data: bytes, error: int = 0, number: int = 7, kind: int = 3) -> bytes:
    head = struct.pack(">BBHHHHH", 0x32, kind, 0, number, len(parameters), len(data), error)
    return frames.data(head + parameters + data)


@given(st.lists(EXTENTS, min_size=1, max_size=5))
def test_a_read_names_each_piece(extents: list[Extent]) -> None:
    question = Questions().read(extents)
    pieces = [f"{one.area}{one.block if one.area == 'DB' else ''} byte {one.byte}, {one.size} bytes" for one in extents]
    assert frame_words(frames.data(question)) == f"read {', '.join(pieces)} (number {number_of(question)})"


@given(st.integers(0, 65_535), st.integers(0, 7), st.binary(min_size=1, max_size=30))
def test_a_write_names_its_place_and_its_bytes(byte: int, bit: int, content: bytes) -> None:
    whole = Questions().write("DB", 3, byte, None, content)
    assert f"write DB3 byte {byte}, {len(content)} bytes: {content.hex()} " in frame_words(frames.data(whole))
    one = Questions().write("M", 0, byte, bit, b"\x01")
    assert f"write M byte {byte} bit {bit}: 01 " in frame_words(frames.data(one))


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.integers(0, 0xFFFF))
def test_an_answer_shows_what_the_connector_reads_of_it(pieces: list[bytes], number: int) -> None:
    data = b"".join(struct.pack(">BBH", 0xFF, 0x04, len(one) * 8) + one + b"\0" * (len(one) % 2) for one in pieces)
    frame = answer(bytes((4, len(pieces))), data, number=number)
    assert frame_words(frame) == f"{len(pieces)} pieces: {', '.join(one.hex() for one in pieces)} (number {number})"
    extents = [Extent("DB", 1, 0, len(one)) for one in pieces]
    assert contents(parse(frames.parse(frame[4:])[1]), extents) == pieces


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (frames.connect_request(0x0100, 0x0102), "connect"),
        (frames.tpkt(bytes((6, frames.CONFIRM, 0, 0, 0, 0, 0))), "connected"),
        (frames.tpkt(bytes((6, frames.DISCONNECT, 0, 0, 0, 0, 0))), "disconnected"),
        (frames.tpkt(bytes((4, 0x10, 0, 0, 0))), "transport message 0x10"),
        (answer(bytes((0xF0, 0, 0, 1, 0, 1, 1, 0xE0)), b""), "messages of 480 bytes (number 7)"),
        (answer(bytes((5, 1)), b"\xff"), "written (number 7)"),
        (answer(bytes((5, 1)), b"\x03"), "error 0x03: access is not allowed; S7-1200/1500: permit PUT/GET (number 7)"),
        (answer(b"", b"", 0x8104), "permit PUT/GET access"),
        (answer(bytes((4, 2)), b"\xff\x04\x00\x10\x01\x02\x0a\x00\x00\x00"), "2 pieces: 0102, error 0x0a: it does not"),
        (answer(bytes((4, 1)), b"\xff\x03\x00\x01\x01"), "1 pieces: 01 "),
        (answer(bytes((9, 0)), b""), "answer to function 9"),
    ],
)
def test_known_frames(frame: bytes, words: str) -> None:
    assert words in frame_words(frame)


def test_the_first_messages_of_a_connection() -> None:
    questions = Questions()
    assert frame_words(frames.data(questions.setup(480))).startswith("agree on messages of 480 bytes")
    assert "about the controller itself" in frame_words(frames.data(questions.data_blocks()))


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(frames.data)))
def test_any_bytes_have_words(frame: bytes) -> None:
    assert frame_words(frame)


@given(st.data())
def test_a_frame_that_was_cut_or_spoilt_has_words(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from(
            [
                frames.data(Questions().read([Extent("DB", 1, 0, 4)])),
                frames.data(Questions().write("M", 0, 1, 2, b"\x01")),
                answer(bytes((4, 1)), b"\xff\x04\x00\x10\x01\x02"),
                answer(bytes((4, 1)), b"\x01\x02", kind=7),
            ]
        )
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    spoilt = whole[:at] + bytes((data.draw(st.integers(0, 255)),)) + whole[at + 1 :]
    assert frame_words(whole[:at]) and frame_words(spoilt)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=4), st.data())
def test_a_stream_is_cut_into_its_frames_however_it_arrives(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frames.data, bodies))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    found = frames.Frames()
    whole: list[bytes] = []
    for first, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        whole += found.feed(stream[first:end])
    assert [frames.parse(one) for one in whole] == [(frames.DATA, body) for body in bodies]


@given(st.binary(max_size=40))
def test_any_bytes_are_an_answer_or_malformed(message: bytes) -> None:
    for take in (parse, frames.parse):
        try:
            take(message)
        except Malformed:
            pass
