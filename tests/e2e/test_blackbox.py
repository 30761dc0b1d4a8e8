"""What a black box has saved around an alarm is there after kill -9, with what came before the alarm."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess
from e2e.rig.programs import Program
from e2e.rig.waiting import free_port, wait_until
from gateway.blackbox.files import PARTIAL, SUFFIX

pytestmark = pytest.mark.slow

HOT = (
    '[[action]]\nname = "hot"\non.topic = "plant/+/t"\nwhen = "v > 80"\n'
    'do = [{ raise = { alarm = "hot", text = "{v}" } }]\n'
)


def box(*topics: str, after: str = "1s") -> str:
    return (
        f'[blackbox.press]\ntopics = {json.dumps(topics)}\ntrigger = "alarm/+"\n'
        f'before = "1m"\nafter = "{after}"\nkeep = 2\n'
    )


def saved(gateway: GatewayProcess) -> list[str]:
    (one,) = json.loads(gateway.command("blackbox", "list", "--json"))
    found: list[str] = one["files"]
    return found


def shown(gateway: GatewayProcess, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head of a file, and its messages."""
    head, *rows = map(json.loads, gateway.command("blackbox", "show", f"press/{name}").splitlines())
    return head, rows


def test_what_came_before_an_alarm_outlives_kill_9(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + box("plant/#"), rules=HOT)
    watch = Collector(port, "$SYS/gateway/blackbox/press", "alarm/#")
    press = Publisher(port, "press")
    for number in range(50):
        press.publish("plant/press/t", b'{"v":%d}' % number)
    press.publish("plant/press/t", b'{"v":99}')
    assert json.loads(watch.wait_for("alarm/hot", 10).payload)["state"] == "raised"
    press.publish("plant/press/force", b"\xff\x00")
    told = json.loads(watch.wait_for("$SYS/gateway/blackbox/press", 10).payload)
    gateway.kill()
    press.close()
    watch.close()

    # Before the start too: whoever looks at a gateway that does not come up needs it most.
    head, rows = shown(gateway, told["file"])
    gateway.start()
    assert saved(gateway) == [told["file"]]
    assert shown(gateway, told["file"]) == (head, rows)
    assert (head["blackbox"], head["cause"], head["messages"]) == ("press", "alarm/hot", 52)
    assert [json.loads(row["payload"])["v"] for row in rows[:51]] == [*range(50), 99]
    assert (rows[51]["topic"], rows[51]["base64"]) == ("plant/press/force", "/wA="), "and what came after"
    assert {row["source"] for row in rows} == {"client:press"}
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_a_device_that_fails_is_recorded_with_its_last_values(start_gateway: StartGateway, plc: Program) -> None:
    port = free_port()
    lost = (
        '[[action]]\nname = "lost"\non.topic = "plant/boiler/level"\nwhen = "q != \'good\'"\n'
        'do = [{ raise = { alarm = "boiler", text = "{q}" } }]\n'
    )
    point = settings.point("level", "holding:7")
    gateway = start_gateway(
        settings.listener(port) + box("plant/#") + settings.modbus("boiler", plc.port, [point]), rules=lost
    )
    watch = Collector(port, "$SYS/gateway/blackbox/press", "plant/#")
    watch.wait(lambda got: len([one for one in got if one.topic == "plant/boiler/level"]) >= 3, 10, "it is polled")
    plc.kill()
    told = json.loads(watch.wait_for("$SYS/gateway/blackbox/press", 20).payload)
    gateway.kill()
    watch.close()
    gateway.start()
    head, rows = shown(gateway, told["file"])
    qualities = [json.loads(row["payload"])["q"] for row in rows if row["topic"] == "plant/boiler/level"]
    assert head["cause"] == "alarm/boiler"
    assert qualities[:3] == ["good"] * 3
    assert qualities[-1] != "good"


def test_a_kill_before_it_is_written_loses_that_file_and_no_other(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port) + box("plant/#", after="1h"), rules=HOT)
    gateway.command("pub", "--url", f"mqtt://127.0.0.1:{port}", "plant/press/t", '{"v":99}')
    wait_until(lambda: json.loads(gateway.command("blackbox", "list", "--json"))[0]["recorded"] > 0, 10, "it records")
    gateway.signal(signal.SIGTERM)
    wait_until(lambda: not gateway.runs, 5, "it stops")
    gateway.kill()
    gateway.start()
    (first,) = saved(gateway)
    assert shown(gateway, first)[0]["cause"] == "alarm/hot", "a clean stop writes what was asked for"

    gateway.command("blackbox", "save", "press")
    gateway.kill()
    # As a gateway leaves it that is killed while it writes.
    partial = gateway.state / "blackbox" / "press" / f"20260101000000000.jsonl{PARTIAL}"
    partial.write_bytes(b"half")
    gateway.start()
    assert saved(gateway) == [first], "what was not written yet is lost"
    assert (gateway.state / "blackbox" / "press" / first).name.endswith(SUFFIX)
    gateway.command("blackbox", "save", "press")
    gateway.stop()
    gateway.start()
    assert saved(gateway)[0] == first
    assert len(saved(gateway)) == 2
    assert not partial.exists()
