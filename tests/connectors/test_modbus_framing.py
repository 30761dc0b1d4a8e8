"""RTU and ASCII frames: against the worked examples of the standard, against pymodbus, and in noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii, FramerRTU
from pymodbus.pdu import DecodePDU

from gateway.connectors.modbus.endpoint import Framing
from gateway.connectors.modbus.framing import answer_in, crc16, frame, lrc, question_size, take_question
from gateway.connectors.modbus.pdu import (
    DeviceError,
    Question,
    contents,
    fits,
    mask_question,
    pack_bits,
    read_question,
    unpack_bits,
    write_question,
)

framings: st.SearchStrategy[Framing] = st.sampled_from(("rtu", "ascii"))
tables = st.sampled_from(("coil", "discrete", "holding", "input"))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Any question that the gateway puts."""
    unit, address = draw(st.integers(1, 247)), draw(st.integers(0, 60_000))
    match draw(st.integers(0, 3)):
        case 0:
            return read_question(draw(tables), unit, address, draw(st.integers(1, 125)))
        case 1:
            values = draw(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=100))
            return write_question("holding", unit, address, values, as_block=draw(st.booleans()))
        case 2:
            bits = draw(st.lists(st.integers(0, 1), min_size=1, max_size=100))
            return write_question("coil", unit, address, bits, as_block=draw(st.booleans()))
    return mask_question(unit, address, draw(st.integers(0, 0xFFFF)), draw(st.integers(0, 0xFFFF)))


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Question, bytes]:
    """A question and the PDU that answers it."""
    question = draw(questions())
    if draw(st.integers(0, 5)) == 0:
        return question, bytes((question.function | 0x80, draw(st.integers(1, 11))))
    if question.is_read:
        data = draw(st.binary(min_size=question.size - 2, max_size=question.size - 2))
        return question, bytes((question.function, len(data))) + data
    return question, question.pdu[: question.size]


def test_checksums_of_the_standard() -> None:
    assert crc16(bytes((0x02, 0x07))) == 0x1241  # section 6.2.2: sent as 41 12
    assert frame("rtu", 2, b"\x07") == bytes((0x02, 0x07, 0x41, 0x12))
    assert frame("ascii", 0x11, b"\x03\x00\x6b\x00\x03") == b":1103006B00037E\r\n"
    assert lrc(bytes.fromhex("1103006B0003")) == 0x7E


@given(questions())
def test_pymodbus_writes_the_same_frames(question: Question) -> None:
    for framing, other in (("rtu", FramerRTU), ("ascii", FramerAscii)):
        theirs = other(DecodePDU(True)).encode(question.pdu, question.unit, 0)
        assert frame(framing, question.unit, question.pdu) == theirs  # type: ignore[arg-type]


@given(exchanges(), framings)
def test_an_answer_is_found_when_it_is_whole_and_not_before(exchange: tuple[Question, bytes], framing: Framing) -> None:
    question, pdu = exchange
    data = frame(framing, question.unit, pdu)
    for end in range(len(data)):
        assert answer_in(framing, data[:end], question) is None
    assert answer_in(framing, data, question) == pdu


@given(exchanges(), framings, st.binary(max_size=30), st.binary(max_size=30))
def test_noise_around_an_answer_costs_nothing(
    exchange: tuple[Question, bytes], framing: Framing, before: bytes, after: bytes
) -> None:
    question, pdu = exchange
    if framing == "ascii":
        before = before.replace(b":", b"")
    assert answer_in(framing, before + frame(framing, question.unit, pdu) + after, question) == pdu


@given(exchanges(), framings, st.data())
def test_a_spoiled_byte_is_no_answer(exchange: tuple[Question, bytes], framing: Framing, data: st.DataObject) -> None:
    question, pdu = exchange
    line = bytearray(frame(framing, question.unit, pdu))
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255)) if framing == "rtu" else data.draw(st.sampled_from((1, 2, 4, 8, 0x80)))
    if framing == "ascii":
        assert answer_in(framing, bytes(line), question) in (None, pdu)  # hexadecimal in lower case says the same
    else:
        assert answer_in(framing, bytes(line), question) is None


@given(exchanges(), exchanges(), framings)
def test_the_answer_to_another_question_is_no_answer(
    one: tuple[Question, bytes], other: tuple[Question, bytes], framing: Framing
) -> None:
    found = answer_in(framing, frame(framing, other[0].unit, other[1]), one[0])
    if found is not None:
        assert other[0].unit == one[0].unit and fits(one[0], found)
        assert other[1][0] & 0x7F == one[0].function


@given(st.binary(max_size=300), framings, questions())
def test_any_bytes_are_an_answer_or_none(data: bytes, framing: Framing, question: Question) -> None:
    found = answer_in(framing, data, question)
    assert found is None or fits(question, found)
    taken = take_question(framing, data)
    assert taken is None or len(taken[1]) >= 2 or framing == "ascii"


@given(st.lists(questions(), min_size=1, max_size=4), framings, st.binary(max_size=5))
def test_a_server_takes_question_by_question(asked: list[Question], framing: Framing, noise: bytes) -> None:
    noise = noise.replace(b":", b"").replace(b"\n", b"") if framing == "ascii" else b"\0" * len(noise)
    data = noise + b"".join(frame(framing, question.unit, question.pdu) for question in asked)
    for question in asked:
        taken = take_question(framing, data)
        assert taken is not None and taken[:2] == (question.unit, question.pdu)
        data = taken[2]
    assert take_question(framing, data) is None


def test_the_length_of_a_question_is_known_from_its_first_bytes() -> None:
    assert [question_size(bytes((function,))) for function in (1, 6, 8, 22, 43)] == [5, 5, 5, 7, 0]
    assert question_size(bytes.fromhex("10 0000 0002 04")) == 10
    assert question_size(bytes.fromhex("10 0000")) is None
    assert question_size(b"") is None


@given(st.lists(st.integers(0, 1), max_size=60))
def test_bits_survive(bits: list[int]) -> None:
    assert unpack_bits(pack_bits(bits), len(bits)) == bits


def test_contents_of_answers() -> None:
    assert contents(read_question("holding", 1, 0, 2), b"\x03\x04\x00\x01\xff\xff", 2) == [1, 65535]
    assert contents(read_question("coil", 1, 0, 3), b"\x01\x01\x05", 3) == [1, 0, 1]
    with pytest.raises(DeviceError, match="device busy"):
        contents(read_question("coil", 1, 0, 3), b"\x81\x06", 3)


def test_an_acknowledgement_of_another_value_does_not_fit() -> None:
    question = write_question("holding", 1, 5, [7])
    assert fits(question, question.pdu)
    assert not fits(question, write_question("holding", 1, 5, [8]).pdu)
    assert not fits(question, write_question("holding", 1, 6, [7]).pdu)
    assert not fits(question, b"")
