"""Access of a gateway that runs, as mosquitto's clients and the commands see it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="needs the programs of mosquitto-clients"),
]

StartGateway = Callable[[str], GatewayProcess]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Whatever is entered here is closed after the test, last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_gateway(tmp_path: Path, closing: ExitStack) -> StartGateway:
    """A gateway that is READY, with these settings."""

    def start(settings: str) -> GatewayProcess:
        gateway = GatewayProcess(tmp_path / "gateway", settings)
        closing.callback(gateway.close)
        gateway.start()
        return gateway

    return start


SETTINGS = """
[listener.lan]
kind = "mqtt"
bind = "0.0.0.0:0"
"""

REFUSED_PASSWORD, REFUSED = 4, 5


def port_of(gateway: GatewayProcess) -> str:
    bound: str = gateway.status()["listeners"]["lan"]["bound"][0]
    return bound.rpartition(":")[2]


def publish(gateway: GatewayProcess, topic: str, *who: str, version: str = "311") -> int:
    command = ["mosquitto_pub", "-V", version, "-p", port_of(gateway), "-q", "1", "-t", topic, "-m", "x", *who]
    return subprocess.run(command, capture_output=True, timeout=20).returncode


def as_user(name: str, password: str) -> list[str]:
    return ["-u", name, "-P", password]


def user_add(gateway: GatewayProcess, name: str, *groups: str) -> str:
    words = [word for group in groups for word in ("--group", group)]
    return gateway.command("user", "add", name, "--generate", *words).strip()


def test_the_first_start_and_users_that_come_and_go(start_gateway: StartGateway) -> None:
    gateway = start_gateway(SETTINGS)
    first = (gateway.state / "first-password").read_text().strip()
    assert first not in gateway.log_text()
    assert str(gateway.state / "first-password") in gateway.log_text()
    assert publish(gateway, "a") == REFUSED
    assert publish(gateway, "a", *as_user("admin", "admin")) == REFUSED_PASSWORD
    assert publish(gateway, "a", *as_user("admin", first)) == 0
    url = f"mqtt://127.0.0.1:{port_of(gateway)}"
    secret = str(gateway.state / "first-password")
    gateway.command("pub", "--url", url, "--user", "admin", "--password-file", secret, "a", "x")
    ann = user_add(gateway, "ann")
    assert publish(gateway, "a", *as_user("ann", ann)) == 0
    gateway.command("user", "disable", "ann")
    assert publish(gateway, "a", *as_user("ann", ann)) == REFUSED
    gateway.command("user", "enable", "ann")
    assert publish(gateway, "a", *as_user("ann", ann)) == 0
    gateway.command("user", "remove", "ann")
    assert publish(gateway, "a", *as_user("ann", ann)) == REFUSED_PASSWORD
    gateway.stop()
    gateway.start()
    assert publish(gateway, "a", *as_user("admin", first)) == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["user", "remove", "ann"], b"135"),
        (["user", "passwd", "ann", "--generate"], b"135"),
        (["access", "ban", "add", "--user", "ann", "--for", "1h"], b"152"),
        (["access", "ban", "add", "--address", "127.0.0.0/8"], b"152"),
    ],
)
def test_a_live_session_is_ended(
    start_gateway: StartGateway, closing: ExitStack, words: list[str], code: bytes
) -> None:
    gateway = start_gateway(SETTINGS)
    ann = user_add(gateway, "ann")
    command = ["mosquitto_sub", "-d", "-V", "5", "-p", port_of(gateway), "-t", "a/#", *as_user("ann", ann)]
    subscriber = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    closing.callback(subscriber.communicate, timeout=10)
    closing.callback(subscriber.kill)
    wait_until(lambda: any(one["subscriptions"] for one in gateway.status()["mqtt"]["sessions"]), 10, "subscribed")
    gateway.command(*words)
    said, _ = subscriber.communicate(timeout=10)
    assert b"DISCONNECT (%s)" % code in said


def test_rules_change_while_clients_are_in(start_gateway: StartGateway) -> None:
    gateway = start_gateway(SETTINGS)
    ann = user_add(gateway, "ann", "ops")
    assert publish(gateway, "b", *as_user("ann", ann), version="5") == 0
    rule = '[[access.rule]]\nallow = ["publish"]\ntopic = "a/#"\ngroup = "ops"\n'
    gateway.settings.write_text(SETTINGS + rule)
    gateway.command("user", "groups", "ann", "ops")
    assert publish(gateway, "a/b", *as_user("ann", ann), version="5") == 0
    command = ["mosquitto_pub", "-V", "5", "-d", "-p", port_of(gateway), "-q", "1", "-t", "b", "-m", "x"]
    done = subprocess.run([*command, *as_user("ann", ann)], capture_output=True, timeout=20)
    assert b"RC:135" in done.stdout


def test_many_at_once(start_gateway: StartGateway) -> None:
    gateway = start_gateway(SETTINGS)
    ann = user_add(gateway, "ann")
    command = ["mosquitto_pub", "-p", port_of(gateway), "-q", "1", "-t", "a", "-m", "x", *as_user("ann", ann)]
    many = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(40)]
    assert [one.wait(30) for one in many] == [0] * 40
