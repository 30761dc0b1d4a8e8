"""Signals, systemd, reload, and the small commands of a running gateway."""

from __future__ import annotations

import signal
import time
from itertools import pairwise

import pytest

from e2e.conftest import StartGateway
from e2e.rig import raw, settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.waiting import free_port, is_listening, wait_until

pytestmark = pytest.mark.slow

SERVER_SHUTTING_DOWN = 0x8B
RULE = """\
[[action]]
name = "label"
on = {{ topic = "in/#" }}
do = [{{ publish = {{ topic = "out", payload = "{text}" }} }}]
"""


def answer_of_the_rule(port: int, collector: Collector) -> bytes:
    """Publish to the rule's topic and return what it makes of it."""
    before = len(collector.received)
    publisher = Publisher(port, "asker")
    publisher.publish("in/x", b"?")
    collector.wait(lambda got: len(got) > before, 5, "an answer of the rule")
    publisher.close()
    return collector.received[-1].payload


def test_sigterm_tells_clients_and_ends_clean(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port))
    with raw.RawClient(port) as client:
        client.send(raw.connect(5, "witness"))
        assert client.read_packet() is not None
        begin = time.monotonic()
        gateway.stop()
        assert time.monotonic() - begin < 5
        end = client.until_closed()
    assert end.packets == [raw.DISCONNECT]
    assert end.reason == SERVER_SHUTTING_DOWN
    assert not is_listening(port)
    assert gateway.notify.count("STOPPING=1") == 1


def test_systemd_hears_ready_status_and_watchdog(start_gateway: StartGateway) -> None:
    allowed = 2.0
    gateway = start_gateway(settings.listener(free_port()), watchdog_seconds=allowed)
    gateway.notify.wait("WATCHDOG=1", 10, at_least=4)
    times = [when for when, line in gateway.notify.lines if line == "WATCHDOG=1"]
    assert max(later - earlier for earlier, later in pairwise(times)) < allowed
    assert gateway.notify.count("READY=1") == 1
    assert gateway.notify.count("STATUS=") >= 1
    gateway.stop()
    gateway.notify.wait("STOPPING=1", 1)


def test_sighup_takes_new_rules_and_keeps_the_old_when_they_are_broken(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port), rules=RULE.format(text="one"))
    rules = gateway.rules / "rules.toml"
    collector = Collector(port, "out")
    assert answer_of_the_rule(port, collector) == b"one"

    rules.write_text(RULE.format(text="two"))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: answer_of_the_rule(port, collector) == b"two", 5, "the changed rule answers")

    rules.write_text(RULE.format(text="three").replace('topic = "in/#"', 'topic = "in/#/x"'))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: "rules.toml:3" in gateway.log_text(), 5, "the broken line is named in the log")
    assert answer_of_the_rule(port, collector) == b"two"

    case = '[[case]]\nname = "says one"\ngiven = [{{ topic = "in/x", payload = "" }}]\nexpect = [{{ topic = "{}" }}]\n'
    rules.write_text(RULE.format(text="three") + case.format("nowhere"))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: "the case 'says one' fails" in gateway.log_text(), 5, "the case that fails is named in the log")
    assert answer_of_the_rule(port, collector) == b"two"
    rules.write_text(RULE.format(text="three") + case.format("out"))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: answer_of_the_rule(port, collector) == b"three", 5, "the rule runs whose case passes")
    assert gateway.runs
    collector.close()


def test_pub_and_sub_are_clients(start_gateway: StartGateway) -> None:
    port = free_port()
    start_gateway(settings.listener(port))
    collector = Collector(port, "hello/#")
    done = run_command("pub", "--url", f"mqtt://127.0.0.1:{port}", "hello/world", "42")
    assert done.returncode == 0, done.stderr
    assert collector.wait_for("hello/world", 5).payload == b"42"
    collector.close()


def test_status_without_a_gateway_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    done = run_command("status", "--state", str(tmp_path_factory.mktemp("empty")))
    assert done.returncode == 1
    assert "is it running?" in done.stderr


def test_two_gateways_do_not_share_a_state_folder(start_gateway: StartGateway) -> None:
    gateway = start_gateway(settings.listener(free_port()))
    second = run_command("run", "--config", str(gateway.settings), "--state", str(gateway.state))
    assert second.returncode == 1
    assert "another gateway" in second.stderr


def test_status_shows_what_runs(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway: GatewayProcess = start_gateway(settings.listener(port))
    collector = Collector(port, "x")
    text = gateway.command("status")
    collector.close()
    assert str(port) in text
