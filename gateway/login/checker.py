"""Checks passwords: tokens, then the users file, then the authenticators of other packages.

scrypt takes tens of milliseconds, so it runs in a thread of its own, one check at a time; when too many wait, the
next is told that the server is busy. A password that fitted is remembered as a keyed digest, for as long as the hash
in the users file stays the same: when a thousand clients come back at once, nothing is hashed. An unknown user costs
the same time as a wrong password, so that names cannot be tried out.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from gateway.broker.access import Authenticator, Identity, Login, User
from gateway.broker.identity import Answer
from gateway.errors import Refused
from gateway.login import passwords
from gateway.login.tokens import Tokens

MAX_WAITING: Final = 256
"""Checks that wait: those behind them would wait longer than a client does."""

BAD_USER_NAME_OR_PASSWORD: Final = 0x86
SERVER_BUSY: Final = 0x89

NOBODY: Final = "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
"""A hash that no password fits, of the usual cost."""

Clocks = Callable[[], tuple[float, float]]
"""Reads the clocks for whoever answers outside of a listener's turn: monotonic, and seconds since 1970."""


class Checker:
    """The gateway's ``Authenticator``. Used in the thread of its event loop only.

    clocks    called before each answer that comes later
    executor  one thread
    """

    def __init__(self, clocks: Clocks, executor: Executor) -> None:
        self.users: Mapping[str, User] = {}
        self.tokens: Tokens | None = None
        self.plugins: Sequence[Authenticator] = ()
        self._clocks = clocks
        self._executor = executor
        self._key = os.urandom(32)
        self._good: dict[str, tuple[str, bytes]] = {}
        self._waiting = 0

    @property
    def is_needed(self) -> bool:
        """Whether there is anybody whose password could be right."""
        return bool(self.users or self.tokens or self.plugins)

    def set_users(self, users: Mapping[str, User]) -> None:
        """The users file has been read; digests of passwords that have changed are forgotten."""
        self.users = users
        self._good = {
            name: known for name, known in self._good.items() if name in users and users[name].hash == known[0]
        }

    def authenticate(self, login: Login, answer: Answer) -> None:
        if self.tokens is not None and self.tokens.looks_like_one(login.password or b""):
            answer(self.tokens.check(login, *self._clocks()))
            return
        user = self.users.get(login.username) if login.username is not None else None
        if user is None and self.plugins:
            self._ask_plugins(login, answer, 0)
            return
        text = user.hash if user is not None else NOBODY
        if user is not None and self._is_remembered(user, login.password or b""):
            answer(_identity(login, user))
        elif self._waiting >= MAX_WAITING:
            answer(Refused("too many logins at once", SERVER_BUSY))
        else:
            self._waiting += 1
            future = asyncio.get_running_loop().run_in_executor(
                self._executor, passwords.fits, login.password or b"", text
            )
            future.add_done_callback(partial(self._checked, login, user, answer))

    def _checked(self, login: Login, user: User | None, answer: Answer, future: asyncio.Future[bool]) -> None:
        self._waiting -= 1
        if future.cancelled():
            return
        is_good = future.result()
        self._clocks()
        # The users file may have changed while the thread was at it.
        if is_good and user is not None and self.users.get(user.name) == user:
            self._good[user.name] = (user.hash, self._digest(user, login.password or b""))
            answer(_identity(login, user))
        else:
            answer(Refused("wrong user name or password", BAD_USER_NAME_OR_PASSWORD))

    def _is_remembered(self, user: User, password: bytes) -> bool:
        known = self._good.get(user.name)
        return (
            known is not None and known[0] == user.hash and hmac.compare_digest(known[1], self._digest(user, password))
        )

    def _digest(self, user: User, password: bytes) -> bytes:
        return hmac.digest(self._key, user.hash.encode() + b"\0" + password, "sha256")

    def _ask_plugins(self, login: Login, answer: Answer, position: int) -> None:
        """Ask one after the other; the first that says who it is decides, else the refusal of the last."""

        def answered(found: Identity | Refused) -> None:
            if isinstance(found, Refused) and position + 1 < len(self.plugins):
                self._ask_plugins(login, answer, position + 1)
            else:
                self._clocks()
                answer(found)

        self.plugins[position].authenticate(login, answered)


def _identity(login: Login, user: User) -> Identity:
    return Identity(login.client_id, user.name, user.groups, login.peer.host, credential=user.hash)
