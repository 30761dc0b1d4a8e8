"""``gateway session`` against a running gateway, and its text for people."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.programs import ROOT
from e2e.rig.raw import RawClient, connect
from e2e.rig.waiting import free_port, wait_until
from gateway.__main__ import main
from gateway.cli.session import table


def test_a_table_is_as_wide_as_its_cells_and_moves_no_cursor() -> None:
    rows: list[dict[str, Any]] = [{"client_id": "a\x1b[2J", "in_flight": 3}, {"client_id": "bb", "in_flight": None}]
    assert table(rows, ("client_id", "in_flight")) == [
        "client id   in flight",
        "'a\\x1b[2J'  3",
        "bb          -",
    ]


@pytest.mark.parametrize("span", ["6m", "0s", "-1s", "soon"])
def test_a_trace_is_bounded(span: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["session", "trace", "c", "--for", span])
    assert caught.value.code == 2
    assert "--for" in capsys.readouterr().err


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[GatewayProcess, int]]:
    port = free_port()
    with ExitStack() as closing:
        gateway = GatewayProcess(tmp_path / "gateway", settings.listener(port) + '[mqtt.slow]\nthreshold = "100ms"\n')
        closing.callback(gateway.close)
        gateway.start()
        yield gateway, port


@contextmanager
def client(port: int, client_id: str) -> Iterator[RawClient]:
    with RawClient(port) as raw:
        raw.send(connect(5, client_id))
        assert raw.read_packet() is not None
        yield raw


@contextmanager
def traced(gateway: GatewayProcess, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gateway", "session", "trace", *arguments, "--state", str(gateway.state)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_list_show_and_kick(running: tuple[GatewayProcess, int]) -> None:
    gateway, port = running
    with client(port, "press") as press:
        (listed,) = json.loads(gateway.command("session", "list", "--json"))
        assert (listed["client_id"], listed["connected"], listed["version"]) == ("press", True, "5")
        assert "press" in gateway.command("session", "list")
        assert json.loads(gateway.command("session", "show", "press", "--json"))["filters"] == []
        assert "connected for" in gateway.command("session", "show", "press").replace("_", " ")
        assert gateway.command("session", "list", "--slow").startswith("client id")
        gateway.command("session", "kick", "press", "--reason", "tidy up")
        end = press.until_closed()
        assert end.reason == 0x98
    refused = run_command("session", "kick", "press", "--state", str(gateway.state))
    assert (refused.returncode, "no session" in refused.stderr) == (1, True)


@pytest.mark.slow
def test_purge_asks_first(running: tuple[GatewayProcess, int]) -> None:
    gateway, port = running
    with client(port, "press"):
        asked = run_command("session", "purge", "press", "--state", str(gateway.state))
        assert asked.returncode == 1
        assert "press: 0 subscriptions and 0 messages (0 bytes) will be lost" in asked.stderr
        assert "use --yes" in asked.stderr
        assert len(json.loads(gateway.command("session", "list", "--json"))) == 1
        assert "purged" in gateway.command("session", "purge", "press", "--yes")
        assert json.loads(gateway.command("session", "list", "--json")) == []


@pytest.mark.slow
def test_trace_shows_packets_hides_payloads_and_ends_in_time(running: tuple[GatewayProcess, int]) -> None:
    gateway, port = running
    with traced(gateway, "late", "--for", "3s", "--json") as process:
        begin = time.monotonic()

        def seen() -> bool:
            publisher = Publisher(port, "late")
            publisher.publish("t", b"secret")
            publisher.close()
            return time.monotonic() - begin > 1.5

        wait_until(seen, 10, "some traffic")
        output, _ = process.communicate(timeout=10)
        assert process.returncode == 0
    lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    packets = {f"{line['direction']} {line['packet']}" for line in lines}
    assert {"< CONNECT", "> CONNACK", "< PUBLISH", "< DISCONNECT", "- CLOSED"} <= packets
    assert "secret" not in output
    assert time.monotonic() - begin < 8


@pytest.mark.slow
def test_the_end_of_the_gateway_ends_a_trace(running: tuple[GatewayProcess, int]) -> None:
    gateway, port = running
    with client(port, "press") as press, traced(gateway, "press") as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.2)[0]:
            press.send(b"\xc0\x00")
        gateway.stop()
        process.communicate(timeout=5)
        assert process.returncode == 1
    assert "Traceback" not in gateway.log_text()


@pytest.mark.slow
def test_trace_with_payload_as_text(running: tuple[GatewayProcess, int]) -> None:
    gateway, port = running
    with traced(gateway, "la*", "--payload") as process:
        assert process.stdout is not None
        text = ""
        while "PUBLISH" not in text:
            publisher = Publisher(port, "late")
            publisher.publish("t", b"open")
            publisher.close()
            if select.select([process.stdout], [], [], 0.2)[0]:
                text += os.read(process.stdout.fileno(), 65536).decode()
    assert "payload=open" in text
