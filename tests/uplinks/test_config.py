"""Settings that do not fit together, and the words that say so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.config.declare import File, Secret
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.uplinks import mqtt
from gateway.uplinks.mqtt.config import Endpoint, Forward, MqttUplink, Receive, broker_url, endpoint, remote_filter
from gateway.uplinks.packing.batch import Batch


def problems(**settings: Any) -> list[tuple[str, str]]:
    return list(MqttUplink(**{"url": "mqtts://broker.example", **settings}).problems())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", Endpoint("broker", 1883, False)),
        ("mqtts://broker/", Endpoint("broker", 8883, True)),
        ("mqtt://10.0.0.1:11883", Endpoint("10.0.0.1", 11883, False)),
        ("mqtt://[fd00::1]:1", Endpoint("fd00::1", 1, False)),
    ],
)
def test_url(url: str, expected: Endpoint) -> None:
    assert endpoint(url) == expected
    assert broker_url(url) is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://broker", "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"),
        ("broker:1883", "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"),
        ("mqtt://", "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"),
        ("mqtt://broker:0", "must have a port between 1 and 65535"),
        ("mqtt://broker:99999", "must have a port between 1 and 65535"),
        ("mqtt://broker:x", "must have a port between 1 and 65535"),
        ("mqtt://me:word@broker", "must not hold a user name or password; use the keys username and password"),
        ("mqtt://broker/path", "must end after the port"),
        ("mqtt://[fd00::1", "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"),
    ],
)
def test_wrong_url(url: str, text: str) -> None:
    assert broker_url(url) == text


@pytest.mark.parametrize(
    ("urls", "text"),
    [
        (("mqtt://a", "mqtt://b"), None),
        ((), "must hold at least one address"),
        (("mqtt://a", "mqtt://a:1883"), "must not hold the same address twice"),
        (("mqtt://a", "mqtts://b"), "must not mix mqtt:// and mqtts://"),
        (("mqtt://a", "b"), "must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"),
    ],
)
def test_several_urls(urls: tuple[str, ...], text: str | None) -> None:
    found = broker_url(urls)
    assert found is None if text is None else (found or "").startswith(text)


def test_good_settings_have_no_problem() -> None:
    assert not problems(
        ca=File("ca.pem"),
        cert=File("c.pem"),
        key=File("k.pem"),
        username="me",
        password=Secret("x"),
        forward=(Forward(filter="plant/#", to="site/plant/#"),),
        receive=(Receive(filter="site/#", to="from/#"),),
    )


def test_tls_without_tls() -> None:
    text = "has no effect with mqtt://; use mqtts:// for TLS"
    assert problems(url="mqtt://broker", ca=File("ca.pem")) == [("ca", text)]


def test_half_a_client_certificate() -> None:
    assert problems(cert=File("c.pem")) == [("cert", "needs key beside it: a client certificate is both")]
    assert problems(key=File("k.pem")) == [("key", "needs cert beside it: a client certificate is both")]


def test_password_without_user_name() -> None:
    assert problems(password=Secret("x")) == [("password", "needs a username beside it")]


def test_wildcards_must_match() -> None:
    assert problems(forward=(Forward(filter="a/#"), Forward(filter="plant/+/t", to="site/#"))) == [
        ("forward[1].to", "to 'site/#' must have the same wildcards, in the same order, as filter 'plant/+/t'")
    ]
    assert [key for key, _ in problems(receive=(Receive(filter="a/+", to="b"),))] == ["receive[0].to"]


def test_echo_is_refused_where_the_broker_cannot_suppress_it() -> None:
    both: dict[str, Any] = {
        "forward": (Forward(filter="plant/#", to="site/plant/#"),),
        "receive": (Receive(filter="site/+/cmd"),),
    }
    assert not problems(version="5", **both)
    text = (
        "must not overlap 'site/plant/#', where forward[0] publishes: "
        'with version = "3.1.1" the broker sends every such message back'
    )
    assert problems(version="3.1.1", **both) == [("receive[0].filter", text)]
    assert not problems(version="3.1.1", forward=both["forward"], receive=(Receive(filter="site/cmd/#"),))


def test_shared_subscription_is_refused() -> None:
    assert remote_filter("cmd/#") is None
    assert "shared subscription" in (remote_filter("$share/g/cmd/#") or "")


SAMPLE = Path(mqtt.__file__).with_name("sample.toml")


def test_sample_is_good_as_it_is_and_with_every_key(tmp_path: Path) -> None:
    text = SAMPLE.read_text()
    assert isinstance(read(SAMPLE, Settings, kinds).value.uplink["cloud"], MqttUplink)
    for name in ("gateway.pem", "gateway.key", "ca.pem"):
        (tmp_path / name).write_text("")
    secret = tmp_path / "cloud.password"
    secret.touch(mode=0o600)
    secret.write_text("secret\n")
    full = tmp_path / "full.toml"
    full.write_text(re.sub(r"(?m)^# (?=\w+ = )", "", text))
    config = read(full, Settings, kinds).value.uplink["cloud"]
    assert isinstance(config, MqttUplink)
    assert config.receive == (Receive(filter="site-7/cmd/#", to="cmd/#"),)
    assert str(config.password) == "secret"
    # A commented key shows its default, where it has one.
    shown = {name: getattr(config, name) for name in ("version", "keep_alive", "window", "connect_timeout")}
    default = MqttUplink(url="mqtt://x")
    assert shown == {name: getattr(default, name) for name in shown}
    assert config.session_expiry == default.session_expiry
    assert config.batch == Batch(topic="site-7/batch")
