"""Checking passwords: one thread, a bounded queue, and what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from gateway.broker.access import Identity, Login, Peer, User
from gateway.broker.identity import Answer
from gateway.errors import Refused
from gateway.login import checker as module
from gateway.login import passwords
from gateway.login.checker import Checker

PEER = Peer("10.0.0.9:1234", False)
ANN = User("ann", passwords.make_hash(b"secret"), frozenset({"ops"}))


class Counting(ThreadPoolExecutor):
    """One thread that counts its work; ``Stuck`` never gets to it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.count = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        return super().submit(fn, *args, **kwargs)


class Stuck(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return Future()


def login(username: str | None = "ann", password: bytes = b"secret", client_id: str = "c") -> Login:
    return Login(client_id, username, password, PEER)


async def ask(checker: Checker, shown: Login) -> Identity | Refused:
    answer: asyncio.Future[Identity | Refused] = asyncio.get_running_loop().create_future()
    checker.authenticate(shown, answer.set_result)
    return await asyncio.wait_for(answer, 10)


def play(scene: Callable[[Checker, Counting], Awaitable[None]]) -> None:
    async def main() -> None:
        with Counting() as executor:
            checker = Checker(lambda: (0.0, 0.0), executor)
            checker.set_users({"ann": ANN})
            await scene(checker, executor)

    asyncio.run(main())


def refusal(found: Identity | Refused) -> int:
    assert isinstance(found, Refused)
    return found.reason


def test_right_and_wrong() -> None:
    async def scene(checker: Checker, executor: Counting) -> None:
        found = await ask(checker, login())
        assert isinstance(found, Identity)
        assert (found.username, found.groups, found.address) == ("ann", frozenset({"ops"}), "10.0.0.9")
        assert found.credential == ANN.hash
        assert refusal(await ask(checker, login(password=b"wrong"))) == 0x86

    play(scene)


def test_unknown_users_cost_a_hash_like_known_ones() -> None:
    async def scene(checker: Checker, executor: Counting) -> None:
        for name in ("eve", None, ""):
            assert refusal(await ask(checker, login(name))) == 0x86
        assert executor.count == 3

    play(scene)


def test_a_password_that_fitted_is_not_hashed_again_and_a_wrong_one_is() -> None:
    async def scene(checker: Checker, executor: Counting) -> None:
        for n in range(10):
            found = await ask(checker, login(client_id=f"c{n}"))
            assert isinstance(found, Identity) and found.client_id == f"c{n}"
        assert executor.count == 1
        await ask(checker, login(password=b"wrong"))
        assert executor.count == 2

    play(scene)


def test_a_change_of_the_password_forgets() -> None:
    async def scene(checker: Checker, executor: Counting) -> None:
        await ask(checker, login())
        checker.set_users({"ann": ANN._replace(hash=passwords.make_hash(b"other"))})
        assert refusal(await ask(checker, login())) == 0x86
        assert isinstance(await ask(checker, login(password=b"other")), Identity)
        assert executor.count == 3

    play(scene)


def test_a_change_while_the_thread_is_at_it() -> None:
    async def scene(checker: Checker, executor: Counting) -> None:
        asked = asyncio.ensure_future(ask(checker, login()))
        await asyncio.sleep(0)
        checker.set_users({})
        assert refusal(await asked) == 0x86

    play(scene)


def test_too_many_at_once_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)

    async def main() -> None:
        checker = Checker(lambda: (0.0, 0.0), Stuck())
        checker.set_users({"ann": ANN})
        answers: list[Identity | Refused] = []
        for _ in range(5):
            checker.authenticate(login(), answers.append)
        assert [refusal(one) for one in answers] == [0x89, 0x89]

    asyncio.run(main())


def test_the_clocks_are_read_before_a_late_answer() -> None:
    read: list[str] = []

    async def main() -> None:
        def clocks() -> tuple[float, float]:
            read.append("clocks")
            return 0.0, 0.0

        with ThreadPoolExecutor(1) as executor:
            checker = Checker(clocks, executor)
            checker.set_users({"ann": ANN})
            done = asyncio.Event()

            def answer(found: Identity | Refused) -> None:
                read.append("answer")
                done.set()

            checker.authenticate(login(), answer)
            await done.wait()

    asyncio.run(main())
    assert read == ["clocks", "answer"]


class Plugin:
    """An authenticator of another package."""

    def __init__(self, name: str) -> None:
        self.name = name

    def authenticate(self, login: Login, answer: Answer) -> None:
        if login.username == self.name:
            answer(Identity(login.client_id, self.name))
        else:
            answer(Refused(f"not {self.name}", 0x86))


def test_other_packages_are_asked_in_turn_and_the_users_file_goes_first() -> None:
    async def scene(checker: Checker, executor: Counting) -> None:
        checker.plugins = (Plugin("ann"), Plugin("bob"))
        found = await ask(checker, login("bob"))
        assert isinstance(found, Identity) and found.username == "bob"
        assert str(await ask(checker, login("eve"))) == "not bob"
        assert refusal(await ask(checker, login(password=b"wrong"))) == 0x86

    play(scene)


def test_who_is_needed() -> None:
    checker = Checker(lambda: (0.0, 0.0), Stuck())
    assert not checker.is_needed
    checker.set_users({"ann": ANN})
    assert checker.is_needed
