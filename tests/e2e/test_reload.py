"""Settings that change while the gateway runs: what is touched, what is not, and the way back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.waiting import free_port, wait_until
from gateway.connectors.modbus.sim import Simulator
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow


class Line:
    """A simulated server with units 1 to 3, on a loop of its own."""

    def __init__(self) -> None:
        self.simulator = Simulator()
        for unit in (1, 2, 3):
            self.simulator.unit(unit).holding.update({address: 100 * unit + address for address in range(20)})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.port: int = self._run(self.simulator.start())

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        self._run(self.simulator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def device(line: Line, unit: int, *addresses: int, poll: str = "100ms") -> str:
    points = [settings.point(f"p{address}", f"holding:{address}") for address in addresses]
    return settings.modbus(f"d{unit}", line.port, points, unit=unit, poll=poll)


def reload(gateway: GatewayProcess, *more: str) -> dict[str, Any]:
    done = run_command("reload", "--json", "--state", str(gateway.state), *more)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def values(collector: Collector) -> Callable[[str], list[Any]]:
    return lambda topic: [json.loads(one.payload)["v"] for one in list(collector.received) if one.topic == topic]


def test_one_changed_point_closes_no_socket_and_others_go_on(start_gateway: StartGateway, line: Line) -> None:
    port = free_port()
    head = settings.listener(port)
    gateway = start_gateway(head + device(line, 1, 0, 1) + device(line, 2, 0))
    collector = Collector(port, "plant/#")
    seen = values(collector)
    collector.wait_for("plant/d1/p1", 5)
    collector.wait_for("plant/d2/p0", 5)
    assert line.simulator.accepted == 1

    gateway.settings.write_text(head + device(line, 1, 0, 5) + device(line, 2, 0) + device(line, 3, 7))
    before = len(seen("plant/d2/p0"))
    report = reload(gateway)
    assert report["restarted"] == ["device.d1"]
    assert "device.d3" in report["applied"]
    assert report["needs_restart"] == []
    assert json.loads(collector.wait_for("plant/d1/p5", 5).payload)["v"] == 105
    assert json.loads(collector.wait_for("plant/d3/p7", 5).payload)["v"] == 307
    wait_until(lambda: len(seen("plant/d2/p0")) > before + 5, 5, "the device that did not change goes on")
    assert line.simulator.accepted == 1

    gateway.settings.write_text(head + device(line, 2, 0))
    assert {"device.d1", "device.d3"} <= set(reload(gateway)["applied"])
    count = len(seen("plant/d1/p0"))
    again = len(seen("plant/d2/p0"))
    wait_until(lambda: len(seen("plant/d2/p0")) > again + 5, 5, "the one that is left goes on")
    assert len(seen("plant/d1/p0")) == count
    assert line.simulator.accepted == 1
    collector.close()


def test_a_mistake_leaves_everything_as_it_was_with_an_alarm(start_gateway: StartGateway, line: Line) -> None:
    port = free_port()
    good = settings.listener(port) + device(line, 1, 0)
    gateway = start_gateway(good)
    collector = Collector(port, "plant/#", "$SYS/gateway/alarms/#")
    collector.wait_for("plant/d1/p0", 5)
    gateway.settings.write_text(good + device(line, 1, 3).replace("holding:3", "holding:99999"))
    done = run_command("reload", "--state", str(gateway.state))
    assert done.returncode == 1
    gateway.settings.write_text(good.replace("holding:0", "holding:99999"))
    done = run_command("reload", "--state", str(gateway.state))
    assert done.returncode == 1
    assert "must be between 0 and 65535" in done.stderr
    alarm = json.loads(collector.wait_for("$SYS/gateway/alarms/settings", 5).payload)
    assert "must be between" in alarm["text"] or "not valid TOML" in alarm["text"]
    count = len(collector.received)
    wait_until(lambda: len(collector.received) > count + 3, 5, "the old set runs")
    gateway.settings.write_text(good)
    reload(gateway)
    collector.wait_for("$SYS/gateway/alarms/settings", 5, b"")
    collector.close()


def test_what_needs_a_new_start_is_said(start_gateway: StartGateway) -> None:
    head = settings.listener(free_port())
    gateway = start_gateway(head)
    gateway.settings.write_text(head + '[store]\nmax_bytes = "1GiB"\n[mqtt]\nmax_inflight = 7\n')
    assert reload(gateway)["needs_restart"] == ["store.max_bytes", "mqtt.max_inflight"]


def test_listeners_come_and_go(start_gateway: StartGateway) -> None:
    first, second = free_port(), free_port()
    gateway = start_gateway(settings.listener(first))
    collector = Collector(first, "x")
    gateway.settings.write_text(settings.listener(first) + settings.listener(second, "second"))
    assert "listener.second" in reload(gateway)["applied"]
    other = Collector(second, "x", client_id="other")
    other.close()
    gateway.settings.write_text(settings.listener(first))
    reload(gateway)
    with pytest.raises(OSError):
        Collector(second, "x", client_id="other")
    done = run_command("pub", "--url", f"mqtt://127.0.0.1:{first}", "x", "1")
    assert done.returncode == 0
    collector.wait_for("x", 5)
    collector.close()


def test_what_is_not_confirmed_goes_back(start_gateway: StartGateway, line: Line) -> None:
    port = free_port()
    head = settings.listener(port)
    gateway = start_gateway(head + device(line, 1, 0))
    collector = Collector(port, "plant/#", "$SYS/gateway/alarms/#")
    seen = values(collector)
    collector.wait_for("plant/d1/p0", 5)
    gateway.settings.write_text(head + device(line, 1, 5))
    assert reload(gateway, "--confirm", "1s")["confirm"] == 1
    collector.wait_for("plant/d1/p5", 5)
    count = len(seen("plant/d1/p0"))
    wait_until(lambda: len(seen("plant/d1/p0")) > count + 2, 10, "the settings before run again")
    assert b"were not confirmed" in collector.wait_for("$SYS/gateway/alarms/settings", 5).payload

    gateway.settings.write_text(head + device(line, 1, 5))
    assert reload(gateway, "--confirm", "1m")["confirm"] == 60
    done = run_command("reload", "--commit", "--state", str(gateway.state))
    assert (done.returncode, done.stdout) == (0, "confirmed\n")
    done = run_command("reload", "--commit", "--state", str(gateway.state))
    assert (done.returncode, done.stderr) == (1, "gateway: nothing waits for being confirmed\n")
    collector.close()


def test_an_uplink_that_does_not_come_back_is_not_confirmed(start_gateway: StartGateway, cloud: Mosquitto) -> None:
    port = free_port()
    head = settings.listener(port)
    gateway = start_gateway(head + settings.uplink(cloud.port))
    wait_until(lambda: gateway.status()["uplinks"]["cloud"]["state"] == "up", 10, "the uplink is up")
    gateway.settings.write_text(head + settings.uplink(free_port()))
    assert reload(gateway, "--confirm", "1m")["restarted"] == ["uplink.cloud"]
    done = run_command("reload", "--commit", "--state", str(gateway.state))
    assert done.returncode == 1
    assert "uplink cloud was up and has not come back" in done.stderr
    gateway.settings.write_text(head + settings.uplink(cloud.port, forward="other/#"))
    reload(gateway)
    wait_until(lambda: gateway.status()["uplinks"]["cloud"]["state"] == "up", 10, "the uplink is up again")
    upstream = Collector(cloud.port, "site-7/#")
    for topic in ("plant/x", "other/x"):
        assert run_command("pub", "--url", f"mqtt://127.0.0.1:{port}", "-q", "1", topic, "1").returncode == 0
    upstream.wait_for("site-7/other/x", 10)
    assert [one.topic for one in upstream.received] == ["site-7/other/x"]
    assert run_command("reload", "--commit", "--state", str(gateway.state)).returncode == 0
    upstream.close()


def test_changed_files_are_taken_where_the_settings_say_so(start_gateway: StartGateway, line: Line) -> None:
    port = free_port()
    head = "[gateway]\nwatch = true\n" + settings.listener(port)
    gateway = start_gateway(head + device(line, 1, 0))
    collector = Collector(port, "plant/#")
    collector.wait_for("plant/d1/p0", 5)
    gateway.settings.write_text(head + device(line, 1, 5))
    collector.wait_for("plant/d1/p5", 10)
    collector.close()


def test_a_failing_case_blocks_activation(start_gateway: StartGateway) -> None:
    gateway = start_gateway(settings.listener(free_port()))
    folder = gateway.settings.parent / "rules"
    folder.mkdir(exist_ok=True)
    action = '[[action]]\nname = "a"\non.topic = "i"\ndo = [{ publish = { topic = "o" } }]\n'
    (folder / "a.toml").write_text(action + '[[case]]\nname = "c"\ngiven = [{ topic = "i" }]\nexpect = []\n')
    done = run_command("reload", "--state", str(gateway.state))
    assert done.returncode == 1
    assert "a.toml: the case 'c' fails" in done.stdout + done.stderr


@pytest.mark.parametrize("how", ["time", "kill -9", "restart"])
def test_what_is_not_confirmed_does_not_run_after_a_start_either(start_gateway: StartGateway, how: str) -> None:
    good = settings.listener(free_port()) + '[gateway]\nname = "good"\n[mqtt]\nmax_inflight = 7\n'
    bad = good.replace("= 7", "= 8")
    gateway = start_gateway(good)
    rule = gateway.rules / "new.toml"
    gateway.settings.write_text(bad)
    rule.write_text('[[action]]\nname = "a"\non.topic = "i"\ndo = [{ publish = { topic = "o" } }]\n')
    reload(gateway, "--confirm", "1s" if how == "time" else "1h")
    assert len(gateway.status()["rules"]) == 1
    if how == "time":
        wait_until(lambda: gateway.status()["settings"]["refused"], 10, "it has gone back")
    elif how == "kill -9":
        gateway.kill()
        gateway.start()
    else:
        gateway.stop()
        gateway.start()
    status = gateway.status()
    refused = gateway.settings.with_name("gateway.toml.refused")
    assert gateway.settings.read_text() == good
    assert refused.read_text() == bad
    assert not rule.exists()
    assert rule.with_name("new.toml.refused").exists()
    assert status["settings"]["refused"]["files"] == sorted([str(refused), str(rule) + ".refused"])
    assert status["rules"] == []
    assert [one["alarm"] for one in status["alarms"]] == ["settings"]
    assert "settings not confirmed: back to those before" in gateway.log_text()
    assert "not confirmed and not taken" in gateway.command("status")
    gateway.stop()
    gateway.start()
    assert gateway.status()["alarms"] == []
    assert gateway.status()["settings"]["refused"] is not None, "until others are taken"
    reload(gateway)
    assert gateway.status()["settings"]["refused"] is None


def test_files_that_cannot_be_put_back_are_taken_by_no_start(start_gateway: StartGateway) -> None:
    first, second = free_port(), free_port()
    good, bad = settings.listener(first), settings.listener(second)
    gateway = start_gateway(good)
    gateway.settings.with_name("gateway.toml.refused.new").mkdir()  # nobody can write such a file
    gateway.settings.write_text(bad)
    reload(gateway, "--confirm", "1s")
    wait_until(lambda: gateway.status()["settings"]["refused"], 10, "it has gone back")
    for _ in range(2):
        assert gateway.settings.read_text() == bad
        (alarm,) = gateway.status()["alarms"]
        assert "which no start takes" in alarm["text"]
        Collector(first, "x").close()
        gateway.kill()
        gateway.start()
    # Who wants them none the less says so.
    reload(gateway)
    Collector(second, "x").close()
    gateway.stop()
    gateway.start()
    Collector(second, "x").close()
    assert gateway.status()["alarms"] == []


def test_what_is_confirmed_runs_after_a_start(start_gateway: StartGateway) -> None:
    first, second = free_port(), free_port()
    gateway = start_gateway(settings.listener(first))
    gateway.settings.write_text(settings.listener(second))
    reload(gateway, "--confirm", "1h")
    gateway.command("reload", "--commit")
    gateway.kill()
    gateway.start()
    Collector(second, "x").close()
    assert gateway.status()["settings"] == {"unconfirmed": False, "refused": None}


def test_a_state_folder_does_not_change_on_trial(start_gateway: StartGateway) -> None:
    head = settings.listener(free_port())
    gateway = start_gateway(head)
    gateway.settings.write_text(head + '[gateway]\nstate = "elsewhere"\n')
    done = run_command("reload", "--confirm", "1m", "--state", str(gateway.state))
    assert (done.returncode, "gateway.state cannot be changed with --confirm" in done.stderr) == (1, True)
    assert gateway.status()["settings"]["unconfirmed"] is False
