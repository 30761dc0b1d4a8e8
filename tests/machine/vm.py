"""An image under QEMU: a disk of its own, files on its boot partition, the network by ports of 127.0.0.1, ssh."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from e2e.rig.waiting import free_port


class Kind(NamedTuple):
    """What emulates a processor: the program and its board, and the UEFI firmware with its variables."""

    program: tuple[str, ...]
    firmware: Path
    variables: Path


KINDS: Final = {
    "amd64": Kind(
        ("qemu-system-x86_64", "-M", "q35", "-cpu", "max"),
        Path("/usr/share/OVMF/OVMF_CODE_4M.fd"),
        Path("/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ),
    "arm64": Kind(
        ("qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"),
        Path("/usr/share/AAVMF/AAVMF_CODE.fd"),
        Path("/usr/share/AAVMF/AAVMF_VARS.fd"),
    ),
}

BOOT_AT: Final = "8M"
"""Where the boot partition begins on the disk; see image/build."""

HOST: Final = "10.0.2.2"
"""This machine as the guest sees it."""

BOOT_SECONDS: Final = 240.0
"""Without virtualisation by the processor a start takes half a minute; a busy machine has several times that."""


class Machine:
    """One virtual board of 512 MiB; see the module's docstring. ``folder``: for its disk and its keys; ``key``: the
    private ssh key that is let in, a new one without it."""

    def __init__(
        self,
        image: Path,
        folder: Path,
        arch: str = "amd64",
        memory: int = 512,
        size: str = "2G",
        key: Path | None = None,
    ) -> None:
        self.folder = folder
        self._kind = KINDS[arch]
        self.disk = folder / "disk.img"
        self.serial = folder / "serial.log"
        self.port, self.ssh_port = free_port(), free_port()
        self.starts = 0
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(["cp", "--sparse=always", image, self.disk], check=True)
        subprocess.run(["truncate", "-s", size, self.disk], check=True)
        shutil.copy(self._kind.variables, folder / "vars.fd")
        self.key = key or folder / "id"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", self.key], check=True)

    @property
    def public_key(self) -> str:
        return Path(f"{self.key}.pub").read_text().strip()

    @property
    def ssh_words(self) -> list[str]:
        """What ssh needs to be told, but for the name: root@127.0.0.1. An emulated machine is slow to shake hands."""
        return [
            "-i", str(self.key), "-p", str(self.ssh_port), "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", "-o", "BatchMode=yes",
            "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
        ]  # fmt: skip

    # The boot partition, while the machine is off.

    def put(self, *files: Path, folder: str = "") -> None:
        """Copy files onto the boot partition."""
        self._mtools("mcopy", "-o", *map(str, files), f"::/{folder}")

    def on_boot(self, folder: str = "") -> list[str]:
        """Names of what lies there."""
        return self._mtools("mdir", "-b", f"::/{folder}").replace("::/", "").split()

    def read_boot(self, name: str) -> str:
        """A file of it as text."""
        return self._mtools("mtype", f"::/{name}")

    def _mtools(self, program: str, *words: str) -> str:
        command = [program, "-i", f"{self.disk}@@{BOOT_AT}", *words]
        environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise AssertionError(f"{program}: {done.stderr.strip()}")
        return done.stdout

    # Power

    def start(self, extra: Sequence[str] = ()) -> None:
        """Switch it on."""
        assert self._process is None
        self.starts += 1
        network = f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:8883,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        command = [
            *self._kind.program, "-smp", "2", "-m", str(self._memory),
            "-accel", "tcg,thread=multi", "-display", "none", "-monitor", "none",
            "-chardev", f"file,id=s,path={self.serial},append=on", "-serial", "chardev:s",
            "-drive", f"if=pflash,format=raw,readonly=on,file={self._kind.firmware}",
            "-drive", f"if=pflash,format=raw,file={self.folder / 'vars.fd'}",
            "-drive", f"file={self.disk},if=none,id=d,format=raw", "-device", "virtio-blk-pci,drive=d,bootindex=1",
            "-netdev", network, "-device", "virtio-net-pci,netdev=n,romfile=",
            "-device", "virtio-rng-pci", "-device", "i6300esb", *extra,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def cut(self) -> None:
        """The power is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def off(self) -> None:
        """Switch it off as a person should."""
        self.ssh("systemctl poweroff", check=False)
        assert self._process is not None
        self._process.wait(BOOT_SECONDS)
        self._process = None

    # Inside

    def ssh(self, command: str, check: bool = True, data: bytes = b"") -> str:
        """Run a command as root; what it prints. Raises AssertionError when it fails."""
        try:
            done = subprocess.run(
                ["ssh", *self.ssh_words, "root@127.0.0.1", command],
                input=data,
                capture_output=True,
                check=False,
                timeout=BOOT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            if check:
                raise AssertionError(f"{command}: no answer within {BOOT_SECONDS:g} s") from None
            return ""
        out = done.stdout.decode(errors="replace")
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}\n{out}\n{done.stderr.decode(errors='replace')}")
        return out

    def wait_for_ssh(self) -> None:
        """Until somebody may log in."""
        limit = time.monotonic() + BOOT_SECONDS
        while self.ssh("echo in", check=False).strip() != "in":
            self.alive(limit, "nobody can log in")
            time.sleep(0.5)

    def alive(self, limit: float, what: str) -> None:
        """Raise AssertionError with the console when it is off or it is late."""
        if not self.runs or time.monotonic() > limit:
            raise AssertionError(f"{what}; the end of its console:\n{self.console()[-3000:]}")

    def console(self) -> str:
        """All that it has written to its serial line, over all starts."""
        try:
            text = self.serial.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return re.sub(r"\x1b\[[0-9;?=]*[a-zA-Z]|\r", "", text)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: Any) -> None:
        self.cut()
