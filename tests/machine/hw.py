"""``python -m machine.hw IMAGE``: the suite for boards (hw-tests) against an image of the appliance under QEMU.

The same tests as on a real board. What is wired to a board is emulated: the outlet kills the emulator, the switch of
the network is the link of its card, the RS-485 line is a pair of pseudo terminals, the watchdog is an i6300esb. What
cannot be emulated (heat) is skipped with its reason. Words not known here go to pytest: ``--cuts 20``, ``-k rs485``.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from e2e.rig.programs import ROOT
from machine.line import Line
from machine.monitor import ask
from machine.panel import panel
from machine.vm import KINDS, Machine

CUTS: Final = 3
SERIAL: Final = {"amd64": "/dev/ttyS1"}
"""The second serial port of the guest, by processor; ``virt`` of arm64 has only one."""

SETTINGS: Final = """\
[gateway]
name = "hw"

[listener.local]
kind = "mqtt"
bind = "127.0.0.1:1883"
"""


class Bench:
    """A machine, and what is wired to it. ``line``: its second serial port, if it has one."""

    def __init__(self, machine: Machine, line: Line | None) -> None:
        self._machine = machine
        self._monitor = machine.folder / "monitor"
        self._is_plugged = True
        self._extra = ["-qmp", f"unix:{self._monitor},server=on,wait=off"]
        if line is not None:
            self._extra += ["-chardev", f"serial,id=line,path={line.board}", "-serial", "chardev:line"]

    @property
    def switches(self) -> dict[str, Callable[[], None]]:
        """What can be pressed, by name. Pressing twice is no error, as with a real one."""
        return {
            "power off": self._machine.cut,
            "power on": self.power_on,
            "network off": lambda: self._plug(False),
            "network on": lambda: self._plug(True),
        }

    def power_on(self) -> None:
        if not self._machine.runs:
            self._machine.cut()
            self._machine.start(self._extra)
            if not self._is_plugged:
                self._plug(False)

    def _plug(self, up: bool) -> None:
        self._is_plugged = up
        if self._machine.runs:
            limit = time.monotonic() + 10
            while not self._monitor.exists():
                self._machine.alive(limit, "QEMU has no monitor")
                time.sleep(0.05)
            ask(self._monitor, "set_link", name="n", up=up)


def first_boot(machine: Machine) -> None:
    """Its settings, and who may log in, on the boot partition."""
    (machine.folder / "gateway.toml").write_text(SETTINGS)
    (machine.folder / "network.toml").write_text(
        f'[system]\nhostname = "hw-7"\nssh_keys = ["{machine.public_key}"]\n\n[admin]\npassword = "a password of hw"\n'
    )
    machine.put(machine.folder / "gateway.toml", machine.folder / "network.toml")


def suite(machine: Machine, switches: Path, line: Line | None, arch: str, more: Sequence[str]) -> list[str]:
    """The command that runs the tests."""
    press = shlex.join(["env", f"PYTHONPATH={ROOT}/tests", sys.executable, "-m", "machine.panel", str(switches)])
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--durations=0", "hw-tests"]
    command += ["--host", "root@127.0.0.1", "--ssh", shlex.join(machine.ssh_words)]
    command += ["--first-boot", "yes", "--service", "yes", "--bite", "yes", "--cuts", str(CUTS)]
    for name in ("power", "network"):
        command += [f"--{name}-off", f"{press} {name} off", f"--{name}-on", f"{press} {name} on"]
    if line is not None:
        command += ["--rs485", f"{SERIAL[arch]},{line.here}"]
    return [*command, *more]


@contextmanager
def folder_of(work: Path | None) -> Iterator[Path]:
    """Where its disk, its console and its keys are: ``work``, or one that is gone afterwards."""
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
        return
    with tempfile.TemporaryDirectory(prefix="hw-") as name:
        yield Path(name)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m machine.hw", description=__doc__.partition("\n")[0])
    parser.add_argument("image", type=Path, help="build/image/qemu-ARCH/NAME.img, or that of dist/, unpacked")
    parser.add_argument("--arch", choices=sorted(KINDS), default="amd64")
    parser.add_argument("--work", type=Path, help="keep the copy of the disk and the console's log in this folder")
    parser.add_argument("--key", type=Path, help="private ssh key that is let in (a new one)")
    options, more = parser.parse_known_args()
    with ExitStack() as stack:
        folder = stack.enter_context(folder_of(options.work))
        machine = stack.enter_context(Machine(options.image, folder, options.arch, key=options.key))
        line = stack.enter_context(Line()) if options.arch in SERIAL else None
        bench, switches = Bench(machine, line), folder / "panel"
        switches.unlink(missing_ok=True)
        stack.enter_context(panel(switches, bench.switches))
        first_boot(machine)
        begin = time.monotonic()
        bench.power_on()
        machine.wait_for_ssh()
        sys.stdout.write(f"somebody may log in {time.monotonic() - begin:.1f} s after power on\n")
        sys.stdout.flush()
        code = subprocess.run(suite(machine, switches, line, options.arch, more), cwd=ROOT, check=False).returncode
        if code:
            sys.stdout.write(f"the end of its console:\n{machine.console()[-3000:]}\n")
        return code


if __name__ == "__main__":
    raise SystemExit(main())
