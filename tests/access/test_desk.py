"""Settings and the users file reach ``Access``, at the start and later."""

from __future__ import annotations

import logging
import sys
import types
from dataclasses import fields
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from gateway import kinds
from gateway.broker.access import Access, User
from gateway.broker.buckets import Rates
from gateway.broker.identity import Identity
from gateway.check import cross_check
from gateway.config import access as section
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.errors import ConfigError
from gateway.login import plugins
from gateway.login.checker import NOBODY as HASH
from gateway.login.checker import Checker
from gateway.login.desk import FrontDesk, needs_first_user
from gateway.login.users_file import changing

ALL = """
[access]
anonymous = true
[access.jwt]
algorithm = "HS256"
key = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
audience = "aud"
issuer = "iss"
username = "name"
groups = "roles"
leeway = "5s"
[access.flapping]
connects = 3
window = "4s"
ban = "5s"
[access.limits]
connections = 1.5
messages = 2
bytes = "3KiB"
subscriptions = 4
burst = "6s"
[[access.rule]]
priority = 7
deny = ["subscribe"]
topic = "t/{client_id}"
client = "c*"
user = "u"
group = "g"
"""

LAN = '[listener.lan]\nkind = "mqtt"\nbind = "0.0.0.0:0"\n'


def loaded(folder: Path, text: str) -> Loaded[Settings]:
    (folder / "gateway.toml").write_text(text)
    return read(folder / "gateway.toml", Settings, kinds)


def desk(folder: Path, text: str = "") -> FrontDesk:
    return FrontDesk(folder, loaded(folder, text), lambda: (0.0, 0.0))


def test_every_setting_reaches_its_part(tmp_path: Path) -> None:
    access = desk(tmp_path, ALL).access
    assert access.anonymous
    assert access.flapping is not None
    assert (access.flapping.connects, access.flapping.window, access.flapping.ban) == (3, 4, 5)
    rates = access.rates
    assert (rates.connections, rates.messages, rates.bytes, rates.subscriptions, rates.burst) == (1.5, 2, 3072, 4, 6)
    (rule,) = [rule for rule in access.rules.rules if rule.where == "gateway.toml:22"]
    assert (rule.priority, rule.verdict, rule.actions, rule.topic) == (
        7,
        "deny",
        frozenset({"subscribe"}),
        "t/{client_id}",
    )
    assert (rule.client, rule.user, rule.group) == ("c*", "u", "g")
    checker = access.authenticator
    assert isinstance(checker, Checker)
    assert checker.tokens is not None
    assert checker.tokens._settings == section.Jwt(
        algorithm="HS256",
        key=checker.tokens._settings.key,
        audience="aud",
        issuer="iss",
        username="name",
        groups="roles",
        leeway=5.0,
    )


def test_limits_are_off_and_named_alike() -> None:
    limits, rates = section.Limits(), Rates()
    assert {field.name: getattr(limits, field.name) for field in fields(section.Limits)} == {
        name: getattr(rates, name) for name in Rates.__slots__
    }
    assert not rates.limits_clients


def test_nothing_is_touched_before_open(tmp_path: Path) -> None:
    desk(tmp_path, LAN)
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]


def test_the_first_start_makes_a_user_and_says_where_its_password_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    front = desk(tmp_path, LAN)
    front.open()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    password = (tmp_path / "first-password").read_text().strip()
    assert vars(record)["file"] == str(tmp_path / "first-password")
    assert password not in str(vars(record))
    assert list(front.access.users) == ["admin"]
    assert front.access.authenticator is not None
    caplog.clear()
    desk(tmp_path, LAN).open()
    assert caplog.records == []
    assert (tmp_path / "first-password").read_text().strip() == password
    front.close()


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", False),
        (LAN.replace("0.0.0.0", "127.0.0.1"), False),
        (LAN, True),
        (LAN + "[access]\nanonymous = true\n", False),
        (LAN + 'tls = { cert = "gateway.toml", key = "gateway.toml" }\n', True),
        (
            LAN + 'tls = { cert = "gateway.toml", key = "gateway.toml", client_ca = "gateway.toml", '
            'client_auth = "require" }\n',
            False,
        ),
        (LAN + '[access.jwt]\nalgorithm = "HS256"\nkey = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"\n', False),
    ],
)
def test_who_needs_a_first_user(tmp_path: Path, text: str, needed: bool) -> None:
    (tmp_path / "gateway.toml").touch(mode=0o600)
    assert needs_first_user(loaded(tmp_path, text).value) is needed


