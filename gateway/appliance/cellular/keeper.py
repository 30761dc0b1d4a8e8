"""Keeps the modem connected: asks ModemManager again and again, does what ``steps`` says, and tells systemd-networkd.

ModemManager is asked by its own ``mmcli``: it takes some milliseconds, and needs no library that stays in memory.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.appliance.cellular import link
from gateway.appliance.cellular import modem as mm
from gateway.appliance.cellular.steps import Attempts, Connect, Reset, Traffic, Unlock, Use, Wait, hint, next_step
from gateway.appliance.firstboot.settings import Cellular
from gateway.durable import write_whole
from gateway.errors import GatewayError

log = logging.getLogger(__name__)

EVERY: Final = 15.0
"""Seconds between two looks."""

RESET_PAUSE: Final = 600.0
"""Seconds between two resets at least: a modem takes a minute to come back, and may have no network for a day."""

NO_MODEM: Final = "no modem is found; what ModemManager knows takes half a minute after it is plugged in"

STATUS: Final = "run/gateway-cellular/status.json"
LINK: Final = "run/systemd/network/60-cellular.network"

Ask = Callable[[Sequence[str], float], str]
"""Runs a command for at most so many seconds; what it prints. Raises GatewayError with what it says is wrong."""


def ask(command: Sequence[str], seconds: float) -> str:
    """See ``Ask``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise GatewayError(f"{command[0]}: Timeout after {seconds:.0f} s") from None
    except OSError as error:
        raise GatewayError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise GatewayError(said[-1].removeprefix("error: ") if said else f"{command[0]}: exit status {done.returncode}")
    return done.stdout


class Keeper:
    """``machine``: the folder that is "/" there. ``ask`` runs commands.

    status  what is the case, as ``gateway cellular status --json`` shows it
    """

    def __init__(self, machine: Path, settings: Cellular, ask: Ask = ask) -> None:
        self._machine = machine
        self._settings = settings
        self._ask = ask
        self._attempts = Attempts()
        self._traffic = Traffic()
        self._reset_at = float("-inf")
        self._interface = ""
        self._words = ""
        self._told = self._told_networkd = ""
        self.status: dict[str, Any] = {}

    def turn(self, now: float) -> float:
        """Look once and do what is to be done, at ``now`` (monotonic clock); seconds until the next look."""
        try:
            modem = self._look()
        except GatewayError as error:
            # Nothing is known of the modem: what is set up stays.
            self._words = hint(str(error))
            self._tell("unknown", None)
            return EVERY
        try:
            self._words = NO_MODEM if modem is None else self._do(modem, now)
        except GatewayError as error:
            self._words = hint(str(error))
        if modem is None or modem.state != "connected":
            self._take_down()
        self._tell("absent" if modem is None else modem.state, modem)
        return EVERY

    def _look(self) -> mm.Modem | None:
        paths = mm.modems(self._mmcli("--list-modems"))
        return mm.modem(paths[0], self._mmcli("--modem", paths[0])) if paths else None

    def _do(self, modem: mm.Modem, now: float) -> str:
        """Words for what is the case."""
        settings = self._settings
        step = next_step(modem, settings.pin is not None)
        match step:
            case Wait():
                return step.words
            case Unlock():
                self._mmcli("--sim", modem.sim, f"--pin={settings.pin}")
                return "the PIN was right"
            case Reset():
                self._reset(modem, now)
                return step.words
            case Connect():
                return self._connect(modem, now)
            case Use():
                return self._use(modem, now)

    def _connect(self, modem: mm.Modem, now: float) -> str:
        if now < self._attempts.next_at:
            return self._words
        if self._attempts.wants_reset and self._reset(modem, now):
            return "the modem was reset, as it does not connect"
        settings = self._settings
        wishes = [f'apn="{settings.apn}"', f"allow-roaming={'yes' if settings.roaming else 'no'}"]
        wishes += [f'user="{settings.user}"'] if settings.user is not None else []
        wishes += [f'password="{settings.password}"'] if settings.password is not None else []
        try:
            self._mmcli("--modem", modem.path, f"--simple-connect={','.join(wishes)}", seconds=120)
        except GatewayError:
            self._attempts.failure(now)
            raise
        self._attempts.success()
        return "connected"

    def _use(self, modem: mm.Modem, now: float) -> str:
        self._attempts.success()
        bearers = [mm.bearer(self._mmcli("--bearer", path)) for path in modem.bearers]
        bearer = next((one for one in bearers if one.connected), None)
        if bearer is None:
            return "the modem says that it is connected, and has no connection"
        problem = link.problem(bearer)
        if problem is not None:
            return problem
        self._set_up(bearer.interface, link.network(bearer))
        received, sent = (self._packets(bearer.interface, way) for way in ("rx", "tx"))
        if not self._traffic.is_dead(received, sent, now):
            return "connected"
        # First the connection anew, then the modem, in turn.
        if self._traffic.tries % 2 == 0 and self._reset(modem, now):
            return "nothing came in for minutes: the modem was reset"
        self._mmcli("--modem", modem.path, "--simple-disconnect")
        return "nothing came in for minutes: the connection is made anew"

    def _reset(self, modem: mm.Modem, now: float) -> bool:
        """Whether it was done: neither too often, nor where a modem cannot."""
        if now - self._reset_at < RESET_PAUSE:
            return False
        self._reset_at = now
        try:
            self._mmcli("--modem", modem.path, "--reset")
        except GatewayError as error:
            log.warning("the modem cannot be reset: %s", error)
            return False
        self._attempts.success()
        return True

    def _packets(self, interface: str, way: str) -> int:
        path = self._machine / f"sys/class/net/{interface}/statistics/{way}_packets"
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            return 0

    def _set_up(self, interface: str, text: str) -> None:
        self._interface = interface
        if text == self._told_networkd:
            return
        self._told_networkd = ""  # not before it has heard all of it
        path = self._machine / LINK
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self._ask(("networkctl", "reload"), 30)
        self._ask(("networkctl", "reconfigure", interface), 30)
        self._told_networkd = text

    def _take_down(self) -> None:
        """An interface without a connection keeps no route: what others offer would not be used."""
        if not self._interface:
            return
        try:
            self._set_up(self._interface, link.down(self._interface))
        except GatewayError as error:
            log.warning("%s: %s", self._interface, error)  # it went with the modem
        self._interface = ""

    def _mmcli(self, *words: str, seconds: float = 30) -> str:
        # Its own limit is shorter than ours, so that it says what it was waiting for.
        return self._ask(("mmcli", "--output-json", f"--timeout={seconds - 5:.0f}", *words), seconds)

    def _tell(self, state: str, modem: mm.Modem | None) -> None:
        if self._words != self._told:
            log.info("%s", self._words)
            self._told = self._words
        self.status = {"state": state, "words": self._words, "interface": self._interface or None}
        if modem is not None:
            self.status |= {
                "operator": modem.operator or None, "technology": modem.technology or None, "signal": modem.signal,
                "roams": modem.roams,
            }  # fmt: skip
        path = self._machine / STATUS
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(self.status) + "\n", 0o644)


def keep(machine: Path, settings: Cellular) -> None:
    """Until the process is ended. Raises OSError when nothing can be written below ``/run``."""
    keeper = Keeper(machine, settings)
    while True:
        time.sleep(keeper.turn(time.monotonic()))
