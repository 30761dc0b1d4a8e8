"""Bind addresses: what is one, which reach only this machine, which two collide."""

from __future__ import annotations

import pytest

from gateway.config.address import address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:1883", "127.0.0.1", 1883, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("[::1]:65535", "::1", 65_535, True),
        ("localhost:1", "localhost", 1, True),
        ("0.0.0.0:1883", "0.0.0.0", 1883, False),
        ("[::]:1883", "::", 1883, False),
        ("[fe80::1%eth0]:1883", "fe80::1%eth0", 1883, False),
        ("plc-7.plant.example:1883", "plc-7.plant.example", 1883, False),
    ],
)
def test_addresses(text: str, host: str, port: int, is_loopback: bool) -> None:
    parsed = parse_address(text)
    assert (parsed.host, parsed.port, parsed.is_loopback) == (host, port, is_loopback)
    assert address(text) is None


FORM = 'must be an address and a port from 0 to 65535, such as "127.0.0.1:1883" or "[::1]:1883"'
HOST = "must begin with an IPv4 address, an IPv6 address in brackets, or a host name"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", FORM),
        ("1883", FORM),
        ("127.0.0.1", FORM),
        ("127.0.0.1:", FORM),
        ("127.0.0.1:65536", FORM),
        ("127.0.0.1:mqtt", FORM),
        ("127.0.0.1:\u0661\u0662", FORM),
        (":1883", 'must name the address before the port: "0.0.0.0:1883" is every IPv4 address of this machine'),
        ("::1:1883", 'must have brackets around an IPv6 address, such as "[::1]:1883"'),
        ("[127.0.0.1]:1883", "must have an IPv6 address between the brackets"),
        ("[x]:1883", "must have an IPv6 address between the brackets"),
        ("256.0.0.1:1883", HOST),
        ("1.2.3:1883", HOST),
        ("a b:1883", HOST),
        ("-a:1883", HOST),
        ("a..b:1883", HOST),
        ("mqtt//x:1883", HOST),
    ],
)
def test_what_is_no_address(text: str, problem: str) -> None:
    assert address(text) == problem


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("127.0.0.1:1883", "127.0.0.1:1883", True),
        ("127.0.0.1:1883", "127.0.0.1:1884", False),
        ("127.0.0.1:1883", "127.0.0.2:1883", False),
        ("0.0.0.0:1883", "127.0.0.1:1883", True),
        ("[::]:1883", "[::1]:1883", True),
        ("[::1]:1883", "[0:0::1]:1883", True),
        ("0.0.0.0:1883", "[::]:1883", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("localhost:1883", "LOCALHOST:1883", True),
        ("localhost:1883", "127.0.0.1:1883", True),
        ("0.0.0.0:1883", "plant:1883", True),
        ("10.0.0.1:1883", "plant:1883", False),
        ("a:1883", "b:1883", False),
    ],
)
def test_collisions(one: str, other: str, collide: bool) -> None:
    assert parse_address(one).collides(parse_address(other)) is collide
    assert parse_address(other).collides(parse_address(one)) is collide