def test_nobody_has_a_password_nobody_is_asked(tmp_path: Path) -> None:
    front = desk(tmp_path)
    front.open()
    assert front.access.authenticator is None
    with changing(tmp_path) as accounts:
        accounts.users["ann"] = User("ann", HASH)
    assert front.reload(loaded(tmp_path, "")) == {"users": 1, "bans": 0, "rules": 0}
    assert front.access.authenticator is not None


def test_a_reload_is_all_or_nothing(tmp_path: Path) -> None:
    front = desk(tmp_path)
    front.open()
    (tmp_path / "users.toml").write_text("nonsense")
    (tmp_path / "users.toml").chmod(0o600)
    with pytest.raises(ConfigError):
        front.reload(loaded(tmp_path, "[access]\nanonymous = true\n"))
    assert not front.access.anonymous


def test_a_reload_keeps_what_has_been_counted(tmp_path: Path) -> None:
    text = "[access.flapping]\nconnects = 2\n[access.limits]\nmessages = 1\nburst = 1\n"
    front = desk(tmp_path, text)
    access = front.access
    flapping = access.flapping
    who = Identity("c")
    access.give_quota(who, 0.0)
    quota = who.quota
    front.reload(loaded(tmp_path, text))
    access.give_quota(who, 0.0)
    assert access.flapping is flapping
    assert who.quota is quota
    front.reload(loaded(tmp_path, text.replace("connects = 2", "connects = 3").replace("messages = 1", "messages = 2")))
    access.give_quota(who, 0.0)
    assert access.flapping is not flapping
    assert who.quota is not quota
    front.reload(loaded(tmp_path, ""))
    access.give_quota(who, 0.0)
    assert access.flapping is None
    assert who.quota is None


class Extension:
    """Stands for a package with entry points."""

    def begin(self, login: object) -> None:
        raise NotImplementedError

    def authenticate(self, login: object, answer: object) -> None:
        raise NotImplementedError


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {
        plugins.GROUP: [
            EntryPoint("good", "some_package:Extension", plugins.GROUP),
            EntryPoint("bad", "no.such.module:Thing", plugins.GROUP),
        ],
        plugins.ENHANCED_GROUP: [EntryPoint("COUNT", "some_package:Extension", plugins.ENHANCED_GROUP)],
    }
    monkeypatch.setattr(plugins, "entry_points", lambda group: EntryPoints(points[group]))
    package = types.ModuleType("some_package")
    vars(package)["Extension"] = Extension
    monkeypatch.setitem(sys.modules, "some_package", package)
    access = desk(tmp_path, '[access]\nauthenticators = ["good"]\nenhanced = ["COUNT"]\n').access
    assert isinstance(access.authenticator, Checker)
    assert [type(one).__name__ for one in access.authenticator.plugins] == ["Extension"]
    assert list(access.enhanced) == ["COUNT"]
    text = '[access]\nauthenticators = ["good", "gone"]\n'
    assert cross_check(loaded(tmp_path, text)) == [
        (
            'gateway.toml:2: access.authenticators[1]: no entry point "gone" in the group gateway.authenticators; '
            "installed: bad, good"
        )
    ]
    (problem,) = cross_check(loaded(tmp_path, '[access]\nauthenticators = ["bad"]\n'))
    assert "cannot be loaded" in problem


def test_a_key_that_is_none_is_found_by_check(tmp_path: Path) -> None:
    text = '[access.jwt]\nalgorithm = "RS256"\npublic_key = "gateway.toml"\n'
    (tmp_path / "gateway.toml").touch(mode=0o600)
    (problem,) = cross_check(loaded(tmp_path, text))
    assert problem.startswith("gateway.toml:3: access.jwt.public_key: ")


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (LAN, True),
        (LAN.replace("0.0.0.0", "127.0.0.1"), False),
        (LAN + 'tls = { cert = "gateway.toml", key = "gateway.toml" }\n', False),
        (LAN + "[access]\nanonymous = true\n", False),
    ],
)
def test_passwords_in_the_clear_are_warned_of(tmp_path: Path, text: str, warned: bool) -> None:
    (tmp_path / "gateway.toml").touch(mode=0o600)
    found = list(loaded(tmp_path, text).value.warnings())
    assert [key for key, _ in found] == (["listener.lan.bind"] if warned else [])


def test_the_default_lets_nobody_in_from_elsewhere() -> None:
    access = Access()
    assert not access.anonymous
    assert access.authenticator is None
