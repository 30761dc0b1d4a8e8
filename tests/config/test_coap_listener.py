"""``[listener.x] kind = "coap"``: what is accepted, and the words for what is not. Effects: tests/listeners."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import ConfigError
from gateway.login.desk import needs_first_user

BEGIN = '[listener.c]\nkind = "coap"\n'
LOCAL = BEGIN + 'bind = "127.0.0.1:5683"\n'
PSK = '[[listener.c.psk]]\nidentity = "m7"\nkey = "s3cr3t-of-m7"\n'
ALLOW = '[[listener.c.allow]]\naddress = "10.0.0.0/24"\nuser = "meters"\n'


def loaded(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return read(file, Settings, kinds).value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BEGIN + 'bind = "unix:/run/coap"', "CoAP is spoken over UDP"),
        (LOCAL + 'prefix = "ps"', 'prefix: must be a path such as "/ps"'),
        (LOCAL + 'prefix = "/.well-known/x"', "must not begin with"),
        (LOCAL + 'formats = ["xml"]', '"xml" is none'),
        (LOCAL + "formats = []", "formats: must not be empty"),
        (LOCAL + 'last = ["a/#/b"]', "last: must be a topic filter"),
        (LOCAL + 'cbor = "text"', "cbor: must be one of"),
        (LOCAL + "max_payload = 0", "max_payload: must be between"),
        (LOCAL + PSK.replace("s3cr3t-of-m7", "short"), "8 to 64 bytes"),
        (LOCAL + PSK + PSK, 'psk[1].identity: "m7" is the identity of psk[0] too'),
        (LOCAL + PSK + ALLOW, "allow: has no effect with psk"),
        (LOCAL + ALLOW.replace("/24", "/99"), "allow[0].address: must be an address or a network"),
        (BEGIN + 'bind = "0.0.0.0:5684"\n' + PSK, "bind: must name one address"),
        (LOCAL + '[listener.d]\nkind = "coap"\nbind = "127.0.0.1:5683"', "collides with listener.c"),
    ],
)
def test_what_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert words in "\n".join(caught.value.problems)


def test_a_port_of_udp_is_not_that_of_tcp(tmp_path: Path) -> None:
    settings = loaded(tmp_path, LOCAL + '[listener.d]\nkind = "mqtt"\nbind = "127.0.0.1:5683"')
    assert len(settings.listener) == 2


def test_who_can_be_reached_from_elsewhere_needs_users_or_keys(tmp_path: Path) -> None:
    remote = BEGIN + 'bind = "192.168.1.5:5683"\n'
    plain, secret = loaded(tmp_path, remote), loaded(tmp_path, remote + PSK)
    assert needs_first_user(plain) and not needs_first_user(secret)
    assert any("bind" in key for key, _ in plain.warnings())
    assert not any("bind" in key for key, _ in secret.warnings())
    assert loaded(tmp_path, LOCAL).listener["c"].is_local
