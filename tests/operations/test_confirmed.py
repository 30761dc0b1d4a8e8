"""What was not confirmed is put back, whatever happens in between."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import confirmed as module
from gateway.confirmed import Back, Confirmed, text_of
from gateway.errors import ConfigError
from gateway.starting import begin

GOOD = b'[gateway]\nname = "good"\n'
BAD = b'[gateway]\nname = "bad"\n'
RULE = b'[[action]]\nname = "a"\non.topic = "i"\ndo = [{ publish = { topic = "o" } }]\n'


class Cut(BaseException):
    """The power goes."""


class Place:
    """Settings and rules as files, of which the good ones were confirmed and the bad ones stand there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "etc"
        self.state = folder / "state"
        self.rules = self.folder / "rules"
        self.rules.mkdir(parents=True)
        self.state.mkdir()
        self.settings = self.folder / "gateway.toml"
        self.good = {self.settings: GOOD, self.rules / "kept.toml": RULE, self.rules / "changed.toml": b"# good\n"}
        self.good[self.rules / "removed.toml"] = b"# was there\n"
        self.bad = {self.settings: BAD, self.rules / "kept.toml": RULE, self.rules / "changed.toml": b"# bad\n"}
        self.bad[self.rules / "added.toml"] = b"# new\n"
        self.write(self.good)
        self.confirmed = Confirmed(self.state)
        self.confirmed.keep(self.good, self.rules)
        self.write(self.bad)
        self.confirmed.wait(self.bad)

    def write(self, files: dict[Path, bytes]) -> None:
        for path in self.rules.glob("*.toml"):
            path.unlink()
        for path, content in files.items():
            path.write_bytes(content)

    def there(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (self.settings, *self.rules.glob("*.toml"))}

    def refused(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.rglob("*.refused")}


REFUSED = {"gateway.toml.refused": BAD, "changed.toml.refused": b"# bad\n", "added.toml.refused": b"# new\n"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_files_are_put_back_and_what_stood_there_is_kept(place: Place) -> None:
    place.settings.chmod(0o640)
    back = place.confirmed.go_back()
    assert back is not None
    assert back.problem is None
    assert {Path(name).name for name in back.files} == set(REFUSED)
    assert place.there() == place.good
    assert place.refused() == REFUSED
    assert place.settings.stat().st_mode & 0o777 == 0o640
    assert place.confirmed.refused == {"files": list(back.files), "problem": None}
    assert place.confirmed.go_back() is None, "once is enough"
    assert "those before are back" in text_of(back)
    start, state = begin(place.settings, str(place.state), {})
    assert (start.loaded.value.gateway.name, start.back, state) == ("good", None, place.state)


def test_a_cut_at_any_moment_is_made_good_by_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that changes the disk is the last one once."""
    steps = cut = 0

    def count(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == cut:
                raise Cut
            return real(*arguments, **more)

        return call

    for name in ("open", "fsync", "fchmod"):
        monkeypatch.setattr(os, name, count(getattr(os, name)))
    for name in ("rename", "unlink"):
        monkeypatch.setattr(Path, name, count(getattr(Path, name)))
    was_cut = True
    while was_cut:
        steps = -10_000_000  # not while the place is made
        place = Place(tmp_path / str(cut))
        cut, steps = cut + 1, 0
        try:
            place.confirmed.go_back()
            was_cut = False
        except Cut:
            steps = -10_000_000
            start, _ = begin(place.settings, str(place.state), {})
            assert start.loaded.value.gateway.name == "good"
        steps = -10_000_000
        assert place.there() == place.good, f"cut at step {cut}"
        assert place.refused() == REFUSED, f"cut at step {cut}"
        assert place.confirmed.refused is not None
        assert set(map(os.path.basename, place.confirmed.refused["files"])) == set(REFUSED)
    assert cut > 15, "it was cut at every step"


def test_who_has_written_something_else_meanwhile_has_decided(place: Place) -> None:
    place.settings.write_bytes(b'[gateway]\nname = "third"\n')
    start, _ = begin(place.settings, str(place.state), {})
    assert start.loaded.value.gateway.name == "third"
    assert start.back is None
    assert place.refused() == {}
    assert place.confirmed.go_back() is None


def test_what_was_confirmed_stays(place: Place) -> None:
    place.confirmed.keep(place.bad, place.rules)
    assert place.confirmed.go_back() is None
    assert place.there() == place.bad
    # A cut between the two files of a confirmation.
    place.confirmed.wait(place.bad)
    assert place.confirmed.go_back() is None
    assert place.there() == place.bad


def test_where_files_cannot_be_written_the_kept_ones_run_in_their_stead(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, there: bytes | None, wanted: bytes | None) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    place.write(place.bad | {place.rules / "kept.toml": RULE})
    with monkeypatch.context() as patch:
        patch.setattr(module, "_put_back", refuse)
        for _ in range(2):  # this start and the next
            start, _ = begin(place.settings, str(place.state), {})
            assert start.loaded.value.gateway.name == "good"
            assert len(start.rules.actions) == 1
            assert start.contents is None
            assert start.back is not None
            assert "which no start takes: gateway.toml" in text_of(start.back)
            assert place.there() == place.bad
            assert start.loaded.source.folder == place.folder, "paths in it mean what they meant"
    # Written by somebody who may: taken like any other.
    place.settings.write_bytes(b'[gateway]\nname = "mended"\n')
    assert begin(place.settings, str(place.state), {})[0].loaded.value.gateway.name == "mended"


def test_what_is_wrong_by_now_does_not_hinder_going_back(place: Place) -> None:
    place.settings.write_bytes(b"[gateway]\nnam = 1\n")
    place.confirmed.wait(place.bad | {place.settings: b"[gateway]\nnam = 1\n"})
    start, _ = begin(place.settings, str(place.state), {})
    assert start.loaded.value.gateway.name == "good"
    place.settings.write_bytes(b"[gateway]\nnam = 1\n")
    with pytest.raises(ConfigError, match="nam"):
        begin(place.settings, str(place.state), {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 1}', '{"rules": "x", "files": {"a": 1}}'])
def test_what_is_kept_and_spoiled_holds_nothing(place: Place, text: str) -> None:
    (place.state / "settings/confirmed.json").write_text(text)
    start, _ = begin(place.settings, str(place.state), {})
    assert start.loaded.value.gateway.name == "bad"
    (place.state / "settings/unconfirmed.json").write_text(text)
    assert place.confirmed.go_back() is None


def test_a_start_does_not_forget_what_was_refused_and_a_confirmation_does(place: Place) -> None:
    place.confirmed.go_back()
    place.confirmed.keep(place.good, place.rules, at_start=True)
    assert place.confirmed.refused is not None
    place.confirmed.keep(place.good, place.rules)
    assert place.confirmed.refused is None
    assert json.loads((place.state / "settings/confirmed.json").read_text())["rules"] == str(place.rules)
    assert (place.state / "settings/confirmed.json").stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_only_removed_is_said_in_words() -> None:
    assert "files were removed" in text_of(Back(()))
