"""``users.toml``: whole or not at all, private, and no change lost."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from gateway.broker.bans import Ban
from gateway.broker.identity import User
from gateway.errors import ConfigError, GatewayError
from gateway.login import users_file
from gateway.login.checker import NOBODY as HASH
from gateway.login.first_start import forget_password_file, make_first_user
from gateway.login.passwords import fits
from gateway.login.users_file import NAME, Accounts, changing, load


def write(folder: Path, text: str, mode: int = 0o600) -> None:
    (folder / NAME).write_text(text)
    (folder / NAME).chmod(mode)


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return caught.value.problems


def test_no_file_is_no_user(tmp_path: Path) -> None:
    assert load(tmp_path) == Accounts()


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    users = [User("ann", HASH, frozenset({"b", "a"})), User('o"d\\d ü', HASH, frozenset(), True)]
    bans = [Ban("client", "c", None, "why"), Ban("client_pattern", "\\d+", 1_800_000_000.0), Ban("address", "::/64")]
    with changing(tmp_path) as accounts:
        accounts.users.update({user.name: user for user in users})
        accounts.bans += bans
    found = load(tmp_path)
    assert list(found.users.values()) == users
    assert found.bans == bans
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".users.lock", NAME]


def test_an_error_inside_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="no"), changing(tmp_path) as accounts:
        accounts.users["x"] = User("x", HASH)
        raise GatewayError("no")
    assert load(tmp_path) == Accounts()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path, "", mode)
    assert problems(tmp_path) == [
        f"{tmp_path}/users.toml: others can read it or write to it; run: chmod 600 {tmp_path}/users.toml"
    ]
    with pytest.raises(ConfigError), changing(tmp_path):
        pass


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = f"""
[[user]]
name = "ann"
hash = "secret"

[[user]]
name = "$root"
hash = "{HASH}"

[[user]]
name = "bob"
hash = "{HASH}"
group = ["x"]

[[ban]]
ban = "address"
value = "10.0.0.1/8"

[[ban]]
ban = "client"
value = "c"
until = "tomorrow"
"""
    write(tmp_path, text)
    assert problems(tmp_path) == [
        'users.toml:4: user[0].hash: must be a hash as gateway user makes it, but it is not "scrypt$N$R$P$SALT$HASH"',
        "users.toml:7: user[1].name: must not begin with '$': such groups are the gateway's own",
        'users.toml:13: user[2].group: unknown key; did you mean "groups"?',
        "users.toml:17: ban[0].value: '10.0.0.1/8' is no address or network: 10.0.0.1/8 has host bits set",
        'users.toml:22: ban[1].until: must be a time such as "2026-11-21T10:00:00Z", not "tomorrow"',
    ]


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    write(tmp_path, f'[[user]]\nname = "ann"\nhash = "{HASH}"\n' * 2)
    assert problems(tmp_path) == ['users.toml:5: user[1].name: "ann" is there twice']


def test_any_prefix_of_the_file_is_read_or_refused_and_never_half_taken(tmp_path: Path) -> None:
    with changing(tmp_path) as accounts:
        for n in range(3):
            accounts.users[f"u{n}"] = User(f"u{n}", HASH, frozenset({"g"}), n == 1)
    whole = (tmp_path / NAME).read_text()
    for end in range(0, len(whole), 7):
        write(tmp_path, whole[:end])
        try:
            found = load(tmp_path)
        except ConfigError:
            continue
        assert all(user.hash == HASH for user in found.users.values())


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_file, "MAX_BYTES", 10)
    write(tmp_path, "# eleven bytes")
    assert "is larger than" in problems(tmp_path)[0]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="cannot change the users"), changing(tmp_path / "gone"):
        pass


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with changing(tmp_path) as accounts:
        accounts.users["old"] = User("old", HASH)

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GatewayError, match="No space left"), changing(tmp_path) as accounts:
        accounts.users["new"] = User("new", HASH)
    assert list(load(tmp_path).users) == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".users.lock", NAME]


def _add_many(folder: Path, begin: str) -> None:
    for n in range(20):
        with changing(folder) as accounts:
            accounts.users[f"{begin}{n}"] = User(f"{begin}{n}", HASH)


@pytest.mark.slow
def test_no_change_is_lost_when_two_programs_make_them(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(tmp_path, name)) for name in "abcd"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert len(load(tmp_path).users) == 80


def test_the_first_user(tmp_path: Path) -> None:
    path = make_first_user(tmp_path)
    assert path == tmp_path / "first-password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    admin = load(tmp_path).users["admin"]
    assert admin.groups == {"admins"}
    assert fits(path.read_text().strip().encode(), admin.hash)
    assert make_first_user(tmp_path) is None, "only once"
    assert forget_password_file(tmp_path)
    assert not forget_password_file(tmp_path)


def test_no_first_user_where_there_is_one(tmp_path: Path) -> None:
    with changing(tmp_path) as accounts:
        accounts.users["ann"] = User("ann", HASH)
    assert make_first_user(tmp_path) is None
    assert list(load(tmp_path).users) == ["ann"]
