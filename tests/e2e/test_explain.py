"""What the running gateway says of its rules and of the path of a value, from the device to the cloud's answer."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.waiting import free_port, wait_until
from e2e.test_reload import Line
from gateway.control import NotRunning, follow
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

RULES = """
[[action]]
name = "double"
on = { topic = "plant/d1/p0" }
when = "v > 50"
do = [{ publish = { topic = "out/double", value = "v * 2", qos = 1 } }, { keep = { name = "last", value = "v" } }]
[[action]]
name = "count"
on = { topic = "in/+" }
do = [{ publish = { topic = "out/count", value = "v" } }]
"""

TOPIC = "plant/d1/p0"


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def asked(gateway: GatewayProcess, *words: str) -> Any:
    done = run_command(*words, "--json", "--state", str(gateway.state))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def say(port: int, topic: str, payload: str) -> None:
    done = run_command("pub", "--url", f"mqtt://127.0.0.1:{port}", "-q", "1", topic, payload)
    assert done.returncode == 0, done.stderr


class Stream:
    """What a stream of the control socket gives, to its end."""

    def __init__(self, gateway: GatewayProcess, command: str, **arguments: Any) -> None:
        self.lines: list[dict[str, Any]] = []
        self._replies = follow(gateway.state, command, **arguments)
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        with contextlib.suppress(NotRunning):
            for reply in self._replies:
                if "line" in reply:
                    self.lines.append(reply["line"])

    def end(self) -> list[dict[str, Any]]:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.lines


def test_a_value_from_the_device_to_the_answer_of_the_cloud(
    start_gateway: StartGateway, line: Line, cloud: Mosquitto
) -> None:
    port = free_port()
    points = [settings.point("p0", "holding:0", scale="0.5", deadband="10", unit='"Cel"')]
    device = settings.modbus("d1", line.port, points, poll="100ms")
    gateway = start_gateway(settings.listener(port) + device + settings.uplink(cloud.port), rules=RULES)
    unit = line.simulator.unit(1)
    wait_until(lambda: asked(gateway, "why", TOPIC)["point"]["sample"] is not None, 10, "a value has come")

    unit.holding[0] = 105  # 52.5: within the deadband around 50
    wait_until(lambda: asked(gateway, "why", TOPIC)["point"]["sample"]["value"] == 52.5, 10, "the value has moved")
    found = asked(gateway, "why", TOPIC)
    assert found["point"]["raw"] == 105
    assert found["point"]["published"]["published"] is False
    assert "deadband of 10 around 50" in found["point"]["published"]["reason"]
    assert found["message"]["source"] == "device:d1"
    (rule,) = found["rules"]
    assert (rule["name"], rule["now"]["when"]) == ("double", False)
    assert found["outbox"]["forwards"][0]["uplink"] == "cloud"
    assert found["unknown"]

    watch = Stream(gateway, "why-watch", topic=TOPIC, seconds=20)
    wait_until(lambda: watch.lines, 10, "it watches")
    unit.holding[0] = 300
    steps = watch.end()
    names = [step["step"] for step in steps]
    wanted = ["watching", "published", "message", "routed", "rule", "outbox", "acknowledged"]
    assert [name for name in names if name in wanted] == wanted
    by_name = {step["step"]: step for step in steps}
    assert "left the deadband of 10" in by_name["published"]["reason"]
    assert by_name["rule"]["did"][0]["publish"] == "out/double"
    assert by_name["acknowledged"]["uplink"] == "cloud"
    assert by_name["acknowledged"]["after_ms"] > 0
    trace = Stream(gateway, "rules-trace", name="double", seconds=3)

    values = iter(range(400, 60_000, 100))

    def moved() -> bool:
        unit.holding[0] = next(values)
        return bool(trace.lines)

    wait_until(moved, 3, "the rule is traced")
    evaluations = trace.end()
    assert all(one["rule"] == "double" and one["topic"] == TOPIC for one in evaluations)
    listed = {one["name"]: one for one in asked(gateway, "rules", "list")}
    assert listed["double"]["seen"] >= len(evaluations)
    assert listed["double"]["run_time"]["timed"] >= 1

    tried = asked(gateway, "rules", "run", "double", "--value", '{"v": 60}')
    assert tried["did"][0] == {"publish": "out/double", "payload": "120", "qos": 1}
    assert run_command("why", TOPIC, "--state", str(gateway.state)).stdout.startswith(TOPIC)


def test_new_rules_over_a_recorded_stream(start_gateway: StartGateway) -> None:
    port = free_port()
    stream = '[stream.telemetry]\ntopics = ["in/#", "out/#"]\n'
    gateway = start_gateway(settings.listener(port) + stream, rules=RULES)
    for number in range(3):
        say(port, "in/a", str(number))
    new = gateway.folder / "new.toml"
    new.write_text(
        RULES.replace('value = "v" }', 'value = "v + 1" }').replace(
            '"out/count", value = "v"', '"out/count", value = "v + 1"'
        )
    )
    given = ["rules", "replay", str(new), "--stream", "telemetry", "--since", "1h", "--config", str(gateway.settings)]
    report = asked(gateway, *given)
    assert (report["messages"], report["left_out"], report["different"]) == (3, 3, 3)
    assert report["topics"] == [{"topic": "out/count", "kind": "published", "changed": 3, "only_old": 0, "only_new": 0}]
    assert [one["new"]["payload"] for one in report["first"]] == ["1", "2", "3"]
    client = Publisher(port, "plc7")
    client.publish("in/a", b"6", retain=True)
    wait_until(lambda: not client.unanswered, 10, "it is retained")
    watch = Stream(gateway, "why-watch", topic="in/a", seconds=3)
    wait_until(lambda: watch.lines, 10, "it watches")
    client.publish("in/a", b"7")
    steps = {step["step"]: step for step in watch.end()}
    client.close()
    assert (steps["watching"]["packets_of"], steps["packet"]["payload"]) == ("plc7", "7")
    assert steps["told the publisher"]["packet"] == "PUBACK"
    assert steps["message"]["source"] == "client:plc7"
    assert steps["routed"]["captured_by"] == ["$stream/telemetry"]
    assert steps["outbox"]["row"] is None
