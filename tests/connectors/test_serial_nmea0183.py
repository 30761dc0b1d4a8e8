"""NMEA 0183: sentences as others have published them, broken ones, and a track.

Sources: "NMEA Revealed" by Eric Raymond (gpsd), the GPS page of Glenn Baddeley, gpsinformation.org by Dale DePriest.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.serial import nmea0183
from gateway.connectors.serial.checksum import Checksum

SUM = Checksum("xor8", "hex", skip=1, mark=b"*")


def read(*lines: str) -> dict[str, Any]:
    framer = nmea0183.framer()
    frames = framer.feed("".join(f"{line}\r\n" for line in lines).encode(), 0.0)
    assert len(frames) == len(lines), dict(framer.dropped)
    return {name: value for frame in frames for name, value in nmea0183.decode(frame).items()}


PUBLISHED: list[tuple[str, dict[str, Any]]] = [
    (
        "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A",
        {
            "time": "12:35:19Z",
            "status": "A",
            "latitude": 48.1173,
            "longitude": 11.51666667,
            "speed": 22.4,
            "course": 84.4,
            "date": "1994-03-23",
            "variation": -3.1,
        },
    ),
    (
        "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
        {"latitude": 48.1173, "fix": 1, "satellites": 8, "hdop": 0.9, "altitude": 545.4, "geoid": 46.9},
    ),
    ("$GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1*39", {"dimension": 3, "pdop": 2.5, "hdop": 1.3, "vdop": 2.1}),
    ("$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K*48", {"course": 54.7, "course_magnetic": 34.4, "speed": 5.5}),
    ("$GPGLL,4916.45,N,12311.12,W,225444,A,*1D", {"latitude": 49.27416667, "longitude": -123.18533333}),
    (
        "$GPRMC,081836,A,3751.65,S,14507.36,E,000.0,360.0,130998,011.3,E*62",
        {"latitude": -37.86083333, "longitude": 145.12266667, "variation": 11.3, "date": "1998-09-13"},
    ),
    ("$GPGSV,2,1,08,01,40,083,46,02,17,308,41,12,07,344,39,14,22,228,45*75", {"in_view": 8}),
]


@pytest.mark.parametrize(("line", "expected"), PUBLISHED)
def test_published_sentences(line: str, expected: dict[str, Any]) -> None:
    found = read(line)
    kind = line[3:6]
    for name, value in expected.items():
        assert found[name] == found[f"{kind}.{name}"] == value, name


def made(body: str) -> str:
    return SUM.add(f"${body}".encode()).decode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("HEHDT,271.1,T", {"heading": 271.1}),
        ("HCHDG,101.1,,,7.1,W", {"heading_magnetic": 101.1, "deviation": None, "variation": -7.1}),
        ("WIMWV,214.8,R,10.0,N,A", {"apparent_wind_angle": 214.8, "apparent_wind_speed": 5.144444}),
        ("WIMWV,045.0,T,36.0,K,A", {"true_wind_angle": 45.0, "true_wind_speed": 10.0}),
        ("WIMWV,,R,,N,V", {"apparent_wind_angle": None, "apparent_wind_speed": None}),
        ("SDDBT,7.8,f,2.4,M,1.3,F", {"depth": 2.4}),
        ("SDDBT,10.0,f,,M,,F", {"depth": 3.048}),
        ("SDDPT,2.4,0.5", {"depth": 2.4, "depth_offset": 0.5}),
        ("YXMTW,17.75,C", {"water_temperature": 17.75}),
        ("VWVHW,,T,,M,5.5,N,10.2,K", {"water_speed": 5.5}),
        ("TIROT,-3.2,A", {"rate_of_turn": -3.2}),
        ("GPZDA,201530.00,04,07,2002,00,00", {"time": "20:15:30.00Z"}),
        ("IIXDR,C,19.52,C,TempAir,P,1.02481,B,Barometer", {"XDR.TempAir": 19.52, "XDR.Barometer": 1.02481}),
    ],
)
def test_instruments(body: str, expected: dict[str, Any]) -> None:
    found = read(made(body))
    for name, value in expected.items():
        assert found[name] == value, name


def test_an_apparent_wind_says_nothing_of_the_true_one() -> None:
    assert not [name for name in read(made("WIMWV,214.8,R,10.0,N,A")) if "true" in name]


@pytest.mark.parametrize(
    "body", ["GPRMC,001225,V,2832.1834,N,08101.0536,W,,,251211,1.2,E,N", "GPGGA,001225,,,,,0,00,99.9,,M,,M,,"]
)
def test_without_a_fix_there_is_no_position(body: str) -> None:
    found = read(made(body))
    assert found["latitude"] is None and found["longitude"] is None
    assert found["time"] == "00:12:25Z"


def test_a_broken_sentence_is_dropped_and_the_next_is_read() -> None:
    framer = nmea0183.framer()
    good = PUBLISHED[0][0].encode()
    stream = (
        good[:30] + b"\r\n" + good.replace(b"4807", b"4907") + b"\r\n" + good[5:20] + good + b"\r\n" + good + b"\r\n"
    )
    assert framer.feed(stream, 0.0) == [good[:-3]] * 2
    assert framer.dropped["checksum"] == 2


@pytest.mark.parametrize(
    "body",
    [
        "GPRMC,123519,A,4867.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
        "GPRMC,123519,A,9107.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
        "GPRMC,253519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
        "GPRMC,123519,A,4807.038,X,01131.000,E,022.4,084.4,230394,003.1,W",
        "GPRMC,123519,A,4807.038,N,01131.000,E,fast,084.4,230394,003.1,W",
        "GPRMC,123519,A",
        "WIMWV,214.8,R,10.0,X,A",
    ],
)
def test_a_sentence_that_breaks_its_form_says_nothing(body: str) -> None:
    with pytest.raises(ValueError, match="with a wrong"):
        nmea0183.decode(f"${body}".encode())


@given(st.binary(max_size=100))
def test_any_bytes_are_fields_or_a_value_error(data: bytes) -> None:
    for sentence in (data, b"$GPRMC," + data, b"$IIXDR," + data, b"$GPGGA," + data.replace(b"0", b",")):
        try:
            nmea0183.decode(sentence)
        except ValueError:
            pass


def test_every_field_can_be_named_in_the_settings() -> None:
    assert nmea0183.field_problem("RMC.speed") is None
    assert nmea0183.field_problem("speed") is None
    assert nmea0183.field_problem("XDR.TempAir") is None
    for wrong in ("RMC.depth", "velocity", 3, None):
        problem = nmea0183.field_problem(wrong)
        assert problem is not None and problem.startswith("must be a field of a sentence")
