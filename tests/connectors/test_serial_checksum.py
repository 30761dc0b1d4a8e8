"""Checksums against the published check values, against the standard library, and in frames of real protocols."""

from __future__ import annotations

import binascii
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.serial.checksum import SUMS, Checksum

CHECK = {
    "sum8": 0xDD,
    "sum16": 0x1DD,
    "lrc": 0x23,
    "xor8": 0x31,
    "crc8": 0xF4,
    "crc8-maxim": 0xA1,
    "crc16-arc": 0xBB3D,
    "crc16-modbus": 0x4B37,
    "crc16-ccitt-false": 0x29B1,
    "crc16-xmodem": 0x31C3,
    "crc16-kermit": 0x2189,
    "crc16-x25": 0x906E,
    "crc32": 0xCBF43926,
    "crc32c": 0xE3069283,
}
"""Of ``123456789``: Greg Cook, catalogue of parametrised CRC algorithms; the sums by hand."""


@pytest.mark.parametrize("name", SUMS)
def test_the_published_check_value(name: str) -> None:
    assert SUMS[name][1](b"123456789") == CHECK[name]


@given(st.binary())
def test_they_agree_with_the_standard_library(data: bytes) -> None:
    assert SUMS["crc32"][1](data) == zlib.crc32(data)
    assert SUMS["crc16-xmodem"][1](data) == binascii.crc_hqx(data, 0)
    assert SUMS["crc16-ccitt-false"][1](data) == binascii.crc_hqx(data, 0xFFFF)


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("form", ["bytes", "hex"])
@settings(max_examples=30)
@given(body=st.binary(min_size=2), at=st.integers(0), bit=st.integers(0, 7))
def test_what_is_added_is_checked_and_one_wrong_bit_is_found(
    name: str, form: str, body: bytes, at: int, bit: int
) -> None:
    for order in ("big", "little"):
        checksum = Checksum(name, form, order, skip=1, mark=b"*")  # type: ignore[arg-type]
        frame = checksum.add(body)
        assert len(frame) == len(body) + checksum.length
        assert checksum.check(frame) == body
        broken = bytearray(body)
        broken[1 + at % (len(body) - 1)] ^= 1 << bit
        with pytest.raises(ValueError, match="checksum"):
            checksum.check(bytes(broken) + frame[len(body) :])


def test_frames_of_known_protocols() -> None:
    nmea = Checksum("xor8", "hex", skip=1, mark=b"*")
    assert nmea.check(b"$GPGLL,5057.970,N,00146.110,E,142451,A*27") == b"$GPGLL,5057.970,N,00146.110,E,142451,A"
    assert nmea.check(b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6a")
    modbus = Checksum("crc16-modbus", order="little")
    assert modbus.add(bytes.fromhex("0103 0000 0001")) == bytes.fromhex("0103 0000 0001 840a")


@pytest.mark.parametrize("frame", [b"", b"$", b"*00", b"$GP*", b"$GPHDT,271.1,T#2C"])
def test_a_frame_too_short_or_without_its_mark(frame: bytes) -> None:
    with pytest.raises(ValueError, match="too short|no mark|wrong"):
        Checksum("xor8", "hex", skip=1, mark=b"*").check(frame)
