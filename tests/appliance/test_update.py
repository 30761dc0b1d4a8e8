"""A folder stands for the machine: bundle, verify, install, trial, commit, roll-back, and every way to be refused."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.appliance.update import install as installing
from gateway.appliance.update.boot import BootCounting
from gateway.appliance.update.notes import STATE

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
ROOT = os.urandom(700_000)


def build(tmp: Path, version: str = "2.0", arch: str = ARCH, board: str = "qemu", key: str = "key") -> Path:
    (tmp / "root").write_bytes(ROOT)
    files = tmp / "files"
    files.mkdir(exist_ok=True)
    for name in ("vmlinuz", "initrd.img"):
        (files / name).write_text(f"{name} {version}")
    (files / "version").write_text(version)
    if not (tmp / key).exists():
        assert main(["update", "key", str(tmp / key)]) == 0
    out = tmp / f"{version}.gwu"
    words = (
        f"--root {tmp}/root --boot {files} --version {version} --arch {arch} --board {board} --key {tmp}/{key} {out}"
    )
    assert main(["update", "bundle", *words.split()]) == 0
    return out


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    root = tmp_path / "machine"
    for folder in ("boot/slot-A", "dev/gateway", "proc", "data", installing.KEYS):
        (root / folder).mkdir(parents=True)
    (root / "proc/cmdline").write_text("quiet gateway.slot=A\n")
    (root / "boot/slot-A/version").write_text("1.0\n")
    for slot in "AB":
        (root / f"dev/gateway/slot-{slot}").write_bytes(slot.encode() * 100)
    entry = root / "boot/loader/entries/gateway-A.conf"
    entry.parent.mkdir(parents=True)
    entry.write_text("title x\nsort-key gateway\nversion 1\nlinux /slot-A/vmlinuz\noptions gateway.slot=A quiet\n")
    assert main(["update", "key", str(tmp_path / "key")]) == 0
    (root / installing.KEYS / "k.pub").write_bytes((tmp_path / "key.pub").read_bytes())
    return root


def install(machine: Path, bundle: Path, *more: str) -> int:
    return main(["update", "install", str(bundle), "--machine", str(machine), *more])


def result(machine: Path) -> Any:
    return installing.status(machine)["last"]["result"]


def entries(machine: Path) -> set[str]:
    return {path.name for path in (machine / "boot/loader/entries").iterdir()}


def test_install_trial_and_commit(machine: Path, tmp_path: Path) -> None:
    assert install(machine, build(tmp_path)) == 0
    assert (machine / "dev/gateway/slot-B").read_bytes() == ROOT
    assert (machine / "boot/slot-B/vmlinuz").read_text() == "vmlinuz 2.0"
    folder = machine / "boot/loader/entries"
    text = (folder / "gateway-B+1.conf").read_text()
    assert "options gateway.slot=B quiet" in text and "version 2\n" in text
    assert result(machine) == "waits for a restart"
    (folder / "gateway-B+1.conf").rename(folder / "gateway-B+0-1.conf")  # as systemd-boot does
    assert result(machine) == "rolled back"
    (machine / "proc/cmdline").write_text("gateway.slot=B")
    assert result(machine) == "on trial"
    assert install(machine, build(tmp_path, "3.0")) == 1  # not over the only good slot
    assert main(["update", "commit", "--machine", str(machine)]) == 0
    assert entries(machine) == {"gateway-A.conf", "gateway-B.conf"} and result(machine) == "good"
    assert main(["update", "rollback", "--machine", str(machine)]) == 0
    found = BootCounting(machine / "boot").entries()
    assert found["A"].generation > found["B"].generation


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arch": "vax"}, "it is for vax"),
        ({"board": "rpi"}, "boards rpi"),
        ({"version": "0.9"}, "older"),
        ({"key": "other"}, "not signed"),
    ],
)
def test_refused(
    machine: Path, tmp_path: Path, change: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert install(machine, build(tmp_path, **change)) == 1
    assert words in capsys.readouterr().err
    assert entries(machine) == {"gateway-A.conf"} and (machine / "dev/gateway/slot-B").read_bytes() == b"B" * 100
    assert install(machine, build(tmp_path, **change), "--allow-older") == (0 if words == "older" else 1)


@pytest.mark.parametrize("place", [600, 5000, 400_000, 705_000])
def test_cut_or_changed_anywhere(machine: Path, tmp_path: Path, place: int) -> None:
    bundle = build(tmp_path)
    data = bytearray(bundle.read_bytes())
    bundle.write_bytes(data[:place])
    assert install(machine, bundle) == 1
    data[place] ^= 1
    bundle.write_bytes(data)
    assert install(machine, bundle) == 1
    assert (machine / "dev/gateway/slot-B").read_bytes() == b"B" * 100


class PowerCut(BaseException):
    """Nothing of ours catches it."""


def cut_at_every_sync(patch: pytest.MonkeyPatch, work: Callable[[], int]) -> Iterator[int]:
    """Begin ``work`` again and again, each time with a power cut one wait for the disk later, until it comes to its
    end and answers 0; the number of the cut after each."""
    sync = os.fsync
    for stop in range(1, 100):
        count = 0

        def cut(handle: int, stop: int = stop) -> None:
            nonlocal count
            count += 1
            if count == stop:
                raise PowerCut
            sync(handle)

        patch.setattr(os, "fsync", cut)
        try:
            assert work() == 0
            return
        except PowerCut:
            patch.setattr(os, "fsync", sync)
            yield stop


def test_power_cut_at_every_sync(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, cuts = build(tmp_path), 0
    for cuts in cut_at_every_sync(monkeypatch, lambda: install(machine, bundle)):  # noqa: B007
        found = BootCounting(machine / "boot").entries()
        assert found["A"].left is None
        if "B" in found:  # armed only when all of it is there
            assert (machine / "dev/gateway/slot-B").read_bytes() == ROOT
            assert (machine / "boot/slot-B/version").read_text() == "2.0"
    assert cuts > 8
    assert json.loads((machine / STATE).read_text())["step"] == "armed"


def test_a_bundle_that_migrates_the_database_is_taken_only_when_that_is_said(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = build(tmp_path)
    monkeypatch.setattr(installing, "migrations", lambda: [(3, "")])
    assert install(machine, bundle) == 1
    assert "changes the database" in capsys.readouterr().err and entries(machine) == {"gateway-A.conf"}
    assert install(machine, bundle, "--allow-migration") == 0


def test_a_key_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["update", "key", str(tmp_path / "key")]) == 0
    before = (tmp_path / "key").read_bytes()
    assert main(["update", "key", str(tmp_path / "key")]) == 1
    assert "never written over" in capsys.readouterr().err and (tmp_path / "key").read_bytes() == before
    words = f"--root {tmp_path}/none --boot {tmp_path} --version 1 --arch a --board b --key {tmp_path}/key {tmp_path}/o"
    assert main(["update", "bundle", *words.split()]) == 1
    assert "is no file" in capsys.readouterr().err


def test_a_key_that_is_damaged_is_named(machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = build(tmp_path)
    (machine / installing.KEYS / "a.pub").write_text("-----BEGIN PUBLIC KEY-----\n")
    assert install(machine, bundle) == 1
    assert "a.pub: is no public key" in capsys.readouterr().err
    (tmp_path / "key").write_text("nothing")
    words = f"--root {tmp_path}/root --boot {tmp_path}/files --version 1 --arch a --board b --key {tmp_path}/key"
    assert main(["update", "bundle", *words.split(), str(tmp_path / "o")]) == 1
    assert "must be an Ed25519 key" in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_what_cannot_start_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path).unlink()
    (tmp_path / "files/initrd.img").unlink()
    words = f"--root {tmp_path}/root --boot {tmp_path}/files --version 1 --arch a --board b --key {tmp_path}/key"
    assert main(["update", "bundle", *words.split(), str(tmp_path / "o")]) == 1
    assert "initrd.img: is no file" in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_a_slot_without_a_version_is_named(machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "boot/slot-A/version").unlink()
    assert install(machine, build(tmp_path)) == 1
    assert "slot-A/version: cannot be read" in capsys.readouterr().err
