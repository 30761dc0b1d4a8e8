"""``gateway queue``, ``stream`` and ``dlq`` on a running gateway, and what status and $SYS say of queues."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.consumers import Worker
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.programs import ROOT
from e2e.rig.waiting import free_port, wait_until

pytestmark = pytest.mark.slow

QUEUES = """
[queue.orders]
topics = ["shop/#"]
[queue.later]
[stream.log]
topics = ["shop/#"]
[mqtt.sys]
interval = "1s"
"""


def put(port: int, *payloads: bytes, topic: str = "$queue/orders/a") -> None:
    """Publish, and wait for the answers."""
    publisher = Publisher(port, "shop")
    for number, payload in enumerate(payloads, 1):
        publisher.publish(topic, payload)
        if number % 200 == 0 or number == len(payloads):  # within the Receive Maximum, which paho does not keep
            wait_until(partial(_has, publisher, number), 10, "all are acknowledged")
    publisher.close()


def _has(publisher: Publisher, count: int) -> bool:
    return len(publisher.acknowledged) == count


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def refused(gateway: GatewayProcess, *arguments: str) -> tuple[int, str]:
    done = run_command(*arguments, "--state", str(gateway.state))
    return done.returncode, done.stderr


def test_list_info_peek_and_export_show_everything_and_change_nothing(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + QUEUES)
    put(port, b"one", b"\xff\x00")
    holder = Worker(port, "holder", "$queue/orders", group="g", decide=lambda taken: "")
    holder.wait(lambda: len(holder.taken) == 2, 10, "both")
    (orders,) = [one for one in json.loads(gateway.command("queue", "list", "--json")) if one["name"] == "orders"]
    assert (orders["depth"], orders["pending"], orders["groups"][0]["lag"]) == (2, 2, 0)
    assert orders["oldest_age"] >= 0
    assert [line.split()[0] for line in gateway.command("queue", "list").splitlines()] == ["name", "later", "orders"]
    info = json.loads(gateway.command("queue", "info", "orders", "--json"))
    assert (info["address"], info["settings"]["topics"]) == ("$queue/orders", ["shop/#"])
    assert "g@#" in gateway.command("queue", "info", "orders")
    (first,) = lines(gateway.command("queue", "peek", "orders", "-n", "1", "--json"))
    assert (first["payload"], first["topic"], first["offset"]) == ("one", "$queue/orders/a", 1)
    held = {"state": "claimed", "deliveries": 1, "consumer": "client:holder", "reason": ""}
    assert first["groups"] == {"g@#": held}
    assert "g@#: claimed, 1x" in gateway.command("queue", "peek", "orders")
    exported = lines(gateway.command("queue", "export", "orders"))
    assert [one.get("payload", one.get("payload_base64")) for one in exported] == ["one", "/wA="]
    assert {"message_id", "time", "key", "bytes", "expires_in", "properties"} <= exported[0].keys()
    assert json.loads(gateway.command("queue", "info", "orders", "--json"))["depth"] == 2
    holder.close()
    code, error = refused(gateway, "queue", "info", "none")
    assert (code, "known: later, orders" in error) == (1, True)


def test_purge_and_seek_ask_first_and_what_comes_after_is_as_they_say(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + QUEUES)
    put(port, *(b"%d" % n for n in range(5)))
    holder = Worker(port, "holder", "$queue/orders", group="g", decide=lambda taken: "")
    holder.wait(lambda: len(holder.taken) == 5, 10, "all")
    holder.close()
    code, error = refused(gateway, "queue", "purge", "orders")
    assert (code, "5 messages" in error, "use --yes" in error) == (1, True, True)
    code, error = refused(gateway, "queue", "seek", "orders", "g", "next")
    assert (code, "use --yes" in error) == (1, True)
    assert refused(gateway, "queue", "seek", "orders", "nobody", "next", "--yes")[0] == 1
    assert refused(gateway, "queue", "seek", "orders", "g", "somewhere", "--yes")[0] == 1
    sought = json.loads(gateway.command("queue", "seek", "orders", "g", "4", "--yes", "--json"))
    assert sought["cursor"] == 3
    gateway.kill()
    gateway.start()
    assert json.loads(gateway.command("queue", "info", "orders", "--json"))["depth"] == 2, "nobody needs the others"
    worker = Worker(port, "holder", "$queue/orders", group="g", decide=lambda taken: "")
    worker.wait(lambda: len(worker.taken) == 2, 10, "what is behind the new position")
    assert [one.payload for one in worker.taken] == [b"3", b"4"]
    worker.close()
    assert json.loads(gateway.command("queue", "purge", "orders", "--yes", "--json")) == {"purged": 2}
    gateway.kill()
    gateway.start()
    status = gateway.status()
    assert [one["depth"] for one in status["queues"] if one["name"] == "orders"] == [0, 0]


def test_dead_letters_are_listed_replayed_and_purged(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + QUEUES)
    worker = Worker(port, "w", "$queue/orders", group="g", decide=lambda taken: "reject")
    put(port, b"0", b"1", b"2", topic="shop/x")
    worker.wait(lambda: len(worker.settled) == 3, 10, "all are rejected")
    worker.close()
    letters = lines(gateway.command("dlq", "peek", "orders", "--json"))
    assert [one["topic"] for one in letters] == ["shop/x"] * 3
    assert ["user_property", ["dlq-cause", "rejected"]] in letters[0]["properties"]
    code, error = refused(gateway, "dlq", "replay", "orders", "--all")
    assert (code, "3 dead letters" in error) == (1, True)
    assert refused(gateway, "dlq", "replay", "orders", "--yes")[0] == 2
    code, error = refused(gateway, "dlq", "replay", "orders", "9", "--yes")
    assert (code, "orders:9 stays: there is no such dead letter" in error) == (1, True)
    assert json.loads(gateway.command("dlq", "replay", "orders", "2", "--yes", "--json")) == {
        "replayed": 1, "failed": {},
    }  # fmt: skip
    code, error = refused(gateway, "dlq", "replay", "orders", "--all", "--to", "none", "--yes")
    assert (code, "no queue 'none' in the settings" in error) == (1, True)
    gateway.kill()
    gateway.start()
    (back,) = lines(gateway.command("queue", "peek", "orders", "--json"))
    assert (back["payload"], back["topic"], back["properties"]) == ("1", "shop/x", [])
    gateway.command("dlq", "replay", "orders", "1", "--to", "later", "--yes")
    assert [one["payload"] for one in lines(gateway.command("queue", "export", "later"))] == ["0"]
    assert "1 messages were purged" in gateway.command("dlq", "purge", "orders", "--yes")
    assert [one["depth"] for one in json.loads(gateway.command("dlq", "list", "--json"))] == [0, 0]


@contextmanager
def following(gateway: GatewayProcess, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gateway", "stream", "read", *arguments, "--state", str(gateway.state)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_stream_is_read_from_anywhere_and_followed(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + QUEUES)
    put(port, *(b"%d" % n for n in range(450)), topic="shop/x")
    every = lines(gateway.command("stream", "read", "log", "--json"))
    assert [one["payload"] for one in every] == [str(n) for n in range(450)]
    for start, first in (("last", "449"), ("400", "399"), (f"time={every[200]['time']}", None)):
        (one,) = lines(gateway.command("stream", "read", "log", "--from", start, "-n", "1", "--json"))
        assert one["time"] == every[200]["time"] if first is None else one["payload"] == first
    assert gateway.command("stream", "read", "log", "--from", "next") == ""
    with following(gateway, "log", "--from", "last", "--follow", "-n", "3") as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline().endswith("shop/x  449\n")
        put(port, b"new\x1b[2J", b"er", topic="shop/y")
        output, _ = reader.communicate(timeout=20)
        assert reader.returncode == 0
    assert [line.split("  ")[2:] for line in output.splitlines()] == [["shop/y", r"'new\x1b[2J'"], ["shop/y", "er"]]
    reader_of_all = Worker(port, "r", "$stream/log", group="g", offset="next")
    gateway.command("stream", "seek", "log", "g", "451", "--yes")
    reader_of_all.wait(lambda: len(reader_of_all.taken) == 2, 10, "it reads again")
    reader_of_all.close()
    assert len(lines(gateway.command("stream", "export", "log"))) == 452


def test_status_and_sys_topics_show_depth_age_and_lag(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + QUEUES)
    put(port, b"0", b"1")
    holder = Worker(port, "holder", "$queue/orders", group="g", decide=lambda taken: "")
    watcher = Collector(port, "$SYS/gateway/queues/orders", client_id="watcher")
    said = watcher.wait(lambda got: got and json.loads(got[-1].payload)["groups"], 10, "the retained status")[-1]
    told = json.loads(said.payload)
    assert (told["depth"], told["groups"][0]["id"], told["oldest_age"] >= 0) == (2, "g@#", True)
    (line,) = [line for line in gateway.command("status").splitlines() if line.startswith("queue orders:")]
    assert "2 messages  232 bytes  oldest" in line
    assert line.endswith("pending 2  consumers 1  group g@# lag 0")
    (orders,) = [one for one in gateway.status()["queues"] if one["address"] == "$queue/orders"]
    assert (orders["depth"], orders["groups"][0]["lag"], orders["oldest_age"] >= 0) == (2, 0, True)
    watcher.close()
    holder.close()


def test_what_is_not_in_the_settings_any_more_is_looked_into_and_purged(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + QUEUES)
    put(port, b"x")
    gateway.stop()
    gateway.settings.write_text(settings.listener(port) + "[queue.later]\n")
    gateway.start()
    assert "not in the settings" in gateway.command("queue", "list")
    assert gateway.command("queue", "peek", "orders").splitlines()[1].endswith("x        -")
    assert [one["payload"] for one in lines(gateway.command("queue", "export", "orders"))] == ["x"]
    assert "not in the settings" in gateway.command("queue", "info", "orders")
    code, error = refused(gateway, "queue", "seek", "orders", "g", "first", "--yes")
    assert (code, "has no group" in error) == (1, True)
    assert json.loads(gateway.command("queue", "purge", "orders", "--yes", "--json")) == {"purged": 1}
    assert json.loads(gateway.command("queue", "info", "orders", "--json"))["depth"] == 0
    gateway.stop()
    gateway.start()
    assert "orders" not in gateway.command("queue", "list"), "it is empty, and forgotten"
