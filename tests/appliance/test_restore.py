"""A restore that fails in the middle changes nothing; one that the power ends is done again."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.appliance import replace
from gateway.appliance.backup import back_up, restore
from gateway.errors import GatewayError
from gateway.store.opening import opened


class PowerCut(BaseException):
    """Nothing of ours catches it."""


class Site:
    """A backup of one gateway, and another that is there where it is to go."""

    def __init__(self, tmp: Path) -> None:
        self.archive = tmp / "backup.tar.gz"
        self._make(tmp / "first", "first", ("rules/a.toml", "gateway.toml", "certs/own/key.pem"))
        back_up(tmp / "first/etc/gateway.toml", tmp / "first/state", self.archive)
        self._make(tmp / "now", "now", ("rules/b.toml", "gateway.toml", "more.txt"))
        self.settings, self.state = tmp / "now/etc/gateway.toml", tmp / "now/state"
        (self.state / "link").symlink_to("users.toml")

    def _make(self, folder: Path, text: str, settings: tuple[str, ...]) -> None:
        for name in settings:
            (folder / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "etc" / name).write_text(text)
        (folder / "state").mkdir()
        (folder / "state/users.toml").write_text(text)
        with opened(folder / "state/gateway.db") as connection:
            connection.execute("INSERT INTO tally VALUES (?, 1)", (text,))

    def restore(self) -> dict[str, Any]:
        return restore(self.archive, self.settings, self.state, True)

    def tree(self) -> dict[str, str | bytes]:
        found: dict[str, str | bytes] = {}
        for folder in (self.settings.parent, self.state):
            for path in sorted(folder.rglob("*")):
                name = f"{folder.name}/{path.relative_to(folder)}"
                found[name] = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        return found

    def is_restored(self) -> bool:
        with opened(self.state / "gateway.db") as connection:
            (name,) = connection.execute("SELECT name FROM tally").fetchone()
        texts = {path.read_text() for path in self.settings.parent.rglob("*") if path.is_file()}
        return bool(name == "first" and texts == {"first"} and (self.state / "users.toml").read_text() == "first")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_was_there_is_kept_beside(site: Site) -> None:
    before = site.tree()
    site.restore()
    assert site.is_restored()
    assert not (site.settings.parent / "more.txt").exists()
    kept = site.settings.parent.with_name("etc.replaced")
    assert (kept / "more.txt").read_text() == "now"
    assert (site.state.with_name("state.replaced") / "link").is_symlink()
    assert not [name for name in site.tree() if ".restore" in name]
    assert len(before) > 5
    site.restore()  # what is kept makes room
    assert (kept / "gateway.toml").read_text() == "first"


def fail_at(patch: pytest.MonkeyPatch, error: BaseException, for_good: bool = False) -> Iterator[int]:
    """Let the first rename fail, ``for_good`` with all behind it, then the second, and so on, until none is left."""
    real = Path.rename
    for stop in range(1, 100):
        count = 0

        def rename(self: Path, target: Any, stop: int = stop) -> Path:
            nonlocal count
            count += 1
            if count == stop or (count > stop and for_good):
                raise error
            return real(self, target)

        patch.setattr(Path, "rename", rename)
        yield stop
        patch.setattr(Path, "rename", real)
        if count < stop:
            return


def test_an_error_in_the_middle_leaves_what_was_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before, failed = site.tree(), 0
    for _ in fail_at(monkeypatch, OSError(28, "No space left on device")):
        try:
            site.restore()
            break
        except GatewayError as error:
            assert "was not restored" in str(error)
            failed += 1
            assert site.tree() == before
    assert failed > 8
    assert site.is_restored()


def test_a_power_cut_in_the_middle_is_mended_by_restoring_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = 0
    for _ in fail_at(monkeypatch, PowerCut(), for_good=True):
        # Nothing is taken away any more: the power is gone.
        with monkeypatch.context() as patch:
            patch.setattr("gateway.appliance.backup.drop", lambda folders: None)
            try:
                site.restore()
                break
            except PowerCut:
                cuts += 1
    assert cuts > 8
    assert site.is_restored()
    kept = site.settings.parent.with_name("etc.replaced")
    assert (kept / "more.txt").read_text() == "now"  # that which was there before all of this


def test_what_does_not_fit_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    before = site.tree()
    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(GatewayError, match="No space left"):
        site.restore()
    assert site.tree() == before


def test_a_damaged_archive_changes_nothing(site: Site) -> None:
    before, whole = site.tree(), site.archive.read_bytes()
    for length in range(100, len(whole), len(whole) // 12):
        site.archive.write_bytes(whole[:length])
        with pytest.raises(GatewayError):
            site.restore()
        assert site.tree() == before
    broken = bytearray(whole)
    broken[len(whole) // 2] ^= 255
    site.archive.write_bytes(broken)
    with pytest.raises(GatewayError):
        site.restore()
    assert site.tree() == before


def test_what_cannot_be_kept_beside_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.appliance.backup.keep_old", full)
    with pytest.raises(GatewayError, match="is restored, but what was there could not be kept"):
        site.restore()
    assert site.is_restored() or (site.settings.parent / replace.OLD).is_dir()
