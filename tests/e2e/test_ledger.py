"""The ledger against what a real mosquitto got, over kill -9; rows that the cloud asks for come again as they were."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.publish
import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.gateway import run_command
from e2e.rig.programs import need
from e2e.rig.waiting import free_port, wait_until
from gateway.verify.lines import id_of
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

ROUNDS = 3
MESSAGES = 400
IN_FLIGHT = 40


class Dump:
    """``mosquitto_sub -F %j`` into a file."""

    def __init__(self, port: int, path: Path) -> None:
        self.path = path
        command = [need("mosquitto_sub"), "-V", "5", "-p", str(port), "-t", "site-7/#", "-q", "1", "-F", "%j"]
        with path.open("wb") as out:
            self._process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=out, stdin=subprocess.DEVNULL)

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines."""
        whole, _, _ = self.path.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def wait(self, enough: Callable[[list[dict[str, Any]]], Any], what: str) -> list[dict[str, Any]]:
        """All lines, once there is enough in them."""
        wait_until(lambda: enough(self.lines()), 30, what)
        return self.lines()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def dump(cloud: Mosquitto, tmp_path: Path) -> Iterator[Dump]:
    one = Dump(cloud.port, tmp_path / "dump")
    # It is subscribed when what is published comes.
    topic = "site-7/hello"

    def came() -> bool:
        paho.mqtt.publish.single(topic, "hello", hostname="127.0.0.1", port=cloud.port)
        return any(line["topic"] == topic for line in one.lines())

    wait_until(came, 10, "mosquitto_sub is subscribed")
    yield one
    one.close()


def ledgers(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(line["payload"]) for line in lines if line["topic"] == "site-7/ledger"]


def with_ledger(port: int, cloud: Mosquitto) -> str:
    return (
        settings.listener(port)
        + settings.uplink(cloud.port, "line/#")
        + '[uplink.cloud.ledger]\nevery = "1s"\ntopic = "site-7/ledger"\nresend = "site-7/resend"\n\n'
    )


def wait_for_answers(publisher: Publisher, count: int) -> None:
    wait_until(lambda: len(publisher.acknowledged) >= count, 20, f"{count} PUBACKs")


def test_the_ledger_is_what_arrived_over_kill_9(start_gateway: StartGateway, cloud: Mosquitto, dump: Dump) -> None:
    port = free_port()
    gateway = start_gateway(with_ledger(port, cloud))
    answered = 0
    for number in range(ROUNDS):
        publisher = Publisher(port, f"plant-{number}")
        for n in range(MESSAGES):
            publisher.publish(f"line/{n % 5}", b"%d.%d" % (number, n))
            if n % IN_FLIGHT == 0:
                wait_for_answers(publisher, n - IN_FLIGHT)
        if number < ROUNDS - 1:
            gateway.kill()
            publisher.close()
            answered += len(publisher.acknowledged)
            gateway.start()
        else:
            wait_for_answers(publisher, MESSAGES)
            answered += MESSAGES
            publisher.close()

    wait_until(lambda: gateway.status()["outbox"]["depth"] == 0, 30, "an empty outbox")
    before = len(ledgers(dump.lines()))
    # The next one may have been under way; the one behind it tells of everything.
    lines = dump.wait(lambda now: len(ledgers(now)) >= before + 3, "three more ledgers")
    done = run_command("verify", "--json", str(dump.path))
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["lost"]["at_least"] == found["unknown"] == found["unreadable"] == 0
    distinct = {line["payload"] for line in lines if line["topic"].startswith("site-7/line/")}
    assert len(distinct) >= answered
    last = ledgers(lines)[-1]["total"]
    assert last["produced"] == last["delivered"] + last["thinned"] + last["dropped"] + last["waiting"]
    # Of a start that was killed before its first commit the books know nothing: what came of it is early or beyond.
    assert found["came"] + found["early"] + found["beyond"] == len(distinct) + len(ledgers(lines)), found


def test_what_the_cloud_asks_for_comes_again(start_gateway: StartGateway, cloud: Mosquitto, dump: Dump) -> None:
    port = free_port()
    gateway = start_gateway(with_ledger(port, cloud) + "[store.ring]\ncomplete = true\n")
    publisher = Publisher(port, "plant")
    for n in range(50):
        publisher.publish(f"line/{n % 5}", b"%d" % n)
    wait_until(lambda: not publisher.unanswered, 20, "every PUBACK")
    publisher.close()

    def readings(lines: list[dict[str, Any]], again: bool) -> list[dict[str, Any]]:
        there = [line for line in lines if line["topic"].startswith("site-7/line/")]
        return [line for line in there if ("resend" in line["properties"]["user-properties"]) == again]

    def asked(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [json.loads(line["payload"]) for line in lines if line["topic"] == "site-7/resend/result"]

    first = readings(dump.wait(lambda lines: len(readings(lines, False)) >= 50, "50 readings"), False)
    wait_until(lambda: gateway.status()["outbox"]["depth"] == 0, 20, "an empty outbox")
    by_id = {line["properties"]["user-properties"]["message-id"]: line for line in first}
    ids = sorted(map(id_of, by_id), key=str)
    low, high = min(one for one in ids if one), max(one for one in ids if one)
    request = {"id": "gap", "from": f"{low.boot}:{low.seq + 10}", "to": f"{low.boot}:{low.seq + 29}"}
    paho.mqtt.publish.single("site-7/resend", json.dumps(request), 1, hostname="127.0.0.1", port=cloud.port)
    lines = dump.wait(asked, "an answer")
    (answer,) = asked(lines)
    again = readings(lines, True)
    assert (answer["id"], answer["state"], answer["sent"], answer["gone"]) == ("gap", "done", 20, 0)
    assert len(again) == 20
    for line in again:
        before = by_id[line["properties"]["user-properties"]["message-id"]]
        assert (line["topic"], line["payload"]) == (before["topic"], before["payload"])
    told = json.loads(
        gateway.command(
            "outbox", "resend", "--uplink", "cloud", "--from", f"{low.boot}:{high.seq}", "--to",
            f"{low.boot}:{high.seq}", "--json",
        )
    )  # fmt: skip
    assert (told["state"], told["sent"]) == ("done", 1)
    dump.wait(ledgers, "a ledger")
    found = run_command("verify", str(dump.path))
    assert "21 came again because it was asked for" in found.stdout
