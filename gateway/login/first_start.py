"""The first user. A gateway that others on the network can reach has no default password and is not open to all: at
its first start it makes the user ``admin`` with a random password, and says in which file that stands."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.broker.identity import User
from gateway.login import passwords, users_file

ADMIN: Final = "admin"
ADMINS: Final = "admins"
PASSWORD_FILE: Final = "first-password"


def make_first_user(folder: Path) -> Path | None:
    """Make the user when there is none, and return the file with its password; None when there is a user.

    Raises ConfigError when the users file is wrong, GatewayError when a file cannot be written.
    """
    with users_file.changing(folder) as accounts:
        if accounts.users:
            return None
        password = passwords.generate()
        # First the password, then the hash: a stop in between makes another password at the next start.
        users_file.write_private(folder, PASSWORD_FILE, password + "\n")
        accounts.users[ADMIN] = User(ADMIN, passwords.make_hash(password.encode()), frozenset({ADMINS}))
    return folder / PASSWORD_FILE


def forget_password_file(folder: Path) -> bool:
    """Remove the file with the first password, once it is not the password any more; whether it was there."""
    path = folder / PASSWORD_FILE
    there = path.exists()
    path.unlink(missing_ok=True)
    return there
