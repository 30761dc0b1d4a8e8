"""The address of a serial line: what it means, what is refused and how the refusal helps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.serial_line import (
    Echo,
    Line,
    SerialAddress,
    TcpAddress,
    address_problem,
    parse_address,
)

LINES = st.builds(
    Line,
    baud=st.integers(50, 4_000_000),
    parity=st.sampled_from("NEOMS"),
    bits=st.sampled_from([5, 6, 7, 8]),
    stop=st.sampled_from([1, 2]),
    flow=st.sampled_from(["none", "xonxoff"]),
    rs485=st.sampled_from(["off", "kernel", "rts"]),
    before=st.sampled_from([0.0, 0.002, 0.5]),
    after=st.sampled_from([0.0, 0.001]),
    echo=st.booleans(),
    dtr=st.booleans(),
    rts=st.booleans(),
)


@given(LINES)
def test_an_address_written_out_is_the_same_address(line: Line) -> None:
    address = SerialAddress("/dev/ttyS0", line)
    assert parse_address(str(address)) == address


def test_every_option_is_read() -> None:
    text = (
        "serial:/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0?baud=19200&parity=e&bits=7&stop=2"
        "&flow=xonxoff&rs485=rts&before=2ms&after=0.001&echo=on&dtr=off&rts=off"
    )
    found = parse_address(text)
    assert isinstance(found, SerialAddress)
    assert found.path == "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"
    assert found.line == Line(19200, "E", 7, 2, "xonxoff", "rts", 0.002, 0.001, True, False, False)


def test_the_order_of_options_and_defaults_make_no_other_line() -> None:
    one = parse_address("serial:/dev/ttyS0?parity=E&baud=9600")
    other = parse_address("serial:/dev/ttyS0?baud=9600&parity=E&stop=1")
    assert str(one) == str(other) == "serial:/dev/ttyS0?parity=E"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://10.0.0.7:4001", TcpAddress("10.0.0.7", 4001)),
        ("tcp://[::1]:4001", TcpAddress("::1", 4001)),
        ("tcp://moxa.site:950", TcpAddress("moxa.site", 950)),
    ],
)
def test_a_serial_server(text: str, address: TcpAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("/dev/ttyUSB0", "serial:/dev/serial/by-id"),
        ("serial:ttyUSB0", "serial:/dev/serial/by-id"),
        ("serial:/dev/tty S0", "serial:/dev/serial/by-id"),
        ("serial:/dev/", "serial:/dev/serial/by-id"),
        ("serial:/dev/ttyS0?", "no option ''"),
        ("serial:/dev/ttyS0?speed=9600", "known: baud, parity"),
        ("serial:/dev/ttyS0?baud=9600&baud=1200", "baud once"),
        ("serial:/dev/ttyS0?baud=fast", "baud=a number from 50 to 4000000, not baud=fast"),
        ("serial:/dev/ttyS0?baud=49", "baud=a number from 50"),
        ("serial:/dev/ttyS0?baud=\u00b2", "baud=a number from 50"),
        ("serial:/dev/ttyS0?parity=X", "N, E, O, M or S"),
        ("serial:/dev/ttyS0?bits=9", "5, 6, 7 or 8"),
        ("serial:/dev/ttyS0?stop=3", "1, 1.5 or 2"),
        ("serial:/dev/ttyS0?stop=1.5", "bits=5"),
        ("serial:/dev/ttyS0?flow=yes", "none, rtscts or xonxoff"),
        ("serial:/dev/ttyS0?rs485=yes", "off, kernel or rts"),
        ("serial:/dev/ttyS0?rs485=rts&flow=rtscts", "RTS twice"),
        ("serial:/dev/ttyS0?rs485=rts&after=2s", "up to 1s"),
        ("serial:/dev/ttyS0?echo=maybe", "on or off"),
        ("tcp://10.0.0.7", "host and port"),
        ("tcp://10.0.0.7:70000", "must be like"),
        ("tcp://10.0.0.7:4001/x", "nothing else"),
        ("tcp://10.0.0.7:4001?baud=9600", "nothing else"),
        ("udp://10.0.0.7:4001", "must be like"),
    ],
)
def test_what_is_refused_and_why(text: str, hint: str) -> None:
    problem = address_problem(text)
    assert problem is not None
    assert problem.startswith("must ")
    assert hint in problem


def test_the_time_of_a_character() -> None:
    assert Line(9600, "E").char_bits == 11
    assert Line(1200, "N", 8, 2).char_time == pytest.approx(11 / 1200)
    assert str(Line(19200, "E", 7, 1.5)) == "19200 7E1.5"


@settings(max_examples=40)
@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(1, 7), max_size=40))
def test_an_echo_is_taken_off_however_it_arrives(sent: bytes, answer: bytes, sizes: list[int]) -> None:
    echo = Echo()
    echo.sent(sent)
    arrived, left = b"", sent + answer
    for size in [*sizes, 100]:
        arrived += echo.strip(left[:size])
        left = left[size:]
    assert arrived == answer
    assert echo.collisions == 0


def test_what_differs_from_the_echo_is_kept_and_counted() -> None:
    echo = Echo()
    echo.sent(b"ASK")
    assert echo.strip(b"A") == b""
    assert echo.strip(b"XYZ") == b"XYZ"
    assert echo.collisions == 1
    echo.sent(b"ASK")
    echo.forget()
    assert echo.strip(b"ASK") == b"ASK"
