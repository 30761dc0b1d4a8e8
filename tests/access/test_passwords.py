"""Hashes of passwords."""

from __future__ import annotations

import pytest

from gateway.login import passwords
from gateway.login.checker import NOBODY


def test_a_hash_fits_its_password_only() -> None:
    text = passwords.make_hash(b"secret")
    assert passwords.fits(b"secret", text)
    assert not passwords.fits(b"Secret", text)
    assert not passwords.fits(b"", text)


def test_salt_makes_every_hash_another() -> None:
    assert passwords.make_hash(b"x") != passwords.make_hash(b"x")


def test_the_hash_of_nobody_costs_the_same_and_fits_nothing() -> None:
    assert passwords.hash_problem(NOBODY) is None
    assert NOBODY.split("$")[1:4] == passwords.make_hash(b"x").split("$")[1:4]
    assert not passwords.fits(b"", NOBODY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "scrypt$16384$8$1$AAAA",
        "scrypt$16383$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "=",
        "scrypt$1048576$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "=",
        "scrypt$16384$8$9$c2FsdHNhbHQ=$" + "A" * 43 + "=",
        "scrypt$16384$0$1$c2FsdHNhbHQ=$" + "A" * 43 + "=",
        "scrypt$-1$8$1$c2FsdHNhbHQ=$" + "A" * 43 + "=",
        "scrypt$16384$8$1$?$" + "A" * 43 + "=",
        "scrypt$16384$8$1$$" + "A" * 43 + "=",
        "scrypt$16384$8$1$c2FsdHNhbHQ=$AAAA",
    ],
)
def test_what_is_no_hash(text: str) -> None:
    problem = passwords.hash_problem(text)
    assert problem is not None and problem.startswith("must be a hash")
    with pytest.raises(ValueError):
        passwords.fits(b"x", text)


def test_generated_passwords() -> None:
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 27 for one in made)
