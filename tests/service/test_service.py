"""The package under a real systemd: Debian 12 and 13, booted as containers, without a network.

Each test leaves a gateway that runs with the settings of the package; they may come in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from e2e.rig.waiting import wait_until
from service.conftest import step
from service.inside import CLOUD, MQTT, PROBE
from service.machine import Machine

pytestmark = pytest.mark.slow

SETTINGS = "/etc/gateway/gateway.toml"
DROP_IN = "/etc/systemd/system/gateway.service.d/test.conf"
OWN = ("/var/lib/gateway", "/run/gateway", "/tmp", "/var/tmp")
"""Where the gateway may write; the last two are its own, of which nobody else sees anything."""


def mqtt(machine: Machine, *arguments: str) -> str:
    return machine.run("python3", "-c", MQTT, *arguments).stdout.strip()


def restarts(machine: Machine) -> int:
    return int(machine.show("NRestarts")["NRestarts"])


def main_pid(machine: Machine) -> str:
    return machine.show("MainPID")["MainPID"]


def is_running(machine: Machine) -> bool:
    """READY, and its unit is not about to end."""
    return machine.show("ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}


@contextmanager
def drop_in(machine: Machine, *lines: str) -> Iterator[None]:
    """Own lines in the unit for a while; the gateway is neither stopped nor started."""
    machine.write(DROP_IN, "\n".join(["[Service]", *lines, ""]))
    machine.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        machine.run("rm", DROP_IN)
        machine.run("systemctl", "daemon-reload")


@contextmanager
def settings(machine: Machine, text: str) -> Iterator[None]:
    """Other settings for a while; the gateway is neither stopped nor started."""
    before = machine.run("cat", SETTINGS).stdout
    machine.write(SETTINGS, text)
    try:
        yield
    finally:
        machine.write(SETTINGS, before)


def wait_until_another(machine: Machine, pid: str) -> None:
    """Return when another process than ``pid`` is the gateway, and READY."""
    wait_until(lambda: main_pid(machine) not in ("0", pid) and is_running(machine), 60, "another one is READY")


def restart(machine: Machine) -> None:
    machine.run("systemctl", "restart", "gateway")
    assert is_running(machine)


def test_it_is_ready_takes_messages_and_nothing_else_has_failed(machine: Machine) -> None:
    assert is_running(machine)
    assert "listeners up" in machine.show("StatusText")["StatusText"]
    with step("an MQTT message is acknowledged"):
        assert mqtt(machine, "publish", "1") == "acknowledged"
    assert machine.run("systemctl", "--failed", "--no-legend", "--plain").stdout == ""
    assert machine.run("gateway", "--version").stdout.startswith("gateway ")


def test_it_comes_back_at_the_next_boot_with_what_was_acknowledged(machine: Machine) -> None:
    mqtt(machine, "publish", "kept over a boot")
    with step("reboot"):
        machine.restart()
    with step("READY after the boot"):
        machine.wait_for(ActiveState="active", SubState="running")
    assert mqtt(machine, "receive") == "kept over a boot"


def test_an_upgrade_starts_it_anew_and_keeps_settings_and_state(machine: Machine) -> None:
    mqtt(machine, "publish", "kept over an upgrade")
    changed = machine.run("cat", SETTINGS).stdout + "# mine\n"
    with settings(machine, changed):
        before = main_pid(machine)
        with step("upgrade by dpkg, READY"):
            machine.run("dpkg", "--install", "/srv/gateway.deb")
            wait_until_another(machine, before)
        assert machine.run("cat", SETTINGS).stdout == changed
    assert mqtt(machine, "receive") == "kept over an upgrade"


def test_one_that_hangs_is_killed_by_the_watchdog_and_comes_back(machine: Machine) -> None:
    with drop_in(machine, "WatchdogSec=3"):
        restart(machine)
        before, pid = restarts(machine), main_pid(machine)
        machine.run("sh", "-c", f"kill -STOP {pid}")
        with step("stopped by SIGSTOP, killed (WatchdogSec=3), started again, READY"):
            wait_until(lambda: restarts(machine) == before + 1 and is_running(machine), 60, "it is back")
        assert main_pid(machine) != pid
        assert f"Killing process {pid}" in (log := machine.journal()) and "Watchdog timeout" in log
        assert mqtt(machine, "publish", "alive") == "acknowledged"
    restart(machine)


def test_a_secret_comes_as_a_credential_and_shows_nowhere(machine: Machine) -> None:
    secret = "correct-horse-battery"
    machine.write("/etc/credstore/uplink-password", secret)
    machine.run("chmod", "600", "/etc/credstore/uplink-password")
    machine.run("systemd-run", "--unit=cloud", "--collect", "python3", "-c", CLOUD)
    uplink = (
        '[uplink.cloud]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:1884"\nusername = "site"\n'
        'password = { credential = "uplink-password" }\n'
    )
    with settings(machine, machine.run("cat", SETTINGS).stdout + uplink), step("secret by credential to the cloud"):
        restart(machine)
        wait_until(lambda: machine.run("test", "-e", "/srv/connect", check=False).returncode == 0, 30, "CONNECT")
        assert secret in machine.run("cat", "/srv/connect").stdout
        environ = machine.run("cat", f"/proc/{main_pid(machine)}/environ").stdout
        shown = machine.run("systemctl", "show", "gateway").stdout
        status = machine.run("gateway", "status", "--json").stdout
        assert not [text for text in (environ, shown, status, machine.journal()) if secret in text]
    machine.run("rm", "/srv/connect", "/etc/credstore/uplink-password")
    restart(machine)


def test_it_can_write_nowhere_else(machine: Machine) -> None:
    """What the gateway could do if somebody had taken it over: a program of his in its place, under the same unit."""
    machine.write("/usr/local/lib/probe.py", PROBE)
    machine.run("systemctl", "stop", "gateway")
    probe = "ExecStart=/usr/bin/python3 /usr/local/lib/probe.py /var/lib/gateway/probe.json"
    with step("attempts to write in every folder and file"):
        with drop_in(machine, "Type=oneshot", "Restart=no", "WatchdogSec=0", "ExecStart=", probe):
            machine.run("systemctl", "start", "gateway")
        found = json.loads(machine.run("cat", "/var/lib/gateway/probe.json").stdout)
    machine.run("rm", "/usr/local/lib/probe.py", "/var/lib/gateway/probe.json")
    restart(machine)
    assert found["uid"] != 0
    assert {"/var/lib/gateway", "/run/gateway"} <= set(found["written"])
    assert [path for path in found["written"] if not path.startswith(OWN)] == []
    assert found["kernel"] == []
    assert [what for what, error in found["refused"].items() if error is None] == []


def test_its_work_leaves_files_only_in_its_folders(machine: Machine) -> None:
    machine.run("touch", "/srv/before")
    with step("a start and a message; which files are newer"):
        restart(machine)
        assert mqtt(machine, "publish", "x") == "acknowledged"
        newer = machine.run(
            *("find", "/", "-newer", "/srv/before", "-not", "-path", "/proc/*", "-not", "-path", "/sys/*"),
            *("(", "-user", "gateway", "-o", "-group", "gateway", ")"),
            check=False,
        ).stdout.split()
    assert any(path.startswith("/var/lib/gateway/") for path in newer)
    # systemd's own hand in it: its private /tmp, and the credentials that it lays out.
    theirs = ("/tmp/systemd-private-", "/var/tmp/systemd-private-", "/run/credentials/gateway.service")
    assert [path for path in newer if not path.startswith((*OWN[:2], *theirs))] == []


def test_wrong_settings_keep_it_down_and_the_reason_is_on_the_boot_partition(machine: Machine) -> None:
    text = "/boot/gateway-failure.txt"
    machine.run("rm", "-f", text)
    with settings(machine, '[listener.local]\nkind = "mqtt"\nbind = "127.0.0.1:188399"\n'):
        before = restarts(machine)
        with step("wrong settings: exit status 78, down"):
            machine.run("systemctl", "restart", "gateway", check=False)
            # "activating" with "auto-restart" is what a unit is in that will be started again.
            machine.wait_for(ActiveState="failed", SubState="failed", Result="exit-code", ExecMainStatus="78")
        with step("the reason is on the boot partition"):
            wait_until(lambda: machine.run("test", "-e", text, check=False).returncode == 0, 30, text)
        reason = machine.run("cat", text).stdout
        assert reason.startswith("gateway.service has failed.\n")
        assert [word for word in ("ExecMainStatus=78", "188399", "gateway.toml:3") if word not in reason] == [], reason
        assert machine.show("NRestarts", "ActiveState") == {"NRestarts": str(before), "ActiveState": "failed"}
    with step("settings put right, start"):
        machine.run("systemctl", "start", "gateway")
    assert is_running(machine)


FAKE_LED = "/srv/board/sys/class/leds/ACT"
"""A folder in place of /sys: a container has no LED."""


def test_the_led_shows_how_it_is(machine: Machine) -> None:
    for file, text in (("trigger", "[none] timer"), ("brightness", "0"), ("delay_on", "0"), ("delay_off", "0")):
        machine.write(f"{FAKE_LED}/{file}", text)
    machine.run("sh", "-c", "ln -sfn /etc /srv/board/etc && ln -sfn /run /srv/board/run")
    unit = "/etc/systemd/system/gateway-led@.service.d/test.conf"
    lines = "[Unit]\nConditionPathIsReadWrite=\nConditionDirectoryNotEmpty=\n"
    machine.write(unit, lines + "[Service]\nEnvironment=ROOT=/srv/board\nReadWritePaths=/srv\n")
    machine.run("systemctl", "daemon-reload")

    def blinks(on: str, off: str) -> bool:
        found = machine.run("sh", "-c", f"cd {FAKE_LED} && cat delay_on delay_off trigger").stdout.split()
        return found[:2] == [on, off] and found[2] == "timer"

    text = machine.run("cat", SETTINGS).stdout + '\n[board]\nled = "ACT"\n'
    with settings(machine, text), step("LED: ready, uplink down, stopped"):
        restart(machine)
        wait_until(lambda: blinks("50", "2950"), 20, "ready")
        machine.write(SETTINGS, text + '[uplink.cloud]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:9"\n')
        machine.run("systemctl", "stop", "gateway")
        wait_until(lambda: machine.run("cat", f"{FAKE_LED}/trigger").stdout == "none\n", 20, "stopped")
        # A real LED goes on to list all its triggers.
        machine.write(f"{FAKE_LED}/trigger", "[none] timer")
        restart(machine)
        wait_until(lambda: blinks("1900", "100"), 20, "uplink down")
    machine.run("rm", "-r", unit, "/srv/board")
    machine.run("systemctl", "daemon-reload")
    restart(machine)


def test_the_board_is_read_under_the_hardened_unit(machine: Machine) -> None:
    board = '[device.board]\nprofile = "board"\n'
    with settings(machine, machine.run("cat", SETTINGS).stdout + board), step("the board tells of itself"):
        restart(machine)

        def points() -> dict[str, Any]:
            found = json.loads(machine.run("gateway", "status", "--json").stdout)["devices"]["board"]["points"]
            assert isinstance(found, dict)
            return found

        wait_until(lambda: "unknown" not in points(), 20, "every point was read")
        # Heat, supply and flash are not in a container; the rest each machine has.
        assert set(points().get("troubles", {})) <= {"temperature", "under_voltage", "wear", "written"}
        assert points()["good"] >= 4
    restart(machine)


def test_one_that_crashes_again_and_again_is_started_for_ever(machine: Machine) -> None:
    """Far more often than systemd's own limit of 5 starts in 10 s; when the reason is gone it is up by itself."""
    with step("20 crashes at start, and back by itself"):
        with drop_in(machine, "RestartSec=50ms", "ExecStart=", "ExecStart=/bin/sh -c 'kill -SEGV $$$$'"):
            machine.run("systemctl", "restart", "gateway", check=False)
            wait_until(lambda: restarts(machine) >= 20, 60, "20 restarts")
        machine.wait_for(ActiveState="active", SubState="running")
    assert mqtt(machine, "publish", "after crashes") == "acknowledged"


def test_one_that_is_killed_while_it_works_comes_back_with_what_was_acknowledged(machine: Machine) -> None:
    with step("5 times kill -9 under work, READY each time"):
        for number in range(5):
            mqtt(machine, "publish", f"message {number}")
            pid = main_pid(machine)
            machine.run("sh", "-c", f"kill -KILL {pid}")
            wait_until_another(machine, pid)
            assert mqtt(machine, "receive") == f"message {number}"
