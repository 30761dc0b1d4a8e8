"""Settings of CoAP devices: what is accepted, and the words for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.connectors.coap.config import CoapDevice, CoapPoint, Endpoint, Resource, parse_path, parse_url
from gateway.errors import ConfigError

GOOD = """
[device.d]
kind = "coap"
url = "coap://10.0.0.7"
[[device.d.point]]
name = "t"
path = "/t"
"""


def problem(tmp_path: Path, text: str) -> str:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(file, Settings, kinds)
    return "\n".join(caught.value.problems)


def test_urls() -> None:
    assert parse_url("coap://10.0.0.7") == Endpoint("coap", "10.0.0.7", 5683)
    assert parse_url("coaps://node.local:1234") == Endpoint("coaps", "node.local", 1234)
    assert str(parse_url("coap://[fd00::1]")) == "coap://[fd00::1]:5683"
    for bad in ("10.0.0.7", "http://x", "coap://", "coap://x:0", "coap://x:99999", "coap://x/path", "coap://x?y"):
        with pytest.raises(ValueError, match="coap://10.0.0.7"):
            parse_url(bad)


def test_paths() -> None:
    assert parse_path("/3303/0/5700") == Resource(("3303", "0", "5700"))
    assert parse_path("/a%20b?u=c&x") == Resource(("a b",), ("u=c", "x"))
    assert str(parse_path("/a?u=c")) == "/a?u=c"
    assert parse_path("/") == Resource(())
    for bad in ("a", "//a", "/a#b", "/" + "x" * 256, "/a\n"):
        with pytest.raises(ValueError):
            parse_path(bad)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('content = "tlv"', 'type: must be "int", "float", "bool" or "text"'),
        ('content = "text"\nfield = "/a"', "field: has no effect"),
        ('content = "json"\nfield = "a"', "field: must be a JSON pointer"),
        ('content = "tlv"\ntype = "int"\nfield = "a"', "field: must be numbers"),
        ('write_path = "/w"', "write_path: has no effect"),
        ('content = "xml"', "content: must be one of"),
    ],
)
def test_points_that_do_not_fit_together(tmp_path: Path, more: str, words: str) -> None:
    assert words in problem(tmp_path, GOOD + more)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("coap://", "coaps://", 'psk: a url that begins with "coaps://" needs it'),
        ('"coap://10.0.0.7"', '"coap://10.0.0.7"\npsk = { identity = "a", key = "b" }', "psk:"),
        ('"coap://10.0.0.7"', '"coap://10.0.0.7"\nrefresh = "1m"', "refresh: has no effect"),
        ('"coap://10.0.0.7"', '"coap://10.0.0.7"\nblock = 100', "block: must be one of 16"),
        ('"coap://10.0.0.7"', '"udp://10.0.0.7"', 'url: must be like "coap://10.0.0.7"'),
        ('"/t"', '"t"', 'path: must be the path of a resource, such as "/3303/0/5700"'),
    ],
)
def test_devices_that_do_not_fit_together(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert words in problem(tmp_path, GOOD.replace(old, new, 1))


def test_a_node_that_sleeps_has_its_own_period() -> None:
    device = CoapDevice(url="coap://x", poll=10.0, expect=3600.0, point=(CoapPoint(name="t", path="/t"),))
    assert device.patient.poll == 3600.0
    assert CoapDevice(url="coap://x", point=device.point).patient.poll == 10.0
