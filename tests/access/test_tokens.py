"""Tokens as passwords, made by pyjwt and checked at any time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.broker.access import Identity, Login, Peer
from gateway.config.access import Jwt
from gateway.config.declare import File, Secret
from gateway.errors import Refused
from gateway.login.plugins import Unusable
from gateway.login.tokens import Tokens

jwt = pytest.importorskip("jwt")

KEY = "k" * 32
TIME = 1_800_000_000.0
NOW = 5000.0


def token(key: Any = KEY, algorithm: str = "HS256", **claims: Any) -> str:
    body = {"sub": "ann", "exp": TIME + 100, **claims}
    made: str = jwt.encode({name: value for name, value in body.items() if value is not None}, key, algorithm)
    return made


def check(text: str, username: str | None = None, **settings: Any) -> Identity | str:
    tokens = Tokens(Jwt(**{"algorithm": "HS256", "key": Secret(KEY), **settings}))
    found = tokens.check(Login("c", username, text.encode(), Peer("10.0.0.1:1", False)), NOW, TIME)
    return found if isinstance(found, Identity) else str(found)


def test_who_it_is() -> None:
    found = check(token(groups=["ops", "dev"], site="north", level=3))
    assert isinstance(found, Identity)
    assert (found.username, found.groups, found.address) == ("ann", frozenset({"ops", "dev"}), "10.0.0.1")
    assert found.attributes["site"] == "north"
    assert "level" not in found.attributes
    assert found.expires == NOW + 100 + 30
    assert found.credential is None


def test_groups_as_words() -> None:
    found = check(token(scope="a b $local"), groups="scope")
    assert isinstance(found, Identity) and found.groups == {"a", "b"}


def test_the_user_name_may_be_in_another_claim() -> None:
    tokens = Tokens(Jwt(algorithm="HS256", key=Secret(KEY), username="email"))
    found = tokens.check(Login("c", "a@b", token(email="a@b").encode(), Peer("x", False)), NOW, TIME)
    assert isinstance(found, Identity) and found.username == "a@b"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (token(exp=TIME - 31), "the token has expired"),
        (token(exp=None), "the token is not valid"),
        (token(exp="soon"), "the token has expired"),
        (token(nbf=TIME + 31), "the token is not valid yet"),
        (token(nbf="x"), "the token is not valid yet"),
        (token("x" * 32), "the token is not valid"),
        (token("k" * 64, "HS512"), "the token is not valid"),
        (token(None, "none"), "the token is not valid"),
        (token(sub=None), "the token has no user name in its claim sub"),
        (token(sub="$local"), "the token has no user name in its claim sub"),
        (token() + "x", "the token is not valid"),
        ("eyJ.eyJ.x", "the token is not valid"),
        ("eyJ.é.x", "the token is not valid"),
    ],
)
def test_tokens_that_are_refused(text: str, why: str) -> None:
    assert check(text) == why


def test_the_clocks_may_differ_a_little() -> None:
    assert isinstance(check(token(exp=TIME - 29)), Identity)
    assert isinstance(check(token(nbf=TIME + 29)), Identity)


def test_a_user_name_beside_it_must_be_the_same() -> None:
    assert isinstance(check(token(), "ann"), Identity)
    assert check(token(), "bob") == "the token is of another user"


@pytest.mark.parametrize(
    ("settings", "claims", "good"),
    [
        ({"audience": "gw"}, {"aud": "gw"}, True),
        ({"audience": "gw"}, {"aud": ["x", "gw"]}, True),
        ({"audience": "gw"}, {"aud": "x"}, False),
        ({"audience": "gw"}, {}, False),
        ({}, {"aud": "x"}, True),
        ({"issuer": "me"}, {"iss": "me"}, True),
        ({"issuer": "me"}, {"iss": "you"}, False),
        ({"issuer": "me"}, {}, False),
    ],
)
def test_audience_and_issuer(settings: dict[str, str], claims: dict[str, Any], good: bool) -> None:
    assert isinstance(check(token(**claims), **settings), Identity) is good


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_public_keys(algorithm: str, tmp_path: Path) -> None:
    private: Any = (
        rsa.generate_private_key(65_537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path = tmp_path / "public.pem"
    path.write_bytes(public)
    options: dict[str, Any] = {"algorithm": algorithm, "key": None, "public_key": File(str(path))}
    assert isinstance(check(token(private, algorithm), **options), Identity)
    # The classic attack: the public key taken as the secret of HS256.
    forged = token("k" * 32, "HS256")
    assert check(forged, **options) == "the token is not valid"
    path.write_text("no key")
    with pytest.raises(Unusable, match=f"is no public key for {algorithm}") as caught:
        check(forged, **options)
    assert caught.value.key == "access.jwt.public_key"


@pytest.mark.parametrize(
    ("password", "expected"),
    [(token().encode(), True), (b"secret", False), (b"a.b.c", False), (b"eyJ." + b"x" * 20_000 + b".", False)],
)
def test_what_looks_like_a_token(password: bytes, expected: bool) -> None:
    assert Tokens.looks_like_one(password) is expected


def test_a_refusal_says_0x86() -> None:
    tokens = Tokens(Jwt(algorithm="HS256", key=Secret(KEY)))
    found = tokens.check(Login("c", None, b"eyJ.x.y", Peer("x", False)), NOW, TIME)
    assert isinstance(found, Refused) and found.reason == 0x86
