"""The unit files and the two scripts beside them, as systemd and a shell see them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "systemd"
UNITS = (
    "gateway.service",
    "gateway-failure@.service",
    "gateway-backup.service",
    "gateway-backup.timer",
    "gateway-button.service",
    "gateway-cellular.service",
    "gateway-commit.service",
    "gateway-giveup.service",
    "gateway-firewall.service",
    "gateway-firewall.path",
    "gateway-stick.service",
    "gateway-update.path",
    "gateway-update.service",
    "gateway-led@.service",
    "gateway-led.path",
)
ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here: Debian package systemd")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with programs that are there in place of those that are not installed here."""
    for name in UNITS:
        text = (SYSTEMD / name).read_text()
        for program in ("/opt/edge-gateway/bin/gateway", "/usr/bin/gateway"):
            text = text.replace(program, "/bin/true")
        for script in ("gateway-failure", "gateway-backup", "gateway-led", "gateway-giveup"):
            text = text.replace(f"/usr/lib/edge-gateway/{script}", "/bin/true")
        (tmp_path / name).write_text(text)
    return tmp_path


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    return subprocess.run([ANALYZE, *arguments], cwd=units, env=environ, capture_output=True, text=True, timeout=30)


@needs_analyze
def test_systemd_finds_nothing_wrong(units: Path) -> None:
    made = {"gateway-failure@.service": "gateway-failure@gateway.service"}
    made["gateway-led@.service"] = "gateway-led@told.service"
    for template, instance in made.items():
        shutil.copy(units / template, units / instance)
    names = [f"./{made.get(name, name)}" for name in UNITS]
    found = analyze(units, "verify", "--man=no", *names)
    assert (found.returncode, found.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize(
    "name",
    [
        "gateway.service",
        "gateway-backup.service",
        "gateway-button.service",
        "gateway-cellular.service",
        "gateway-firewall.service",
        "gateway-giveup.service",
        "gateway-led@.service",
        "gateway-update.service",
    ],
)
def test_exposure_is_at_most_two(units: Path, name: str) -> None:
    found = analyze(units, "security", "--offline=yes", "--threshold=20", f"./{name}")
    assert found.returncode == 0, found.stdout[-200:]


def backup(settings: Path, to: Path, keep: str) -> int:
    command = ["sh", str(SYSTEMD / "gateway-backup"), str(settings), str(to), keep]
    return subprocess.run(command, capture_output=True, timeout=30).returncode


def test_backup_keeps_the_newest_and_none_twice(tmp_path: Path) -> None:
    settings, to = tmp_path / "gateway", tmp_path / "backups"
    settings.mkdir()
    for text in ("one", "one", "two", "three"):
        (settings / "gateway.toml").write_text(text)
        os.utime(settings / "gateway.toml", (1.7e9, 1.7e9))
        os.utime(settings, (1.7e9, 1.7e9))
        assert backup(settings, to, "2") == 0
    kept = sorted(to.iterdir())
    assert [path.name[:15] for path in kept] == ["settings-000002", "settings-000003"]
    with tarfile.open(kept[-1]) as archive:
        file = archive.extractfile("gateway/gateway.toml")
        assert file is not None and file.read() == b"three"


def test_backup_of_what_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    assert backup(tmp_path / "gone", tmp_path / "backups", "2") != 0
    assert list((tmp_path / "backups").iterdir()) == []
    assert backup(tmp_path, tmp_path / "backups", "0") == 2


def failure(root: Path) -> int:
    environ = {**os.environ, "ROOT": str(root), "SHOW": "echo Result=exit-code", "JOURNAL": "echo the log of"}
    environ["LED"] = str(SYSTEMD / "gateway-led")
    command = ["sh", str(SYSTEMD / "gateway-failure"), "gateway"]
    return subprocess.run(command, env=environ, capture_output=True, timeout=30).returncode


def test_failure_is_told_by_the_led_and_on_the_boot_partition(tmp_path: Path) -> None:
    led, boot = tmp_path / "sys/class/leds/ACT", tmp_path / "boot/firmware"
    led.mkdir(parents=True)
    boot.mkdir(parents=True)
    for name in ("trigger", "delay_on", "delay_off"):
        (led / name).write_text("[none] timer")
    assert failure(tmp_path) == 0
    assert [(led / name).read_text().strip() for name in ("trigger", "delay_on", "delay_off")] == [
        "timer",
        "100",
        "100",
    ]
    text = (boot / "gateway-failure.txt").read_text()
    assert text.startswith("gateway.service has failed.\n")
    assert "Result=exit-code gateway.service" in text and "the log of gateway.service" in text
    assert [path.name for path in boot.iterdir()] == ["gateway-failure.txt"]


def test_failure_on_a_machine_without_led_and_boot_partition_is_no_failure(tmp_path: Path) -> None:
    assert failure(tmp_path) == 0
