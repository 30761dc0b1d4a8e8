"""What was given on the command line: which board, and what is wired to it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from hw.gateway import BoardGateway

StartGateway = Callable[..., BoardGateway]

OPTIONS = {
    "--host": "the board as ssh takes it, such as root@192.168.1.7; without it this machine plays the board",
    "--ssh": 'more words for ssh, such as "-p 2222 -i key"',
    "--gateway": "how the gateway is called on the board (gateway)",
    "--folder": "where state goes on the board: on the flash to be tested (below /data if mounted, else /var/lib)",
    "--power-off": "command on this PC that cuts the board's supply",
    "--power-on": "command on this PC that gives it back",
    "--network-off": "command on this PC that pulls the board's network",
    "--network-on": "command on this PC that plugs it in again",
    "--rs485": "BOARD,PC: serial port of the board, and the adapter of this PC that is wired to it",
    "--cuts": "how many power cuts (20)",
    "--soak": "seconds of full load in heat",
    "--service": "yes: the gateway is installed as the service, and may be stopped and killed",
    "--bite": "yes: the board's hardware watchdog may be let bite (the kernel is crashed)",
    "--first-boot": "yes: the card was just flashed and this is its first boot",
}


class Wiring:
    """What was given on the command line."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def get(self, option: str) -> str:
        return str(self._config.getoption(option))

    def need(self, option: str, hardware: str) -> str:
        """The value, or the test is skipped with what it needs."""
        value = self.get(option)
        if not value:
            pytest.skip(f"needs {hardware}: {option} ({OPTIONS[option]})")
        return value

    def need_board(self, hardware: str) -> None:
        """Skipped where this machine plays the board."""
        if not self.get("--host"):
            pytest.skip(f"needs {hardware}: --host ({OPTIONS['--host']})")

    def switch(self, option: str, hardware: str) -> Callable[[], None]:
        """What carries out a command that was given."""
        command = self.need(option, hardware)

        def act() -> None:
            subprocess.run(["sh", "-c", command], check=True, timeout=60)

        return act
