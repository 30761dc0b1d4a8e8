"""An update by command: fetched over a line that breaks, checked, installed, told; nothing that is not signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.bundle_server import BundleServer
from appliance.test_update import ROOT, build
from appliance.test_update import machine as machine
from gateway.__main__ import main
from gateway.appliance.update import asked
from gateway.appliance.update import install as installing
from gateway.appliance.update.asked import bring, take, tell_outcome
from gateway.appliance.update.install import this_machine
from gateway.appliance.update.manifest import UpdateError
from gateway.update_request import FOLDER, REQUEST, Request, leave, left


class Site:
    """A machine that has a request, and hears what is told."""

    def __init__(self, machine: Path, server: BundleServer) -> None:
        self.machine, self.server = machine, server
        self.state = machine / asked.STATE
        self.state.mkdir(parents=True)
        self.told: list[dict[str, Any]] = []
        self.slept: list[float] = []

    def tell(self, state: str, **more: Any) -> bool:
        self.told.append({"state": state, **more})
        return True

    def states(self) -> list[str]:
        return list(dict.fromkeys(one["state"] for one in self.told))

    def ask(self, content: bytes, path: str = "/site.gwu", **changed: Any) -> Request:
        self.server.content.setdefault(path, content)
        fields = {
            "url": self.server.url(path),
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "ca": str(self.server.ca),
            "max_size": 1 << 30,
        }
        request = Request(**{**fields, **changed})
        leave(self.state, request)
        return request

    def bring(self) -> str | None:
        return bring(self.machine, self.tell, self.slept.append)

    def take(self) -> str | None:
        return take(self.machine, this_machine(self.machine), self.tell)

    def files(self) -> set[str]:
        return {path.name for path in (self.state / FOLDER).iterdir()}


@pytest.fixture
def site(machine: Path, tmp_path: Path) -> Iterator[Site]:
    server = BundleServer(tmp_path)
    with server.running():
        yield Site(machine, server)


def start(machine: Path, slot: str) -> None:
    entries = machine / "boot/loader/entries"
    if (entries / f"gateway-{slot}+1.conf").exists():
        (entries / f"gateway-{slot}+1.conf").rename(entries / f"gateway-{slot}+0-1.conf")
    (machine / "proc/cmdline").write_text(f"gateway.slot={slot}\n")


def test_a_bundle_is_fetched_installed_and_told_about(site: Site, tmp_path: Path) -> None:
    request = site.ask(build(tmp_path).read_bytes())
    assert site.bring() == f"{request.url}: is there"
    assert site.take() == "2.0"
    assert (site.machine / "dev/gateway/slot-B").read_bytes() == ROOT
    assert site.states() == ["downloading", "installing", "restarting"]
    assert site.told[-1] == {"state": "restarting", "bundle": request.url, "version": "2.0"}
    assert len(site.told) <= asked.STEPS + 3
    assert site.files() == set()
    tell_outcome(site.machine, site.tell)
    assert site.told[-1]["state"] == "restarting"  # nothing is known yet
    start(site.machine, "B")
    assert main(["update", "commit", "--machine", str(site.machine)]) == 0
    tell_outcome(site.machine, lambda state, **more: False)  # nobody heard it
    for _ in range(2):
        tell_outcome(site.machine, site.tell)
    assert site.told[-1] == {"state": "good", "bundle": request.url, "version": "2.0"}
    assert site.states().count("good") == 1


def test_one_that_is_given_up_is_told_and_not_taken_by_command_again(site: Site, tmp_path: Path) -> None:
    content = build(tmp_path).read_bytes()
    site.ask(content)
    site.bring()
    site.take()
    start(site.machine, "B")
    start(site.machine, "A")
    tell_outcome(site.machine, site.tell)
    assert (site.told[-1]["state"], site.told[-1]["reason"]) == ("rolled back", "it did not start")
    site.ask(content)
    site.bring()
    with pytest.raises(UpdateError, match="was given up before"):
        site.take()
    assert "given up before" in site.told[-1]["reason"]
    assert site.files() == set()


def test_a_line_that_breaks_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    content = build(tmp_path).read_bytes()
    site.server.cut = [1000, 300_000, 0, 1]
    site.server.answers = [503]
    site.ask(content)
    assert site.bring() is not None
    assert (site.state / FOLDER / asked.READY).read_bytes() == content
    assert site.server.sent == len(content)  # not a byte twice
    assert site.server.asked == [None, None, "bytes=1000-", "bytes=301000-", "bytes=301000-", "bytes=301001-"]
    assert site.slept == [10.0, 10.0, 10.0, 20.0, 10.0]
    assert site.states() == ["waiting", "downloading"]


def test_a_stop_of_the_machine_in_the_middle_goes_on_too(site: Site, tmp_path: Path) -> None:
    content = build(tmp_path).read_bytes()
    site.ask(content)
    site.server.cut = [400_000]

    class Off(BaseException):
        pass

    def power_cut(seconds: float) -> None:
        raise Off

    with pytest.raises(Off):
        bring(site.machine, site.tell, power_cut)
    assert site.bring() is not None
    assert site.server.asked == [None, "bytes=400000-"]
    assert (site.state / FOLDER / asked.READY).read_bytes() == content


def test_a_server_that_knows_no_ranges_begins_anew(site: Site, tmp_path: Path) -> None:
    content = build(tmp_path).read_bytes()
    site.server.knows_ranges = False
    site.server.cut = [1000]
    site.ask(content)
    assert site.bring() is not None
    assert (site.state / FOLDER / asked.READY).read_bytes() == content


def test_what_is_not_signed_costs_no_more_than_its_beginning(site: Site, tmp_path: Path) -> None:
    site.ask(build(tmp_path, key="foreign").read_bytes())
    with pytest.raises(UpdateError, match="not signed by a key that this machine trusts"):
        site.bring()
    assert site.states()[-1] == "failed"
    assert left(site.state) is None
    part = next((site.state / FOLDER).glob("*.part"))
    assert part.stat().st_size < 2 * asked.HEAD
    assert site.take() is None


def test_what_root_finds_is_not_believed(site: Site, tmp_path: Path) -> None:
    """Whoever has the gateway's rights can put anything there."""
    (site.state / FOLDER).mkdir()
    ready = site.state / FOLDER / asked.READY
    ready.write_bytes(build(tmp_path, key="foreign").read_bytes())
    with pytest.raises(UpdateError, match="not signed"):
        site.take()
    ready.symlink_to(tmp_path / "2.0.gwu")
    assert site.take() is None
    assert installing.status(site.machine)["slots"]["B"]["state"] == "empty"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sha256": "0" * 64}, "is not what the command says"),
        ({"size": 5000}, "the command says 5000"),
        ({"max_size": 100}, "size must be 1 to 100 bytes"),
        ({"url": "http://127.0.0.1/x.gwu"}, "must begin with https"),
        ({"ca": None}, "certificate is not trusted"),
    ],
)
def test_what_is_not_as_it_was_promised_is_refused(
    site: Site, tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    site.ask(build(tmp_path).read_bytes(), **changed)
    with pytest.raises(UpdateError, match=words):
        site.bring()
    assert site.told[-1]["state"] == "failed"
    assert words in site.told[-1]["reason"]
    assert left(site.state) is None
    assert asked.READY not in site.files()


def test_redirects_go_to_https_only(site: Site, tmp_path: Path) -> None:
    content = build(tmp_path).read_bytes()
    site.server.content["/there.gwu"] = content
    site.server.moved = {"/site.gwu": "/there.gwu", "/bad.gwu": "http://127.0.0.1/x", "/round.gwu": "/round.gwu"}
    site.ask(content)
    assert site.bring() is not None
    for path, words in {"/bad.gwu": "elsewhere than to https", "/round.gwu": "5. place"}.items():
        site.ask(content[:-1], path)
        with pytest.raises(UpdateError, match=words):
            site.bring()


@pytest.mark.parametrize("break_it", ["gone", "wrong_range"])
def test_what_will_not_get_better_is_not_tried_again(site: Site, tmp_path: Path, break_it: str) -> None:
    content = build(tmp_path).read_bytes()
    site.ask(content)
    if break_it == "gone":
        site.server.content.clear()
    else:
        site.server.cut, site.server.wrong_range = [1000], True
    with pytest.raises(UpdateError, match="404" if break_it == "gone" else "another range"):
        site.bring()
    assert len(site.slept) < 2


def test_a_newer_command_and_a_cancel_end_the_fetching(site: Site, tmp_path: Path) -> None:
    site.ask(build(tmp_path).read_bytes())
    site.server.answers = [503] * 9
    assert bring(site.machine, site.tell, lambda seconds: leave(site.state, None)) is None
    assert site.take() is None
    assert site.bring() is None


def test_one_that_is_there_already(site: Site, tmp_path: Path) -> None:
    request = Request("file:2.0.gwu", None, None, None, 1 << 30)
    leave(site.state, request)
    with pytest.raises(UpdateError, match="is not in update"):
        site.bring()
    build(tmp_path).rename(site.state / FOLDER / "2.0.gwu")
    leave(site.state, request)
    site.bring()
    assert site.take() == "2.0"
    assert site.files() == set()


def test_the_commands_of_the_units(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.ask(build(tmp_path).read_bytes())
    for verb in ("fetch", "asked"):
        assert main(["update", verb, "--machine", str(site.machine), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"installed": "2.0"}
    (site.state / FOLDER / REQUEST).write_text("nonsense")
    assert main(["update", "fetch", "--machine", str(site.machine)]) == 0
    assert site.files() == set()
