"""The modem: what is done with it, and what systemd-networkd is told. ModemManager is a stand-in here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from gateway.appliance.cellular import link, steps
from gateway.appliance.cellular.keeper import EVERY, LINK, RESET_PAUSE, STATUS, Keeper
from gateway.appliance.cellular.modem import Address, Bearer, Modem, bearer, modem, modems
from gateway.appliance.cellular.steps import Attempts, Connect, Reset, Traffic, Unlock, Use, Wait, hint, next_step
from gateway.appliance.firstboot.render import CELLULAR, render
from gateway.appliance.firstboot.settings import Cellular, Network
from gateway.config.declare import Secret
from gateway.config.load import read
from gateway.errors import ConfigError, GatewayError

PATH = "/org/freedesktop/ModemManager1/Modem/0"
OURS = Cellular(apn="iot.example", pin=Secret("1234"))


def a_modem(state: str, **more: Any) -> Modem:
    return Modem(PATH, state, **more)


@pytest.mark.parametrize("state", ["disabled", "enabled", "searching", "registered"])
def test_a_modem_that_is_not_connected_is_connected(state: str) -> None:
    assert next_step(a_modem(state), has_pin=False) == Connect()


@pytest.mark.parametrize("state", ["initializing", "enabling", "connecting", "disconnecting", "unknown", ""])
def test_a_modem_that_is_busy_is_left_alone(state: str) -> None:
    step = next_step(a_modem(state), has_pin=True)
    assert isinstance(step, Wait)


def test_a_pin_is_tried_while_the_card_has_all_its_attempts() -> None:
    assert next_step(a_modem("locked", lock="sim-pin", pin_tries=3), has_pin=True) == Unlock()


@pytest.mark.parametrize(
    ("lock", "tries", "has_pin", "says"),
    [
        ("sim-pin", 2, True, "2 attempts left"),
        ("sim-pin", 1, True, "1 attempts left"),
        ("sim-pin", None, True, "take the PIN off"),
        ("sim-pin", 3, False, "cellular.pin"),
        ("sim-puk", 3, True, "sim-puk"),
    ],
)
def test_a_card_is_never_blocked_by_a_wrong_pin(lock: str, tries: int | None, has_pin: bool, says: str) -> None:
    step = next_step(a_modem("locked", lock=lock, pin_tries=tries), has_pin)
    assert isinstance(step, Wait) and says in step.words


def test_a_modem_that_has_failed_says_why() -> None:
    assert next_step(a_modem("failed", failure="sim-missing"), True) == Reset("no SIM card is in the modem")
    step = next_step(a_modem("failed"), True)
    assert isinstance(step, Reset) and "does not say why" in step.words


def test_attempts_come_seldom_and_end_in_a_reset() -> None:
    attempts, pauses = Attempts(), []
    for number in range(1, 12):
        attempts.failure(100)
        pauses.append(attempts.next_at - 100)
        assert attempts.wants_reset == (number % steps.ATTEMPTS == 0)
    assert pauses[:4] == [10, 20, 40, 80] and pauses[-1] == steps.LAST_PAUSE
    attempts.success()
    assert attempts == Attempts()


def test_a_line_that_only_sends_is_dead_after_a_while() -> None:
    traffic = Traffic()
    assert not traffic.is_dead(5, 5, 0)
    assert not traffic.is_dead(5, 100, steps.SILENT - 1)
    assert traffic.is_dead(5, 100, steps.SILENT)
    assert not traffic.is_dead(5, 200, steps.SILENT + 1)
    assert traffic.is_dead(5, 200, 2 * steps.SILENT)
    assert traffic.tries == 2
    assert not traffic.is_dead(6, 200, 2 * steps.SILENT + 1)
    assert traffic.tries == 0


def test_a_line_on_which_nothing_is_sent_is_not_dead() -> None:
    traffic = Traffic()
    traffic.is_dead(5, 5, 0)
    assert not traffic.is_dead(5, 5 + steps.FEW - 1, 10 * steps.SILENT)


@pytest.mark.parametrize("text", ["", "no modems", "[]", '{"modem": 3}', '{"modem": {"generic": []}}', "null"])
def test_what_mmcli_never_prints_is_no_traceback(text: str) -> None:
    for look in (modems, bearer, lambda text: modem(PATH, text)):
        try:
            look(text)
        except GatewayError as error:
            assert "mmcli" in str(error)


def test_errors_of_the_network_are_put_in_words() -> None:
    error = "couldn't connect the modem: 'GDBus.Error:...MobileEquipment.ServiceOptionNotSubscribed: no'"
    assert hint(error).startswith("the APN does not belong") and error in hint(error)
    assert hint("something else") == "something else"


V4 = Address("static", "10.64.3.2/30", "10.64.3.1", ("10.64.0.53",), 1430)


def test_a_static_address_becomes_a_file_of_networkd() -> None:
    text = link.network(Bearer(True, "wwan0", V4, Address("")))
    assert text == (
        "[Match]\nName=wwan0\n\n[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nAddress=10.64.3.2/30\n"
        "DNS=10.64.0.53\n\n[Route]\nMetric=700\nGateway=10.64.3.1\nGatewayOnLink=yes\n\n[Link]\nMTUBytes=1430\n"
        "\n[DHCPv4]\nRouteMetric=700\n\n[IPv6AcceptRA]\nRouteMetric=700\n"
    )


def test_both_versions_of_ip_and_an_address_without_a_gateway() -> None:
    v6 = Address("static", "2001:db8::2/64", "", ("2001:db8::53",))
    text = link.network(Bearer(True, "wwan0", V4._replace(gateway=""), v6))
    assert "Destination=0.0.0.0/0\n" in text and "Destination=::/0\n" in text and "Address=2001:db8::2/64\n" in text
    assert text.count("[Route]") == 2 and "LinkLocalAddressing=ipv6\n" in text


def test_a_modem_that_wants_dhcp_gets_it() -> None:
    text = link.network(Bearer(True, "wwan0", Address("dhcp"), Address("dhcp")))
    assert "DHCP=ipv4\n" in text and "IPv6AcceptRA=yes\n" in text and "[Route]" not in text


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Bearer(True, "", V4, Address("")), "no network interface"),
        (Bearer(True, "ttyUSB0", Address("ppp"), Address("")), "PPP"),
        (Bearer(True, "wwan0", V4, Address("")), None),
    ],
)
def test_connections_that_cannot_be_used_say_so(found: Bearer, says: str | None) -> None:
    problem = link.problem(found)
    assert (problem is None) if says is None else (problem is not None and says in problem)


class World:
    """mmcli and networkctl; the packets that the interface counts."""

    def __init__(self, machine: Path) -> None:
        self.machine = machine
        self.state = "registered"
        self.there, self.mute = True, False
        self.refuses = ""
        self.did: list[str] = []
        self.count(rx=1, tx=1)

    def count(self, **packets: int) -> None:
        folder = self.machine / "sys/class/net/wwan0/statistics"
        folder.mkdir(parents=True, exist_ok=True)
        for way, number in packets.items():
            (folder / f"{way}_packets").write_text(f"{number}\n")

    def ask(self, command: Sequence[str], seconds: float) -> str:
        words = " ".join(command)
        if self.mute:
            raise GatewayError("mmcli: Timeout after 30 s")
        if "--list-modems" in words:
            return json.dumps({"modem-list": [PATH] if self.there else []})
        if "--bearer" in words:
            v4 = {"method": "static", "address": "10.64.3.2", "prefix": "30", "gateway": "10.64.3.1", "dns": []}
            return json.dumps({"bearer": {"status": {"connected": "yes", "interface": "wwan0"}, "ipv4-config": v4}})
        if words.endswith(PATH):
            bearers = ["/Bearer/0"] if self.state == "connected" else []
            retries = ["sim-pin (3)"]
            generic = {"state": self.state, "bearers": bearers, "unlock-required": "sim-pin", "unlock-retries": retries}
            return json.dumps({"modem": {"generic": {**generic, "sim": "/SIM/0"}, "3gpp": {"operator-name": "Netz"}}})
        self.did.append(command[-1] if command[0] == "mmcli" else words)
        if self.refuses and self.refuses in words:
            raise GatewayError(f"couldn't: {self.refuses}")
        if "--pin" in words:
            self.state = "disabled"
        if "--simple-connect" in words:
            self.state = "connected"
        if "--simple-disconnect" in words or "--reset" in words:
            self.state = "registered"
        return ""

    def took(self) -> list[str]:
        did, self.did = self.did, []
        return did


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def status(world: World) -> Any:
    return json.loads((world.machine / STATUS).read_text())


def test_a_modem_is_unlocked_connected_and_used(world: World) -> None:
    world.state = "locked"
    settings = Cellular(apn="iot.example", user="a b", password=Secret("c=d"), pin=Secret("1234"), roaming=False)
    keeper = Keeper(world.machine, settings, world.ask)
    assert keeper.turn(0) == EVERY
    assert world.took() == ["--pin=1234"]
    keeper.turn(15)
    assert world.took() == ['--simple-connect=apn="iot.example",allow-roaming=no,user="a b",password="c=d"']
    keeper.turn(30)
    assert world.took() == ["networkctl reload", "networkctl reconfigure wwan0"]
    assert "Address=10.64.3.2/30\n" in (world.machine / LINK).read_text()
    keeper.turn(45)
    assert world.took() == []
    assert status(world) == {
        "state": "connected", "words": "connected", "interface": "wwan0", "operator": "Netz", "technology": None,
        "signal": None, "roams": False,
    }  # fmt: skip


def test_what_networkd_did_not_hear_is_told_again(world: World) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    keeper.turn(0)
    world.refuses = "reconfigure"
    keeper.turn(15)
    assert status(world)["words"] == "couldn't: reconfigure"
    world.refuses = ""
    world.took()
    keeper.turn(30)
    assert world.took() == ["networkctl reload", "networkctl reconfigure wwan0"]
    assert status(world)["words"] == "connected"
    # As when it could not be told that the connection has ended: the same one comes back.
    world.state, world.refuses = "registered", "reconfigure"
    keeper.turn(45)
    world.refuses = ""
    keeper.turn(60)
    assert world.took()[-2:] == ["networkctl reload", "networkctl reconfigure wwan0"]
    assert "Address=10.64.3.2/30\n" in (world.machine / LINK).read_text()


def test_a_modem_of_which_nothing_is_known_for_a_moment_keeps_its_connection(world: World) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    keeper.turn(0), keeper.turn(15)
    text = (world.machine / LINK).read_text()
    world.mute = True
    keeper.turn(30)
    assert (world.machine / LINK).read_text() == text
    assert (status(world)["state"], status(world)["interface"]) == ("unknown", "wwan0")


def test_a_connection_that_ends_takes_its_route_along(world: World) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    keeper.turn(0), keeper.turn(15)
    world.took()
    world.there = False
    keeper.turn(30)
    assert world.took() == ["networkctl reload", "networkctl reconfigure wwan0"]
    assert "ActivationPolicy=down" in (world.machine / LINK).read_text()
    assert status(world)["state"] == "absent" and status(world)["interface"] is None
    keeper.turn(45)
    assert world.took() == []


def test_a_network_that_refuses_is_asked_seldom_and_the_modem_reset(world: World) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    world.refuses = "--simple-connect"
    connects, resets = [], []
    for now in range(0, 3600, 15):
        keeper.turn(now)
        did = world.took()
        connects += [now] * (did != [] and did[-1].startswith("--simple-connect"))
        resets += [now] * ("--reset" in did)
    assert len(connects) < 30 and connects[:4] == [0, 15, 45, 90]
    assert len(resets) == 2 and resets[1] - resets[0] >= RESET_PAUSE
    assert status(world)["words"].startswith("couldn't")


def test_a_dead_connection_is_made_anew_and_then_the_modem_reset(world: World) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    keeper.turn(0), keeper.turn(15)
    world.took()
    did: list[str] = []
    for now in range(30, 1500, 15):
        world.count(tx=now)  # it sends, and hears nothing
        keeper.turn(now)
        did += [word for word in world.took() if word in ("--simple-disconnect", "--reset")]
    assert did[:2] == ["--simple-disconnect", "--reset"]


def test_a_modem_that_cannot_be_reset_is_connected_all_the_same(world: World) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    world.state, world.refuses = "failed", "--reset"
    for now in range(0, int(RESET_PAUSE), 15):
        keeper.turn(now)
    assert world.took() == ["--reset"]
    world.state = "registered"
    keeper.turn(RESET_PAUSE + 1), keeper.turn(RESET_PAUSE + 16)
    assert status(world)["words"] == "connected"


def network(tmp_path: Path, text: str) -> Network:
    (tmp_path / "network.toml").write_text(text)
    return read(tmp_path / "network.toml", Network).value


def test_what_network_toml_says_comes_back_from_the_disk(tmp_path: Path) -> None:
    text = '[cellular]\napn = "iot.example"\nuser = "it-s"\npassword = "a;b"\npin = "0042"\nroaming = false\n'
    asked = network(tmp_path, text).cellular
    (file,) = render(Network(cellular=asked))
    assert (file.path, file.mode) == (CELLULAR, 0o600)
    (tmp_path / "back.toml").write_text(file.text)
    assert read(tmp_path / "back.toml", Cellular).value == asked


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('apn = "a b"', "must be a name"),
        ("pin = 1234", "cellular.apn"),
        ('apn = "a"\npin = "12"', "4 to 8 digits"),
        ('apn = "a"\npassword = "x"', "cellular.user"),
        ('apn = "a"\nuser = "a,b"', "comma"),
        ('apn = "a"\nuser = "a\\"b"', "quotation marks"),
    ],
)
def test_mistakes_are_found(tmp_path: Path, lines: str, says: str) -> None:
    with pytest.raises(ConfigError) as found:
        network(tmp_path, f"[cellular]\n{lines}\n")
    assert says in "\n".join(found.value.problems)


def test_the_command_shows_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    keeper = Keeper(world.machine, OURS, world.ask)
    machine = ["--machine", str(world.machine)]
    assert main(["cellular", "status", *machine]) == 1
    assert "[cellular]" in capsys.readouterr().err
    keeper.turn(0)
    assert main(["cellular", "status", "--json", *machine]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "registered"
    keeper.turn(15)
    assert main(["cellular", "status", *machine]) == 0
    shown = capsys.readouterr().out
    assert "Netz" in shown and "wwan0" in shown


def test_using_it_is_a_step_of_its_own() -> None:
    assert next_step(a_modem("connected"), has_pin=False) == Use()
