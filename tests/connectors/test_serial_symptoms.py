"""What is wrong with a line is told from the bytes that come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.line_errors import LineErrors
from gateway.connectors.serial.checksum import SUMS, Checksum
from gateway.connectors.serial.config import SerialDevice, SerialPoint
from gateway.connectors.serial.frame_settings import ChecksumSettings, DecodeSettings, FrameSettings
from gateway.connectors.serial.symptoms import is_smeared, parity_of, symptoms

TEXT = b"T=21.5;H=40.2;P=1013.2\r\nT=21.6;H=40.1;P=1013.1\r\n"


def device(**more: Any) -> SerialDevice:
    return SerialDevice(url=more.pop("url", "serial:/dev/ttyX"), point=(SerialPoint(name="t"),), **more)


def said(heard: bytes, sent: bytes = b"", errors: LineErrors | None = None, **more: Any) -> str:
    return "; ".join(symptoms(device(**more), sent, heard, errors))


def with_parity(data: bytes, parity: str) -> bytes:
    def bit(byte: int) -> int:
        return 1 if parity == "M" else byte.bit_count() % 2 ^ (parity == "O")

    return bytes(byte | bit(byte) << 7 for byte in data)


def sampled(data: bytes, faster: int) -> bytes:
    """What a UART reads that is so many times faster than the line: 8N1, from the first edge to the next."""
    wire = "".join("0" + f"{byte:08b}"[::-1] + "1" for byte in data)
    samples = "".join(bit * faster for bit in wire) + "1" * 12
    heard, at = bytearray(), 0
    while (at := samples.find("0", at)) >= 0 and at + 9 < len(samples):
        heard.append(int(samples[at + 1 : at + 9][::-1], 2))
        at += 10 if samples[at + 9] == "1" else 9
    return bytes(heard)


def test_frames_that_are_right_have_no_symptoms() -> None:
    assert said(TEXT) == ""
    assert said(b"OK\r\n", b"?\r\n") == ""


def test_silence_names_what_to_look_at() -> None:
    assert "does it speak by itself" in said(b"")
    assert "many devices wait for \\r" in said(b"", b"READ")
    assert "many devices wait" not in said(b"", b"READ\r\n") and "the unit (7)" in said(b"", b"READ\r\n", unit=7)
    assert "framed = true" in said(b"", b"READ\r", checksum=ChecksumSettings(by="lrc"))


def test_an_adapter_that_hears_itself_is_told() -> None:
    assert "echo=on" in said(b"?T\r\n", b"?T\r\n")
    assert "echo=on" in said(b"?T\r\n21.5\r\n", b"?T\r\n")


def test_framing_errors_of_the_driver_mean_another_speed() -> None:
    assert "another speed than 19200" in said(TEXT, errors=LineErrors(framing=9), url="serial:/dev/x?baud=19200")
    assert "wrong parity" in said(TEXT, errors=LineErrors(parity=9))
    assert "lost by the driver" in said(TEXT, errors=LineErrors(overrun=1))
    assert LineErrors(5, 2, 1).since(LineErrors(3, 2, 4)) == LineErrors(2, 0, 0)


@pytest.mark.parametrize("faster", [2, 4, 8])
def test_a_port_that_is_faster_than_its_device_is_told(faster: int) -> None:
    heard = sampled(TEXT, faster)
    assert is_smeared(heard) and not is_smeared(TEXT)
    assert "another speed than 9600; it sends slower" in said(heard)


def test_a_port_that_is_slower_than_its_device_hears_no_text() -> None:
    wire = "".join("0" + f"{byte:08b}"[::-1] + "1" for byte in TEXT)[::2]
    heard = bytes(int(wire[at + 1 : at + 9][::-1].ljust(8, "1"), 2) for at in range(0, len(wire), 10))
    assert "another speed than 9600" in said(heard) and "slower" not in said(heard)


@pytest.mark.parametrize("parity", ["E", "O", "M"])
def test_parity_that_was_read_as_data_is_found(parity: str) -> None:
    heard = with_parity(TEXT, parity)
    assert parity_of(heard) == parity
    assert f"bits=7&parity={parity}" in said(heard)
    assert parity_of(TEXT) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_it(heard: bytes) -> None:
    for by in ("line", "gap", "length"):
        frame = FrameSettings(by=by, **({"gap": 0.01} if by == "gap" else {}))  # type: ignore[arg-type]
        for sum_of in (None, ChecksumSettings(by="crc16-modbus")):
            symptoms(device(frame=frame, checksum=sum_of), b"", heard)


@pytest.mark.parametrize("name", sorted(SUMS))
@pytest.mark.parametrize("form", ["bytes", "hex"])
def test_a_wrong_checksum_names_the_one_that_fits(name: str, form: Any) -> None:
    right, wrong = Checksum(name, form, "little"), "sum8" if name != "sum8" else "crc8"
    frames = [b"\xaa\x0b" + bytes((value, 255 - value)) * 3 for value in (1, 19, 77)]
    whole = [right.add(body) for body in frames]
    cut = FrameSettings(by="fixed", size=len(whole[0]))
    text = said(b"".join(whole), frame=cut, checksum=ChecksumSettings(by=wrong))
    assert "3 of 3 frames had a wrong checksum" in text and f'by = "{name}"' in text


def test_a_checksum_that_is_unknown_is_told() -> None:
    text = said(b"abc12\r\nabd99\r\n", checksum=ChecksumSettings(by="crc32"))
    assert "no known checksum fits" in text


@pytest.mark.parametrize(
    ("heard", "hint"),
    [
        (b"21.5\r21.6\r", '"\\r" would cut it'),
        (b"\x0221.5\x03\x0221.6\x03", "frame.by = marks"),
        (b"21.5;21.6;", '";" would cut it'),
        (b"21.5 21.6", "frame.by = gap"),
    ],
)
def test_bytes_without_frames_name_what_would_cut_them(heard: bytes, hint: str) -> None:
    assert hint in said(heard) and "and no frame" in said(heard)


def test_frames_that_are_too_long_or_broken_off_are_told() -> None:
    assert "longer than 8 bytes" in said(b"0123456789\n0123456789\n", frame=FrameSettings(max=8))
    marks = FrameSettings(by="marks", start="<", stop=">")
    assert "broke off" in said(b"<12<12", frame=marks)


def test_binary_answers_are_not_taken_for_a_wrong_speed() -> None:
    binary = DecodeSettings(as_="struct", format=">HH")
    assert said(bytes((0x80, 0xFF, 0xC1, 0x99) * 4), frame=FrameSettings(by="fixed", size=4), decode=binary) == ""
