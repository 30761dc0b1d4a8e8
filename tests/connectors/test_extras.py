"""Kinds that need a package which the gateway can do without: what is said where it is missing, and what they cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SETTINGS = {
    "s7": ('url = "s7://10.0.0.1"', 'address = "DB1.DBW0"'),
    "bacnet": ('url = "bacnet://10.0.0.1"', 'object = "av,1"'),
    "modbus": ('url = "tcp://10.0.0.1"', "address = 1"),
}
PACKAGES = {"s7": "snap7", "bacnet": "bacpypes3"}

CHECK = """
import sys
for package in sys.argv[2:]:
    sys.modules[package] = None
from gateway.__main__ import main
code = main(["check", "--config", sys.argv[1]])
loaded = [package for package in ("snap7", "bacpypes3") if sys.modules.get(package)]
sys.stderr.write("loaded: " + " ".join(loaded) + "\\n")
sys.exit(code)
"""


def check(tmp_path: Path, kind: str, *missing: str) -> subprocess.CompletedProcess[str]:
    device, point = SETTINGS[kind]
    path = tmp_path / "gateway.toml"
    path.write_text(f'[device.d]\nkind = "{kind}"\n{device}\n[[device.d.point]]\nname = "p"\n{point}\n')
    command = [sys.executable, "-c", CHECK, str(path), *missing]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("kind", PACKAGES)
def test_without_its_package_a_kind_says_how_to_get_it(tmp_path: Path, kind: str) -> None:
    done = check(tmp_path, kind, PACKAGES[kind])
    assert done.returncode == 78
    assert (
        f'gateway.toml:2: device.d.kind: kind "{kind}" needs the Python package "{PACKAGES[kind]}"; '
        f"install it: pip install 'edge-gateway[{kind}]'"
    ) in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_package_is_loaded_only_for_its_kind(tmp_path: Path, kind: str) -> None:
    assert check(tmp_path, kind).stderr.endswith(f"loaded: {PACKAGES[kind]}\n")


def test_a_site_without_these_kinds_pays_nothing(tmp_path: Path) -> None:
    done = check(tmp_path, "modbus", *PACKAGES.values())
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("loaded: \n")
