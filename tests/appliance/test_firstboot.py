"""A folder stands for the machine: what is put on the boot partition is checked, taken whole, and gone from there."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway import durable
from gateway.__main__ import main
from gateway.appliance.firstboot import take as taking
from gateway.login import passwords, users_file

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIuJFk9bTRzZqTHmGjrMRSQ7OJFs8XbNnQFmP0C2fAXn ann@pc"

SETTINGS = """
[listener.lan]
kind = "mqtt"
bind = "127.0.0.1:1883"

[access]
anonymous = true

[uplink.cloud]
kind = "mqtt"
url = "mqtt://cloud.example:1883"
username = "site"
password = { file = "cloud.secret" }
forward = [{ filter = "plant/#", to = "site/#" }]
"""

NETWORK = f"""
country = "DE"

[system]
hostname = "press-7"
timezone = "UTC"
ssh_keys = ["{KEY}"]

[admin]
password = "a long password"

[ethernet.eth0]
address = "192.168.5.7/24"
gateway = "192.168.5.1"
dns = ["192.168.5.1"]
ntp = ["time.example"]

[[wifi]]
ssid = "plant"
password = "pass word"

[[wifi]]
ssid = "Büro"
hidden = true
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for folder in ("boot", "data", "etc/gateway", "var/lib/gateway"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def put(folder: Path, **files: str) -> None:
    """Files by name, with "__" for "." and "_in_" for "/"."""
    for name, text in files.items():
        path = folder / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def first_boot(machine: Path, *more: str) -> int:
    return main(["firstboot", "--machine", str(machine), *more])


def everything(folder: Path) -> dict[str, bytes]:
    """All files below the folder, but for what is random in them."""
    return {
        str(path.relative_to(folder)): b"" if path.name in (users_file.NAME, ".users.lock") else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_nothing_there_is_nothing_to_do(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert first_boot(machine) == 0
    assert "nothing to take over" in capsys.readouterr().out
    assert not list((machine / "boot").iterdir())


def test_settings_are_taken_with_what_they_name(machine: Path) -> None:
    put(machine / "boot", gateway__toml=SETTINGS, cloud__secret="geheim\n", certs_in_ca__pem="x", usercfg__txt="# mine")
    put(
        machine / "boot",
        rules_in_mine__toml='[[action]]\nname="a"\non = { topic = "p/+" }\ndo = [{ publish = { topic = "seen" } }]\n',
    )
    assert first_boot(machine) == 0
    taken = machine / "etc/gateway"
    assert (taken / "gateway.toml").read_text() == SETTINGS
    assert (taken / "cloud.secret").read_text() == "geheim\n"
    assert {"certs/ca.pem", "rules/mine.toml"} <= everything(taken).keys()
    assert (taken / "cloud.secret").stat().st_mode & 0o777 == 0o640
    assert everything(machine / "boot").keys() == {"usercfg.txt", "applied.txt"}
    assert "geheim" not in (machine / "boot/applied.txt").read_text()


def test_the_network_becomes_files_of_those_who_act_on_it(machine: Path) -> None:
    put(machine / "boot", network__toml=NETWORK)
    assert first_boot(machine) == 0
    files = everything(machine)
    assert files["data/system/hostname"] == b"press-7\n"
    assert files["data/system/timezone"] == b"UTC\n"
    assert files["etc/ssh/keys/authorized_keys"].decode() == KEY + "\n"
    assert b"Country=DE" in files["etc/iwd/main.conf"]
    wired = files["etc/systemd/network/70-eth0.network"].decode().splitlines()
    for line in ("Name=eth0", "Address=192.168.5.7/24", "Gateway=192.168.5.1", "DNS=192.168.5.1", "NTP=time.example"):
        assert line in wired
    assert "DHCP=yes" not in wired
    assert b"Passphrase=pass word" in files["var/lib/iwd/plant.psk"]
    assert (machine / "var/lib/iwd/plant.psk").stat().st_mode & 0o777 == 0o600
    assert b"Hidden=true" in files[f"var/lib/iwd/={'Büro'.encode().hex()}.open"]
    admin = users_file.load(machine / "var/lib/gateway").users["admin"]
    assert passwords.fits(b"a long password", admin.hash)
    assert admin.groups == {"admins"}
    assert everything(machine / "boot").keys() == {"applied.txt"}


def test_what_the_network_file_does_not_name_any_more_is_gone(machine: Path) -> None:
    put(machine / "boot", network__toml=NETWORK)
    assert first_boot(machine) == 0
    put(machine / "var/lib/iwd", mine__psk="by hand")
    put(machine / "boot", network__toml="[ethernet.eth1]\n")
    assert first_boot(machine) == 0
    assert everything(machine / "var/lib/iwd").keys() == {"mine.psk"}
    assert everything(machine / "etc/systemd/network").keys() == {"70-eth1.network"}
    assert b"DHCP=yes" in everything(machine / "etc/systemd/network")["70-eth1.network"]


def test_ssh_keys_can_be_taken_back(machine: Path) -> None:
    keys = machine / "etc/ssh/keys/authorized_keys"
    put(machine / "boot", network__toml=NETWORK)
    assert first_boot(machine) == 0
    put(machine / "boot", network__toml='[system]\nhostname = "a"\n')
    assert first_boot(machine) == 0
    assert keys.read_text() == KEY + "\n"
    assert not (machine / "etc/iwd/main.conf").exists()
    put(machine / "boot", network__toml="[system]\nssh_keys = []\n")
    assert first_boot(machine) == 0
    assert not keys.exists()


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ('[system]\nhostname = "Press 7"\n', "network.toml:2: system.hostname: must be 1 to 63"),
        ('[system]\ntimezone = "Mars/Olympus"\n', "system.timezone: must be a time zone"),
        ('[system]\nssh_keys = ["AAAA"]\n', "system.ssh_keys: must hold public keys"),
        ('[ethernet.eth0]\naddress = "192.168.5.7"\n', "must have the length of its network"),
        ('[ethernet.eth0]\ngateway = "192.168.5.1"\n', "needs an address"),
        (
            '[ethernet.eth0]\naddress = "10.0.0.2/24"\ngateway = "192.168.5.1"\n',
            "must be in the network of 10.0.0.2/24",
        ),
        ('[[wifi]]\nssid = "x"\npassword = "long enough"\n', "country: is needed for wifi"),
        ('country = "DE"\n[[wifi]]\nssid = "x"\npassword = "short"\n', "wifi[0].password: must have 8 to 63"),
        ('[admin]\npassword = "short"\n', "admin.password: must have 8 to 1024 bytes"),
        ("hostname = 3\n", "unknown key"),
        ("[system\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_stands_beside_it_and_nothing_is_taken(
    machine: Path, network: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(machine / "boot", network__toml=network, gateway__toml=SETTINGS, cloud__secret="x")
    before = everything(machine)
    assert first_boot(machine) == os.EX_CONFIG
    assert said in capsys.readouterr().err
    errors = machine / "boot/network.toml.errors.txt"
    assert said in errors.read_text()
    errors.unlink()
    assert everything(machine) == before


@pytest.mark.parametrize("left", [{}, {"gateway__toml": SETTINGS, "cloud__secret": "s"}])
def test_what_was_wrong_is_forgotten_with_the_file_that_is_removed(machine: Path, left: dict[str, str]) -> None:
    put(machine / "boot", network__toml="x = 1\n", gateway__toml="y = 1\n")
    assert first_boot(machine) == os.EX_CONFIG
    assert {"network.toml.errors.txt", "gateway.toml.errors.txt"} <= everything(machine / "boot").keys()
    for path in (machine / "boot").glob("*.toml"):
        path.unlink()
    put(machine / "boot", **left)
    assert first_boot(machine) == 0
    assert everything(machine / "boot").keys() == ({"applied.txt"} if left else set())


def test_a_stick_that_is_as_it_was_taken_says_nothing_of_a_mistake_in_between(machine: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    put(stick, gateway__toml=SETTINGS, cloud__secret="s")
    assert taking.take(machine, stick, clears=False).taken
    put(stick, gateway__toml="y = 1\n")
    assert taking.take(machine, stick, clears=False).problems
    assert "gateway.toml.errors.txt" in everything(stick)
    put(stick, gateway__toml=SETTINGS)
    assert taking.take(machine, stick, clears=False).again
    assert "gateway.toml.errors.txt" not in everything(stick)


def test_both_files_tell_what_is_wrong_and_are_quiet_when_it_is_mended(machine: Path) -> None:
    put(machine / "boot", network__toml="x = 1\n", gateway__toml=SETTINGS)
    assert first_boot(machine) == os.EX_CONFIG
    assert "cloud.secret" in (machine / "boot/gateway.toml.errors.txt").read_text()
    assert (machine / "boot/network.toml.errors.txt").exists()
    put(machine / "boot", network__toml='[system]\nhostname = "a"\n', cloud__secret="s")
    assert first_boot(machine) == 0
    assert everything(machine / "boot").keys() == {"applied.txt"}


def test_new_settings_may_name_what_the_machine_has(machine: Path) -> None:
    put(machine / "etc/gateway", cloud__secret="old")
    (machine / "etc/gateway/cloud.secret").chmod(0o640)
    put(machine / "boot", gateway__toml=SETTINGS)
    assert first_boot(machine) == 0


def test_credentials_go_where_only_root_reads(machine: Path) -> None:
    text = SETTINGS.replace('{ file = "cloud.secret" }', '{ credential = "uplink-password" }')
    put(machine / "boot", gateway__toml=text)
    (machine / "boot/credentials").mkdir()
    (machine / "boot/credentials/uplink-password").write_text("geheim")
    assert first_boot(machine) == 0
    kept = machine / "etc/credstore/uplink-password"
    assert kept.read_text() == "geheim"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert not (machine / "boot/credentials/uplink-password").exists()


def test_a_stick_is_taken_once_and_left_as_it_is(machine: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stick = tmp_path_factory.mktemp("stick")
    put(stick, gateway__toml=SETTINGS, cloud__secret="s")
    before = everything(stick)
    assert first_boot(machine, "--from", str(stick)) == 0
    assert everything(stick) == before
    put(machine / "etc/gateway", gateway__toml="# changed on the device\n")
    assert first_boot(machine, "--from", str(stick)) == 0
    assert (machine / "etc/gateway/gateway.toml").read_text() == "# changed on the device\n"
    put(stick, gateway__toml=SETTINGS + "# another\n")
    assert first_boot(machine, "--from", str(stick)) == 0
    assert "# another" in (machine / "etc/gateway/gateway.toml").read_text()


def test_a_file_of_a_pc_with_its_marks_is_read(machine: Path) -> None:
    (machine / "boot/network.toml").write_bytes(b'\xef\xbb\xbf[system]\r\nhostname = "a"\r\n')
    assert first_boot(machine) == 0
    assert (machine / "data/system/hostname").read_text() == "a\n"


class Cut(BaseException):
    """The power is gone."""


def test_a_power_cut_anywhere_ends_with_the_same(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(machine / "boot", gateway__toml=SETTINGS, network__toml=NETWORK, cloud__secret="s", certs_in_ca__pem="x")
    fresh = machine.parent / "fresh"
    shutil.copytree(machine, fresh)
    assert first_boot(machine) == 0
    wanted = everything(machine)
    at, steps = 0, 0
    write, unlink, on_the_disk = durable.write_whole, Path.unlink, durable.on_the_disk

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            raise Cut

    def cut_write(path: Path, *more: Any) -> None:
        step()
        write(path, *more)
        step()

    def cut_unlink(path: Path, missing_ok: bool = False) -> None:
        if "boot" in path.parts:
            step()
        unlink(path, missing_ok)

    while True:
        at, steps = at + 1, 0
        shutil.rmtree(machine)
        shutil.copytree(fresh, machine)
        with monkeypatch.context() as patched:
            patched.setattr(taking, "write_whole", cut_write)
            patched.setattr(Path, "unlink", cut_unlink)
            try:
                code = first_boot(machine)
            except Cut:
                code = -1
        # The restart after the cut.
        assert first_boot(machine) == 0
        found = everything(machine)
        # A note that names only what was left is no harm; a second start has nothing to note.
        for one in (found, wanted):
            one.pop("boot/applied.txt", None)
            one.pop("data/system/firstboot.json", None)
        assert found == wanted, at
        if code == 0:
            break
    assert at > 20
    assert on_the_disk is durable.on_the_disk


def test_a_reset_is_asked_for_by_a_file(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(machine / "boot", network__toml=NETWORK)
    (machine / "boot/factory-reset.txt").touch()
    assert first_boot(machine) == 0
    assert "factory reset" in capsys.readouterr().out
    assert (machine / "data/factory-reset").exists()
    # What is new is taken at the next start, when the old is gone.
    assert everything(machine / "boot").keys() == {"network.toml"}


def test_a_reset_by_command_wants_to_be_meant(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reset", "--factory", "--machine", str(machine)]) == 1
    assert "--yes" in capsys.readouterr().err
    assert not (machine / "data/factory-reset").exists()
    assert main(["reset", "--factory", "--yes", "--json", "--machine", str(machine)]) == 0
    assert json.loads(capsys.readouterr().out) == {"reset": "at the next start"}
    assert (machine / "data/factory-reset").exists()


def test_the_host_name_of_this_machine_is_left_alone(machine: Path) -> None:
    name = socket.gethostname()
    put(machine / "boot", network__toml='[system]\nhostname = "other"\n')
    assert first_boot(machine) == 0
    assert socket.gethostname() == name
