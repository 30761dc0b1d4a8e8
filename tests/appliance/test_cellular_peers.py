"""ModemManager's own command line tool between us and a ModemManager with one modem, on a bus of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.appliance.cellular.keeper import LINK, Keeper, ask
from gateway.appliance.firstboot.settings import Cellular
from gateway.config.declare import Secret

PYTHON = "/usr/bin/python3"
PEER = Path(__file__).parents[1] / "peers/modem_manager.py"


def _has_dbus() -> bool:
    try:
        return subprocess.run([PYTHON, "-c", "import dbus, gi"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mmcli") is None, reason="no mmcli here: Debian package modemmanager"),
    pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="no dbus-daemon here: Debian package dbus"),
    pytest.mark.skipif(not _has_dbus(), reason="no D-Bus for Python here: Debian packages python3-dbus and python3-gi"),
]


class Peer:
    """The process, and what it says it was asked."""

    def __init__(self, state: str) -> None:
        self._process = subprocess.Popen(
            [PYTHON, str(PEER), state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.line().startswith("ready")

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        assert self.line() == "ok"

    def close(self) -> None:
        with self._process:
            self._process.terminate()


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    command = ["dbus-daemon", "--session", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        assert daemon.stdout is not None
        monkeypatch.setitem(os.environ, "DBUS_SYSTEM_BUS_ADDRESS", daemon.stdout.readline().strip())
        yield
        daemon.terminate()


@pytest.fixture(params=["locked"])
def peer(bus: None, request: pytest.FixtureRequest) -> Iterator[Peer]:
    one = Peer(request.param)
    yield one
    one.close()


def only_mmcli(command: Sequence[str], seconds: float) -> str:
    """There is no systemd-networkd that should hear of it."""
    return ask(command, seconds) if command[0] == "mmcli" else ""


def words_of(keeper: Keeper) -> str:
    return str(keeper.status["words"])


def test_unlocked_connected_used_and_gone(tmp_path: Path, peer: Peer) -> None:
    settings = Cellular(apn="iot.example", user="a b", password=Secret("c=d;e"), pin=Secret("1234"))
    keeper = Keeper(tmp_path, settings, only_mmcli)
    keeper.turn(0)
    assert words_of(keeper) == "the PIN was right"
    keeper.turn(15)
    assert peer.line() == "asked allow-roaming=1 apn=iot.example password=c=d;e profile-id=-1 user=a b"
    keeper.turn(30)
    assert keeper.status == {
        "state": "connected", "words": "connected", "interface": "wwan0", "operator": "Netz 1", "technology": "lte",
        "signal": 67, "roams": True,
    }  # fmt: skip
    text = (tmp_path / LINK).read_text()
    assert "Address=10.64.3.2/30\nDNS=10.64.0.53\nDNS=10.64.1.53\n" in text and "MTUBytes=1430\n" in text
    peer.tell("failed")
    keeper.turn(45)
    assert (words_of(keeper), peer.line()) == ("no SIM card is in the modem", "reset")
    peer.tell("absent")
    keeper.turn(60)
    assert words_of(keeper).startswith("no modem is found")


def test_a_wrong_pin_is_tried_once(tmp_path: Path, peer: Peer) -> None:
    keeper = Keeper(tmp_path, Cellular(apn="iot.example", pin=Secret("9999")), only_mmcli)
    keeper.turn(0)
    assert words_of(keeper).startswith("the PIN is wrong (")
    for now in (15, 30, 45):
        keeper.turn(now)
        assert "the SIM card has 2 attempts left" in words_of(keeper)


@pytest.mark.parametrize("peer", ["ready"], indirect=True)
def test_a_wrong_apn_says_so(tmp_path: Path, peer: Peer) -> None:
    keeper = Keeper(tmp_path, Cellular(apn="internet"), only_mmcli)
    keeper.turn(0)
    assert words_of(keeper).startswith("the APN does not belong to the contract of the SIM card (")


def test_nobody_who_knows_modems(tmp_path: Path, bus: None) -> None:
    keeper = Keeper(tmp_path, Cellular(apn="internet"), only_mmcli)
    keeper.turn(0)
    assert "ModemManager" in words_of(keeper)
