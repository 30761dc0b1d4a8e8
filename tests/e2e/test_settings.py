"""A settings file with five mistakes: five lines, each with its place, and exit code 78."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2e.rig.gateway import run_command

pytestmark = pytest.mark.slow

FIVE_MISTAKES = """\
[listener.lan]
kind = "mqtt"
bind = "127.0.0.1:18830"

[listener.other]
kind = "mqtt"
bind = "127.0.0.1:18830"

[store]
max_bites = "1MiB"

[device.boiler]
kind = "modbus"
url = "tcp://127.0.0.1:502"
topic = "plant/boiler"

[[device.boiler.point]]
name = "temperature"
address = "holding:70000"
type = "int16"

[[device.boiler.point]]
name = "level"
address = "holding:2"
type = "int16"
scale = "ten"

[uplink.cloud]
kind = "mqtt"
url = "mqtts://broker.example:8883"
ca = "missing.pem"
"""
PLACES = {
    7: "listener.other.bind",
    10: "store.max_bites",
    19: "device.boiler.point[0].address",
    26: "device.boiler.point[1].scale",
    31: "uplink.cloud.ca",
}


@pytest.mark.parametrize("command", ["check", "run"])
def test_five_mistakes_are_five_lines(tmp_path: Path, command: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(FIVE_MISTAKES)
    state = ["--state", str(tmp_path / "state")] if command == "run" else []
    done = run_command(command, "--config", str(path), *state)
    assert done.returncode == 78, done.stdout + done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "gateway.toml:" in line]
    found = {}
    for line in lines:
        match = re.search(r"gateway\.toml:(\d+): ([^:]+): (.+)", line)
        assert match is not None, line
        found[int(match[1])] = match[2]
    assert found == PLACES, "\n".join(lines)
    assert len(lines) == 5


def test_a_good_file_is_checked_without_opening_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    # Port 9 of a documentation address (RFC 5737): a check that connected would hang here.
    path.write_text(
        '[device.boiler]\nkind = "modbus"\nurl = "tcp://192.0.2.1:9"\ntopic = "plant/boiler"\n'
        '[[device.boiler.point]]\nname = "level"\naddress = "holding:2"\ntype = "int16"\n'
    )
    done = run_command("check", "--config", str(path), timeout=10)
    assert done.returncode == 0, done.stdout + done.stderr
