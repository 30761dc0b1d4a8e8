"""What is wrong with settings of OPC-UA devices and listeners, in words."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config.declare import File, Secret
from gateway.config.opcua import OpcuaListener, OpcuaUser, policies
from gateway.config.opcua import filters as topic_filters
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint, parse_url

POINT = OpcuaPoint(name="a", node="ns=2;s=A")


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("opc.tcp://10.0.0.5", "10.0.0.5:4840"),
        ("opc.tcp://plc:4841/UA/field", "plc:4841"),
        ("opc.tcp://[fe80::1]:1", "[fe80::1]:1"),
    ],
)
def test_urls(url: str, endpoint: str) -> None:
    assert str(parse_url(url)) == endpoint


def test_the_address_has_its_port_and_path() -> None:
    assert OpcuaDevice(url="opc.tcp://plc/UA/x", point=(POINT,)).address == "opc.tcp://plc:4840/UA/x"


@pytest.mark.parametrize(
    "url", ["tcp://a", "opc.tcp://", "opc.tcp://a:0", "opc.tcp://a:x", "opc.tcp://a?b", "opc.tcp://u:p@a", "http://a"]
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be like|must not hold a user"):
        parse_url(url)


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"certificate": File("c")}, "key", "go together"),
        ({"user_key": File("k")}, "user_certificate", "go together"),
        ({"certificate": File("c"), "key": File("k")}, "certificate", "has no effect"),
        ({"password": Secret("p")}, "password", "no effect without user"),
        ({"user": "u"}, "password", "required key is missing"),
        (
            {"user_certificate": File("c"), "user_key": File("k")},
            "security",
            "must not be none",
        ),
        (
            {"user": "u", "password": Secret("p"), "user_certificate": File("c"), "user_key": File("k"),
             "security": "Basic256Sha256"},
            "user",
            "not both",
        ),
        ({"point": (OpcuaPoint(name="a", node="Objects/plc:A"),)}, "point[0].node", '"plc" is none of namespaces'),
    ],
)  # fmt: skip
def test_problems_of_devices(given: dict[str, Any], key: str, words: str) -> None:
    device = OpcuaDevice(**({"url": "opc.tcp://plc", "point": (POINT,)} | given))
    problems = dict(device.problems())
    assert words in problems[key], problems


def listener(**more: Any) -> OpcuaListener:
    return OpcuaListener(**({"bind": "0.0.0.0:4840", "topics": ("plant/#",)} | more))


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"security": ("none",)}, "anonymous", "anybody could read"),
        (
            {"security": ("none",), "user": (OpcuaUser(name="a", password=Secret("p")),)},
            "security",
            "passwords would be sent in the clear",
        ),
        (
            {"user": (OpcuaUser(name="a", password=Secret("p")), OpcuaUser(name="a", password=Secret("q")))},
            "user[1].name",
            "is there already",
        ),
    ],
)
def test_problems_of_listeners(given: dict[str, Any], key: str, words: str) -> None:
    assert words in dict(listener(**given).problems())[key]


def test_what_is_safe_by_default() -> None:
    plain = listener()
    assert list(plain.problems()) == []
    assert "none" not in plain.security and plain.is_local and plain.tls is None
    assert not listener(security=("none",), anonymous=True).is_local
    assert not listener(user=(OpcuaUser(name="a", password=Secret("p")),)).lets_anonymous_in


def test_lists_of_words() -> None:
    assert policies(("Basic256Sha256", "none")) is None
    assert "Basic128Rsa15" in str(policies(("Basic128Rsa15",)))
    assert policies(()) and topic_filters(()) and topic_filters(("a/#/b",))
    assert topic_filters(("a/+",)) is None
