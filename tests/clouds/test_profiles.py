"""What ``gateway check`` says about settings that a cloud would not take, and the small pure parts of the profiles."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from gateway.config.declare import File, Secret
from gateway.message import PAYLOAD_FORMAT, USER_PROPERTY
from gateway.uplinks.mqtt.config import Forward, MqttUplink, Receive
from gateway.uplinks.profiles.pace import Pace
from gateway.uplinks.profiles.pick import service_of
from gateway.uplinks.profiles.property_bag import pack, unpack
from gateway.uplinks.profiles.sas import Sas, token

AWS = {
    "profile": "aws-iot",
    "url": "mqtts://a1b2-ats.iot.eu-central-1.amazonaws.com",
    "cert": File("c.pem"),
    "key": File("k.pem"),
}
AZURE = {
    "profile": "azure-iot-hub",
    "url": "mqtts://plant.azure-devices.net",
    "version": "3.1.1",
    "client_id": "press-7",
    "sas": Sas(key=Secret("AAEC")),
}


def problems(base: dict[str, Any], **changes: Any) -> list[tuple[str, str]]:
    return list(MqttUplink(**{**base, **changes}).problems())


@pytest.mark.parametrize("base", [AWS, AZURE])
def test_good_settings_have_no_problem(base: dict[str, Any]) -> None:
    assert problems(base, forward=(Forward(filter="plant/#"),), receive=(Receive(filter="cmd/#"),)) == []


def test_a_port_of_a_forwarder_is_the_users_affair() -> None:
    assert problems(AWS, url="mqtts://proxy.example:12345") == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cert": None, "key": None}, ("cert", "knows a device by its client certificate; set cert and key")),
        ({"username": "me"}, ("username", "must not be set")),
        ({"url": "mqtts://x.iot.eu-west-1.amazonaws.com:1883"}, ("url", "must have port 8883 or 443")),
        ({"keep_alive": 20.0}, ("keep_alive", 'must be between "30s" and "1200s"')),
        ({"client_id": "x" * 129}, ("client_id", "at most 128 bytes")),
        ({"client_id": "$me"}, ("client_id", "must not begin with $")),
        ({"session_expiry": 8 * 86400.0}, ("session_expiry", 'must be at most "7d"')),
        ({"sas": Sas(key=Secret("AAEC"))}, ("sas", 'only with profile = "azure-iot-hub"')),
        (
            {"forward": (Forward(filter="plant/#", to="a/b/c/d/e/f/g/h/i/#"),)},
            ("forward[0].to", "has 8 slashes, more than the 7 that AWS IoT Core takes; use fewer"),
        ),
        ({"forward": (Forward(filter="x", to="y" * 257),)}, ("forward[0].to", "has 257 bytes, more than the 256")),
        ({"forward": (Forward(filter="x", to="$aws/rules/store"),)}, ("forward[0].to", "needs $aws/rules/RULE/")),
        ({"forward": (Forward(filter="x", to="$SYS/x"),)}, ("forward[0].to", "keeps for its own topics")),
        ({"receive": (Receive(filter="+/" * 8 + "x", to="+/" * 8 + "x"),)}, ("receive[0].filter", "has 8 slashes")),
        ({"receive": tuple(Receive(filter=f"a/{n}") for n in range(51))}, ("receive", "at most 50 entries")),
    ],
)
def test_aws(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    ((key, text),) = problems(AWS, **changes)
    assert key == expected[0] and expected[1] in text, text


def test_aws_without_tls() -> None:
    found = dict(problems(AWS, url="mqtt://x.amazonaws.com"))
    assert found["url"] == "must begin with mqtts://: AWS IoT Core takes no connection without TLS"


@pytest.mark.parametrize("to", ["a/b/c/d/e/f/g/h", "$aws/rules/r/a/b/c/d/e/f/g/h", "$aws/things/x/shadow/update", "#"])
def test_aws_takes(to: str) -> None:
    assert problems(AWS, forward=(Forward(filter=to if to == "#" else "x", to=to),)) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": "5"}, ("version", 'must be "3.1.1"')),
        ({"client_id": None}, ("client_id", "required: the id of the device in the hub")),
        ({"client_id": "a/b"}, ("client_id", "without /, + and #")),
        ({"username": "x"}, ("username", "must not be set: it is made of the hub and the device")),
        ({"sas": None}, ("sas", "required, or cert and key")),
        ({"cert": File("c"), "key": File("k")}, ("sas", "must not be set beside cert")),
        ({"url": "mqtts://plant.azure-devices.net:443"}, ("url", "must have port 8883")),
        ({"keep_alive": 1200.0}, ("keep_alive", 'must be between "5s" and "1177s"')),
    ],
)
def test_azure(changes: dict[str, Any], expected: tuple[str, str]) -> None:
    ((key, text),) = problems(AZURE, **changes)
    assert key == expected[0] and expected[1] in text, text


@pytest.mark.parametrize("key", ["", "not base64!", "AAE"])
def test_key_that_is_none(key: str) -> None:
    assert list(Sas(key=Secret(key)).problems()) == [("key", "must be base64, as the portal shows the key of a device")]


def test_token_of_the_documentation() -> None:
    """Form and order of the fields; the signature of a known key, computed with ``openssl dgst -sha256 -hmac``."""
    made = token(base64.b64encode(b"key").decode(), "hub.example/devices/d 1", 1_700_000_000.2, 60)
    assert made == (
        "SharedAccessSignature sr=hub.example%2Fdevices%2Fd%201"
        "&sig=lOUtMXX0%2FgwFglMPAUpTL0jJmtbF2hqbmVpE8jfz1w0%3D&se=1700000061"
    )


def test_token_is_never_shown() -> None:
    assert "AAEC" not in repr(MqttUplink(**AZURE))  # type: ignore[arg-type]


def test_pace_over_any_second() -> None:
    """Sent as soon as allowed, no window of one second has more than the rate, and the rate is nearly used."""
    pace, now, times = Pace(100), 1000.0, []
    while now < 1010:
        wait = pace.wait(now)
        if wait:
            now += wait
            continue
        pace.sent(now)
        times.append(now)
    busiest = max(sum(start <= time < start + 1 for time in times) for start in times)
    assert busiest <= 100
    assert len(times) > 850


def test_pace_after_a_quiet_time_is_no_burst_of_all_that_was_missed() -> None:
    pace = Pace(100)
    pace.sent(0.0)
    sent = 0
    while not pace.wait(1000.0):
        pace.sent(1000.0)
        sent += 1
    assert sent == 10


def test_no_pace() -> None:
    pace = Pace(0)
    for _ in range(1000):
        pace.sent(5.0)
    assert pace.wait(5.0) == 0


def test_plain_service_changes_nothing() -> None:
    service = service_of(MqttUplink(url="mqtt://broker"))
    assert service.up("a", True, ((3, "x"),)) == ("a", True, ((3, "x"),))
    assert service.down("a", ()) == ("a", (), None)
    assert service.subscriptions([("a", 2)]) == [("a", 2)]
    service.check("a/" * 1000, 1 << 27)


def test_a_compressed_message_is_not_called_text() -> None:
    props = ((USER_PROPERTY, ("encoding", "zlib")), (PAYLOAD_FORMAT, 1))
    assert pack("a/b", False, props) == "$.ce=zlib&topic=a%2Fb"
    assert unpack("%24.ce=zlib&topic=a%2Fb") == ("a/b", ((USER_PROPERTY, ("encoding", "zlib")),))


def test_names_that_the_hub_does_not_take() -> None:
    props = ((USER_PROPERTY, ("Höhe (m)", "1")), (USER_PROPERTY, ("", "2")), (USER_PROPERTY, ("topic", "forged")))
    assert pack("t", True, props) == "H_he__m_=1&_=2&usertopic=forged&topic=t&mqtt-retain=true"
