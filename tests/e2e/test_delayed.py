"""Delayed messages over kill -9, and the command that lists and cancels them."""

from __future__ import annotations

import json
import math
import time

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import run_command
from e2e.rig.waiting import free_port, wait_until

pytestmark = pytest.mark.slow


def test_what_was_acknowledged_comes_after_kill_9_in_order_and_on_time(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port))
    publisher = Publisher(port, "plant")
    begin = time.monotonic()
    # Longer than it takes to kill it and to start it again, on a slow board too (hw-tests).
    on_time = 5 + 2 * math.ceil(gateway.seconds_to_ready)
    publisher.publish("$delayed/1/late/second", b"2")
    publisher.publish("$delayed/0.5/late/first", b"1")
    publisher.publish(f"$delayed/{time.time() + 1.5:.3f}//late/third", b"3")
    publisher.publish(f"$delayed/{on_time}/on/time", b"4")
    wait_until(lambda: len(publisher.acknowledged) == 4, 5, "all are acknowledged")
    gateway.kill()
    publisher.close()
    time.sleep(max(0.0, begin + 2 - time.monotonic()))  # their time comes while the gateway is off
    gateway.start()
    collector = Collector(port, "late/#", "/late/#", "on/#")
    received = collector.wait(lambda got: any(one.topic == "on/time" for one in got), on_time + 8, "what is on time")
    came = next(one for one in received if one.topic == "on/time")
    assert on_time <= came.time - begin < on_time + 1.5
    gateway.stop()
    gateway.start()
    collector.close()
    assert json.loads(gateway.command("delayed", "list", "--json")) == []
    assert gateway.status()["delayed"] == {"count": 0, "bytes": 0, "under_way": 0}
    gateway.stop()


def test_late_ones_reach_who_is_there_in_the_order_in_which_they_were_due(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(
        settings.listener(port),
        rules="""
[[action]]
name = "keep"
on = { topic = "late/+" }
do = [{ publish = { topic = "$delayed/3/seen/{topic.2}" } }]
""",
    )
    publisher = Publisher(port, "plant")
    for delay in ("2", "0.5", "1"):
        publisher.publish(f"$delayed/{delay}/late/{delay}", delay.encode())
    wait_until(lambda: len(publisher.acknowledged) == 3, 5, "all are acknowledged")
    gateway.kill()
    publisher.close()
    time.sleep(2)
    gateway.start()
    # Nobody hears the late ones themselves: no client is faster than the start. Rules are, and answer in order.
    collector = Collector(port, "seen/#")
    received = collector.wait(lambda got: len(got) >= 3, 15, "what the rule made of them")
    assert [one.topic for one in received] == ["seen/0.5", "seen/1", "seen/2"]
    collector.close()
    gateway.stop()


def test_list_cancel_and_purge(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port))
    publisher = Publisher(port, "plant")
    for number in range(4):
        publisher.publish(f"$delayed/{100 + number}/a/{number % 2}", b"%d" % number)
    wait_until(lambda: len(publisher.acknowledged) == 4, 5, "all are acknowledged")
    assert "a/0" in gateway.command("delayed", "list").splitlines()[1]
    listed = json.loads(gateway.command("delayed", "list", "--topic", "a/1", "--json"))
    assert [(one["topic"], one["payload"]) for one in listed] == [("a/1", "1"), ("a/1", "3")]

    state = ("--state", str(gateway.state))
    unsure = run_command("delayed", "cancel", str(listed[0]["id"]), *state)
    assert (unsure.returncode, "use --yes" in unsure.stderr) == (1, True)
    assert "was cancelled" in gateway.command("delayed", "cancel", str(listed[0]["id"]), "--yes")
    again = run_command("delayed", "cancel", str(listed[0]["id"]), "--yes", *state)
    assert (again.returncode, "it may have been delivered" in again.stderr) == (1, True)
    unsure = run_command("delayed", "purge", *state)
    assert (unsure.returncode, "3 delayed messages will be lost" in unsure.stderr) == (1, True)
    assert json.loads(gateway.command("delayed", "purge", "--topic", "a/0", "--yes", "--json")) == {"purged": 2}
    gateway.kill()
    gateway.start()
    assert [one["id"] for one in json.loads(gateway.command("delayed", "list", "--json"))] == [listed[1]["id"]]
    publisher.close()
    gateway.stop()
