"""Frames out of bytes: every way to cut, any split of the input, bounds, and finding the way back after nonsense."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.serial.checksum import Checksum
from gateway.connectors.serial.framing import Counted, Delimited, Fixed, Framer, Gap, Marked

CRC = Checksum("crc16-modbus", order="little")
XOR = Checksum("xor8")

FRAMERS: dict[str, Callable[[], Framer]] = {
    "line": lambda: Delimited(b"\n", most=12, strip=b"\r"),
    "delimiter": lambda: Delimited(b"aab", most=12),
    "line with checksum": lambda: Delimited(b"\n", most=12, check=XOR.check),
    "fixed": lambda: Fixed(5),
    "fixed behind a mark": lambda: Fixed(5, start=b"\xaa\x55"),
    "fixed with checksum": lambda: Fixed(5, start=b"aa", check=XOR.check),
    "length": lambda: Counted(1, 1, "big", 2, start=b"a", most=12),
    "length with checksum": lambda: Counted(2, 2, "little", 6, start=b"aa", most=20, check=CRC.check),
    "marks": lambda: Marked(b"\x02", b"\x03", most=8),
    "marks with DLE": lambda: Marked(b"\x10\x02", b"\x10\x03", escape=0x10, most=8),
    "flags": lambda: Marked(b"\x7e", b"\x7e", escape=0x7D, flip=0x20, most=8, check=XOR.check),
}

ALPHABET = b"ab\n\r\x00\x01\x02\x03\x05\x10\x55\x7d\x7e\xaa"
"""Few bytes, and those that mean something: marks meet each other often."""

STREAM = st.lists(st.sampled_from(ALPHABET), max_size=120).map(bytes)


def fed(framer: Framer, *pieces: bytes) -> tuple[list[bytes], dict[str, int]]:
    frames = [frame for piece in pieces for frame in framer.feed(piece, 0.0)]
    return frames, dict(framer.dropped)


@pytest.mark.parametrize("name", FRAMERS)
@settings(max_examples=50)
@given(stream=STREAM, cuts=st.lists(st.integers(0, 120), max_size=8))
def test_any_split_gives_the_same_frames_and_counts(name: str, stream: bytes, cuts: list[int]) -> None:
    make = FRAMERS[name]
    whole = fed(make(), stream)
    assert fed(make(), *(bytes((byte,)) for byte in stream)) == whole
    places = [0, *sorted(cuts), len(stream)]
    assert fed(make(), *(stream[a:b] for a, b in zip(places, places[1:], strict=False))) == whole


@pytest.mark.parametrize("name", FRAMERS)
@settings(max_examples=20)
@given(stream=STREAM)
def test_what_is_kept_is_bounded(name: str, stream: bytes) -> None:
    framer = FRAMERS[name]()
    for byte in stream * 3:
        framer.feed(bytes((byte,)), 0.0)
        assert len(framer._buffer) <= 24
        assert len(getattr(framer, "_body", None) or b"") <= 12


@pytest.mark.parametrize("escape", [(b"\x10\x02", b"\x10\x03", 0x10, 0), (b"\x7e", b"\x7e", 0x7D, 0x20)])
@settings(max_examples=30)
@given(bodies=st.lists(st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=20).map(bytes), max_size=6))
def test_what_is_wrapped_is_found_whatever_it_holds(escape: tuple[bytes, bytes, int, int], bodies: list[bytes]) -> None:
    framer = Marked(*escape, check=CRC.check)
    stream = b"".join(framer.wrap(CRC.add(body)) for body in bodies)
    assert fed(framer, stream) == (bodies, {})


@given(st.lists(st.binary(max_size=30), max_size=5), st.sampled_from(["big", "little"]))
def test_frames_that_say_how_long_they_are(bodies: list[bytes], order: str) -> None:
    framer = Counted(1, 2, order, 5, start=b"\xaa", check=CRC.check)  # type: ignore[arg-type]
    frames = [b"\xaa" + len(body).to_bytes(2, order) + body for body in bodies]  # type: ignore[arg-type]
    assert fed(framer, b"".join(CRC.add(frame) for frame in frames)) == (frames, {})


@given(noise=st.binary(max_size=40), garbled=st.integers(0, 8))
def test_after_nonsense_the_next_frames_are_found(noise: bytes, garbled: int) -> None:
    """At the latest one longest frame behind it."""
    good = [CRC.add(b"\xaa\x05" + bytes((number,)) * 5) for number in range(12)]
    first = bytearray(good[0])
    first[garbled] ^= 0xFF
    framer = Counted(1, 1, "big", 4, start=b"\xaa", most=40, check=CRC.check)
    frames, dropped = fed(framer, noise + bytes(first) + b"".join(good[1:]))
    assert frames[-6:] == [frame[:-2] for frame in good[-6:]]
    assert dropped


def test_lines_with_and_without_carriage_return_and_empty_ones() -> None:
    framer = Delimited(b"\n", strip=b"\r")
    assert fed(framer, b"one\r\ntwo\n\r\n\nthree\r\r\nrest") == ([b"one", b"two", b"three\r"], {})
    assert framer.wrap(b"ask") == b"ask\r\n"


def test_a_line_too_long_is_dropped_once_and_the_next_is_found() -> None:
    framer = Delimited(b"\n", most=5)
    assert fed(framer, b"12345\n", b"123456\n", b"x" * 100, b"x" * 100, b"\nok\n") == (
        [b"12345", b"ok"],
        {"too_long": 2},
    )


def test_a_start_mark_inside_of_data_is_passed_over_by_the_checksum() -> None:
    framer = Fixed(7, start=b"\xaa", check=CRC.check)
    frame = CRC.add(b"\xaa\x01\xaa\x07\x03")
    frames, dropped = fed(framer, frame[2:] + frame)
    assert frames == [frame[:-2]]
    assert dropped["checksum"] == 1


def test_a_frame_that_begins_anew_was_cut() -> None:
    assert fed(Marked(b"\x02", b"\x03"), b"x\x02hal\x02whole\x03") == ([b"whole"], {"noise": 1, "cut": 1})


@pytest.mark.parametrize("name", ["line", "fixed", "length", "marks"])
def test_a_pause_inside_of_a_frame_drops_its_begin(name: str) -> None:
    framer = FRAMERS[name]()
    framer._pause = 0.5
    begin = {"line": b"ha", "fixed": b"ha", "length": b"a\x05h", "marks": b"\x02ha"}[name]
    whole = {"line": b"ok\n", "fixed": b"12345", "length": b"a\x01k", "marks": b"\x02ok\x03"}[name]
    assert framer.feed(begin, 10.0) == []
    assert len(framer.feed(whole, 10.6)) == 1
    assert framer.dropped["cut"] == 1
    framer.feed(begin, 20.0)
    framer.feed(b"", 20.5)
    assert framer.dropped["cut"] == 1


def test_silence_ends_a_frame() -> None:
    framer = Gap(0.02, most=4)
    assert framer.next_timer() is None
    assert framer.feed(b"ab", 10.0) == []
    assert framer.feed(b"c", 10.015) == []
    assert framer.next_timer() == pytest.approx(10.035)
    assert framer.on_timer(10.03) == []
    assert framer.on_timer(10.036) == [b"abc"]
    assert framer.next_timer() is None
    assert framer.feed(b"12345" * 1000, 11.0) == []
    assert framer.feed(b"next", 11.1) == []
    assert framer.dropped == {"too_long": 1}
    assert framer.on_timer(11.2) == [b"next"]


def test_silence_and_a_checksum() -> None:
    framer = Gap(0.02, check=CRC.check)
    framer.feed(CRC.add(b"\x01\x03"), 1.0)
    assert framer.on_timer(2.0) == [b"\x01\x03"]
    framer.feed(b"\x01\x03\x00\x00", 3.0)
    assert framer.on_timer(4.0) == []
    assert framer.dropped == {"checksum": 1}


@pytest.mark.parametrize("name", FRAMERS)
def test_a_reset_forgets_the_begin(name: str) -> None:
    framer = FRAMERS[name]()
    framer.feed(b"\x10\x02\x02\xaa\x55aa\x05", 0.0)
    framer.reset()
    fresh = FRAMERS[name]()
    stream = b"\x10\x02ok\x10\x03\x02ok\x03ok\naab\xaa\x55abc"
    assert framer.feed(stream, 0.0) == fresh.feed(stream, 0.0)
