"""A Debian machine with systemd as its first process, in a container: what a service does there is what it does on a
board, but for the kernel and the hardware."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path
from types import TracebackType

from e2e.rig.notify import NotifySocket
from e2e.rig.waiting import wait_until

BOOT = Path(__file__).parent / "boot"
BOOT_TIMEOUT = 90.0
STOP_TIMEOUT = 30.0
LEADER = "X_NSPAWN_LEADER_PID="
"""What systemd-nspawn says of each boot."""


class Machine:
    """The tree ``root``, booted; ``log`` gets its console. What it writes is gone with it."""

    def __init__(self, root: Path, log: Path) -> None:
        self.name = f"gwtest-{uuid.uuid4().hex[:8]}"
        self._notify = NotifySocket()
        self._boots = 0
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [BOOT, root, self.name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NOTIFY_SOCKET": self._notify.address},
                start_new_session=True,
            )

    def wait_until_booted(self) -> None:
        """Return when the first process says that the machine is up; again after each ``restart``."""
        self._boots += 1
        try:
            self._notify.wait(LEADER, BOOT_TIMEOUT, at_least=self._boots)
            wait_until(self._is_up, BOOT_TIMEOUT, "the machine has booted")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.console()}") from error

    def _is_up(self) -> bool:
        """READY since the last boot: systemd says it again after each daemon-reload."""
        lines = [line for _, line in list(self._notify.lines)]
        last = max(at for at, line in enumerate(lines) if line.startswith(LEADER))
        return "READY=1" in lines[last:]

    def console(self) -> str:
        return self._log.read_text(errors="replace")[-5000:]

    def restart(self) -> None:
        """Shut down in order and boot again; nothing of what was written is lost."""
        self.run("systemctl", "reboot", check=False)
        self.wait_until_booted()

    def run(
        self, *command: str, text: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in the machine as root, with ``text`` as its input."""
        found = subprocess.run(
            ["nsenter", f"--target={self._leader()}", "--mount", "--pid", "--net", "--ipc", "--uts", "--", *command],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SYSTEMD_PAGER": ""},
        )
        if check and found.returncode != 0:
            raise AssertionError(f"{command} ended with {found.returncode}:\n{found.stdout}{found.stderr}")
        return found

    def write(self, path: str, text: str) -> None:
        """Replace a file of the machine; its folder is made, its owner stays."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path, text=text)

    def put(self, source: Path, path: str) -> None:
        """Copy a file into the machine."""
        with source.open("rb") as file:
            subprocess.run(
                ["nsenter", f"--target={self._leader()}", "--mount", "--", "/bin/sh", "-c", 'cat >"$1"', "sh", path],
                stdin=file,
                check=True,
                timeout=60,
            )

    def show(self, *properties: str, unit: str = "gateway.service") -> dict[str, str]:
        """Properties of a unit as systemd has them."""
        text = self.run("systemctl", "show", f"--property={','.join(properties)}", unit).stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait_for(self, unit: str = "gateway.service", timeout: float = 60, **wanted: str) -> dict[str, str]:
        """Return when the unit has these properties. Raises NotInTime with the end of its log."""
        last: dict[str, str] = {}

        def there() -> bool:
            nonlocal last
            last = self.show(*wanted, unit=unit)
            return all(last[name] == value for name, value in wanted.items())

        try:
            wait_until(there, timeout, f"{unit} {wanted}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last}\n{self.journal(unit)[-3000:]}") from error
        return last

    def journal(self, unit: str = "gateway.service") -> str:
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", "--unit", unit).stdout

    def _leader(self) -> str:
        """The process number, here, of the machine's first process."""
        lines = [line for _, line in list(self._notify.lines) if line.startswith(LEADER)]
        assert lines, self.console()
        return lines[-1].removeprefix(LEADER)

    def close(self) -> None:
        """Switch it off."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, 9)
                self._process.wait()
        self._notify.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
