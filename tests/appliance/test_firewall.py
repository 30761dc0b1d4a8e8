"""Rules from settings: what is bound to the network is open, nothing else; nft takes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.appliance.firewall import announcements, openings, rules, talkers
from gateway.cli.where import loaded_of

SETTINGS = """
[listener.lan]
kind = "mqtt"
bind = "0.0.0.0:8883"
tls = { cert = "c.pem", key = "k.pem" }

[listener.here]
kind = "mqtt"
bind = "127.0.0.1:1883"

[listener.socket]
kind = "mqtt"
bind = "unix:/run/gateway/mqtt.sock"

[listener.things]
kind = "coap"
bind = "192.168.7.1:5684"
psk = [{ identity = "pump", key = "not a secret at all" }]

[device.meter]
kind = "coap"
url = "coap://192.168.7.20"
point = [{ name = "level", path = "/level", type = "number" }]

[device.named]
kind = "coap"
url = "coap://meter.example"
point = [{ name = "level", path = "/level", type = "number" }]

[device.plc]
kind = "modbus"
url = "tcp://192.168.7.21:502"
point = [{ name = "level", address = "input:30", type = "float32" }]

[listener.web]
kind = "websocket"
bind = "[fd00::7]:9001"
tls = { cert = "c.pem", key = "k.pem" }
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS)
    return path


def ruled(settings: Path, ssh: bool = False) -> list[str]:
    """The openings, as lines of the rules."""
    loaded = loaded_of(str(settings))
    text = rules(openings(loaded.value.listener, {}), ssh)
    return [line.strip() for line in text.splitlines() if "listener." in line or "ssh" in line]


def test_what_is_bound_to_the_network_is_open(settings: Path) -> None:
    assert ruled(settings) == [
        'tcp dport 8883 accept comment "listener.lan"',
        'ip daddr 192.168.7.1 udp dport 5684 accept comment "listener.things"',
        'ip6 daddr fd00::7 tcp dport 9001 accept comment "listener.web"',
    ]


def test_devices_that_notify_by_udp_are_heard(settings: Path) -> None:
    devices = talkers(loaded_of(str(settings)).value.device)
    assert devices == [("meter", "192.168.7.20")]
    assert 'ip saddr 192.168.7.20 meta l4proto udp accept comment "device.meter"' in rules([], False, devices)


def test_a_name_cannot_end_the_comment() -> None:
    assert 'comment "device.a_b__c"' in rules([], False, [('a"b" c', "192.168.7.20")])


def test_ssh_is_open_when_somebody_may_log_in(settings: Path) -> None:
    assert ruled(settings, ssh=True)[0] == 'tcp dport 22 accept comment "ssh"'


def test_they_are_announced_under_the_names_of_their_kinds(settings: Path) -> None:
    loaded = loaded_of(str(settings))
    kinds = {"lan": "mqtt", "here": "mqtt", "things": "coap", "web": "websocket"}
    files = announcements(openings(loaded.value.listener, kinds))
    assert sorted(files) == ["gateway-lan.dnssd", "gateway-things.dnssd"]
    assert "Type=_secure-mqtt._tcp\nPort=8883" in files["gateway-lan.dnssd"]
    assert "Type=_coaps._udp" in files["gateway-things.dnssd"]


def test_the_command_shows_them(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["firewall", "--config", str(settings), "--machine", str(tmp_path)]
    assert main(words) == 0
    assert "policy drop" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["lan", "things", "web"]
    settings.write_text("[listener.x]\n")
    assert main(words) == os.EX_CONFIG


@pytest.mark.skipif(
    shutil.which("nft") is None or os.geteuid() != 0, reason="needs root and nft: Debian package nftables"
)
def test_nft_takes_them(settings: Path) -> None:
    loaded = loaded_of(str(settings))
    text = rules(openings(loaded.value.listener, {}), True, talkers(loaded.value.device))
    done = subprocess.run(["nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
