"""Frames and messages of S7: any bytes, any split, answers that lie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.s7 import frames, messages
from gateway.connectors.s7.memory import Memory
from gateway.connectors.s7.messages import DeviceError, Extent, Questions
from gateway.errors import Malformed


def answered(question: bytes, memory: Memory | None = None) -> messages.Answer:
    answer = (memory or plain()).answer(question)
    assert answer is not None
    return messages.parse(answer)


def plain() -> Memory:
    memory = Memory(480)
    memory.area("DB", 1, 100)[:] = bytes(range(100))
    return memory


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.data())
def test_any_split_gives_the_same_messages(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames.data(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    found = []
    reader = frames.Frames()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += [frames.parse(tpdu) for tpdu in reader.feed(stream[start:end])]
    assert found == [(frames.DATA, body) for body in bodies]


@given(st.binary(max_size=60))
def test_any_bytes_are_frames_or_malformed(received: bytes) -> None:
    reader = frames.Frames()
    for stream in (received, b"\3\0\0\x0b" + received):
        try:
            for tpdu in reader.feed(stream):
                frames.parse(tpdu)
        except Malformed:
            pass


@given(st.binary(max_size=60), st.integers(1, 3))
def test_any_answer_is_a_value_or_malformed(tail: bytes, count: int) -> None:
    extents = [Extent("DB", 1, 0, size) for size in range(1, count + 1)]
    for head in (b"", b"\x32\3\0\0\0\1\0\2" + len(tail).to_bytes(2) + b"\0\0\4" + bytes((count,))):
        try:
            answer = messages.parse(head + tail)
            for content in messages.contents(answer, extents):
                assert isinstance(content, bytes | DeviceError)
        except (Malformed, DeviceError):
            pass


@given(st.binary(max_size=80))
def test_the_simulated_memory_survives_any_message(tail: bytes) -> None:
    for head in (b"", b"\x32\1\0\0\0\1"):
        try:
            plain().answer(head + tail)
        except Malformed:
            pass


def test_several_pieces_come_back_each_with_its_own_fate() -> None:
    extents = [Extent("DB", 1, 3, 5), Extent("DB", 2, 0, 2), Extent("DB", 1, 98, 5), Extent("DB", 1, 0, 2)]
    first, second, third, fourth = messages.contents(answered(Questions().read(extents)), extents)
    assert (first, fourth) == (bytes(range(3, 8)), b"\0\1")
    assert isinstance(second, DeviceError) and second.code == 0x0A
    assert isinstance(third, DeviceError) and third.code == 0x05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: 0x33}, "no S7 message"),
        ({1: 9}, "contradict"),
        ({9: 8}, "contradict"),
        ({12: 5}, "function 5"),
        ({13: 2}, "as many pieces"),
        ({17: 1}, "bytes where 5"),
        ({15: 3}, "bytes where 5"),
    ],
)
def test_answers_that_lie(change: dict[int, int], words: str) -> None:
    extents = [Extent("DB", 1, 0, 5)]
    answer = bytearray(plain().answer(Questions().read(extents)) or b"")
    for at, byte in change.items():
        answer[at] = byte
    with pytest.raises(Malformed, match=words):
        messages.contents(messages.parse(bytes(answer)), extents)


def test_a_refusal_of_a_whole_answer() -> None:
    memory = plain()
    memory.refusal = 0x8500
    with pytest.raises(DeviceError, match="0x8500: the message is too long"):
        messages.contents(answered(Questions().read([Extent("DB", 1, 0, 5)]), memory), [Extent("DB", 1, 0, 5)])


@pytest.mark.parametrize(
    ("bit", "content", "after"), [(None, b"\1\2", "010203"), (2, b"\1", "040103"), (0, b"\0", "000103")]
)
def test_writes(bit: int | None, content: bytes, after: str) -> None:
    memory = plain()
    memory.area("M", 0, 3)[:] = b"\0\1\3"
    messages.check_written(answered(Questions().write("M", 0, 0, bit, content), memory))
    assert memory.areas["M", 0].hex() == after


def test_a_setup_that_agrees_to_nothing() -> None:
    answer = bytearray(plain().answer(Questions().setup(480)) or b"")
    assert messages.agreed(messages.parse(bytes(answer))) == 480
    answer[-2:] = b"\0\1"
    with pytest.raises(Malformed, match="no length"):
        messages.agreed(messages.parse(bytes(answer)))


def test_numbers_go_round() -> None:
    questions: Any = Questions()
    questions._library.sequence = 0xFFFE
    assert [messages.number_of(questions.setup(240)) for _ in range(3)] == [0xFFFF, 0, 1]
