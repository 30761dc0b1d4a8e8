"""A machine with the package installed, one a Debian release."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from service.machine import Machine

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "service"
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian releases, and the Python of each."""

IN_PACKAGE = ("gateway", "rules", "packaging", "systemd", "pyproject.toml", "uv.lock", "build_hook.py", "docs")

Step = Callable[[str], AbstractContextManager[None]]


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints how long it took; to be seen with pytest -s."""
    begun = time.monotonic()
    yield
    sys.stdout.write(f"  {time.monotonic() - begun:7.2f} s  {what}\n")


def unavailable(reason: str) -> None:
    """Nothing can be shown here; that is a failure where somebody has asked for just this (make service-test)."""
    if os.environ.get("SERVICE_TEST"):
        pytest.fail(reason)
    pytest.skip(reason)


def package(python: str) -> Path:
    """The Debian package of this tree for this Python; made once for the same sources."""
    digest = sha256(f"{python} {os.environ.get('COMPILED', 'yes')}".encode())
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard", *IN_PACKAGE], cwd=ROOT)
    for name in sorted(names.decode().split("\0")):
        if name and (ROOT / name).is_file():
            digest.update(name.encode() + b"\0" + sha256((ROOT / name).read_bytes()).digest())
    folder = BUILD / f"deb-{python}"
    made = folder / digest.hexdigest()[:16]
    if not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
        with step(f"package for Python {python}"):
            command = ["packaging/deb", str(folder / "new")]
            found = subprocess.run(
                command, cwd=ROOT, env={**os.environ, "VERSION": python}, capture_output=True, text=True
            )
        if found.returncode != 0:
            unavailable(f"the package cannot be built here: {found.stderr[-1500:]}")
        (folder / "new").rename(made)
    (file,) = made.glob("*.deb")
    return file


def check_host() -> None:
    """Somebody has asked for it, and what is needed is here; else the test ends."""
    if not os.environ.get("SERVICE_TEST"):
        pytest.skip("takes ten minutes and a package of its own: make service-test")
    if os.geteuid() != 0:
        unavailable("must be root to boot a machine in a container")
    for program, debian in (
        ("systemd-nspawn", "systemd-container"),
        ("mmdebstrap", "mmdebstrap"),
        ("dpkg-deb", "dpkg"),
        ("git", "git"),
    ):
        if shutil.which(program) is None:
            unavailable(f"no {program} here: Debian package {debian}")
    mounts = 'd=$(mktemp -d); mount -t tmpfs tmpfs "$d" && umount "$d"; r=$?; rmdir "$d"; exit $r'
    if subprocess.run(["unshare", "--mount", "sh", "-c", mounts], capture_output=True).returncode != 0:
        unavailable("this root may not mount: a container inside a container")


@pytest.fixture(scope="session", params=RELEASES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A Debian of this release, without a network, on which the package has just been installed."""
    check_host()
    release = str(request.param)
    sys.stdout.write(f"\nDebian {release}\n")
    file = package(RELEASES[release])
    root = BUILD / release
    with step("root of Debian packages"):
        made = subprocess.run([ROOT / "tests/service/root", release, root], capture_output=True, text=True)
    if made.returncode != 0:
        unavailable(f"no root of Debian {release}: {made.stderr[-1500:]}")
    with Machine(root, tmp_path_factory.mktemp(release) / "console") as booted:
        with step("boot"):
            booted.wait_until_booted()
        booted.put(file, "/srv/gateway.deb")
        with step("dpkg --install, without a network"):
            booted.run("dpkg", "--install", "/srv/gateway.deb")
        with step("READY"):
            booted.wait_for(ActiveState="active", SubState="running")
        yield booted
