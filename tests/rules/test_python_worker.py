"""The real process of Python functions: answers, errors, and what happens to one that takes too long or too much."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.metrics import Metrics
from gateway.python_worker import LONGEST_LINE, MAX_CALLS, BlockingWorker, PythonWorker

pytestmark = pytest.mark.slow

MEMORY = 256 << 20

FUNCTIONS = """
import os
import sys
import time

count = 0

def double(x):
    global count
    count += 1
    print("this is no answer")
    return {"x": x * 2, "count": count}

def fails(x):
    return 1 / x

def hangs():
    while True:
        pass

def eats():
    return len(bytearray(1 << 30))

def leaves():
    sys.exit(3)

def dies():
    os.kill(os.getpid(), 9)

def environment():
    return dict(os.environ)

def reads():
    return sys.stdin.read()

def long():
    return "x" * (1 << 21)

def odd():
    return {1, 2}

def nan():
    return float("nan")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f.py").write_text(FUNCTIONS)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n\ndef f(): ...\n")
    return tmp_path


Ask = Callable[..., Awaitable[tuple[Any, str]]]


def serve(folder: Path, work: Callable[[PythonWorker, Ask], Awaitable[None]], limit: float = 0.4) -> PythonWorker:
    worker = PythonWorker(Metrics())
    worker.renew(folder, limit, MEMORY)

    async def ask(name: str, **inputs: Any) -> tuple[Any, str]:
        future: asyncio.Future[tuple[Any, str]] = asyncio.get_running_loop().create_future()
        worker.call(name, inputs, lambda value, problem: future.set_result((value, problem)))
        return await asyncio.wait_for(future, 20)

    async def run() -> None:
        task = asyncio.create_task(worker.run(lambda: None))
        try:
            await work(worker, ask)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert worker.status()["running"] is False

    asyncio.run(run())
    return worker


def test_answers_and_errors_come_from_one_process(folder: Path) -> None:
    async def work(worker: PythonWorker, ask: Ask) -> None:
        assert worker.status()["running"] is False, "nobody has asked yet"
        assert await ask("f.double", x=21) == ({"x": 42, "count": 1}, "")
        assert await ask("f.fails", x=0) == (None, "ZeroDivisionError: division by zero (f.py:15)")
        assert "SystemExit: 3" in (await ask("f.leaves"))[1]
        assert "TypeError" in (await ask("f.odd"))[1]
        assert "ValueError" in (await ask("f.nan"))[1]
        assert "MemoryError" in (await ask("f.eats"))[1]
        assert await ask("f.reads") == ("", "")
        assert "ModuleNotFoundError" in (await ask("broken.f"))[1]
        assert (await ask("f.double", x="a"))[0]["count"] == 2, "still the same process"

    assert serve(folder, work).calls == 9


def test_no_secret_is_in_its_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "hunter2")

    async def work(worker: PythonWorker, ask: Ask) -> None:
        found, _ = await ask("f.environment")
        assert "hunter2" not in str(found)
        assert set(found) <= {"LANG", "PATH", "LC_CTYPE"}

    serve(folder, work)


def test_one_that_takes_too_long_is_ended_and_the_next_gets_a_new_process(folder: Path) -> None:
    async def work(worker: PythonWorker, ask: Ask) -> None:
        await ask("f.double", x=1)
        hanging = asyncio.ensure_future(ask("f.hangs"))
        following = asyncio.ensure_future(ask("f.double", x=1))
        beats = 0
        while not hanging.done():
            await asyncio.sleep(0.01)
            beats += 1
        assert await hanging == (None, "has taken longer than 0.4 s and was ended")
        assert beats > 10, "the loop goes on meanwhile"
        assert await following == ({"x": 2, "count": 1}, "")

    assert serve(folder, work).overruns == 1


def test_a_process_that_dies_or_answers_too_much_is_replaced(folder: Path) -> None:
    async def work(worker: PythonWorker, ask: Ask) -> None:
        assert await ask("f.dies") == (None, "its process has ended")
        assert await ask("f.long") == (None, f"its result has more than {LONGEST_LINE} bytes")
        assert (await ask("f.double", x=1))[0]["count"] == 1
        assert "the inputs have" in (await ask("f.double", x="x" * (LONGEST_LINE + 1)))[1]
        assert (await ask("f.double", x=1))[0]["count"] == 2

    serve(folder, work, limit=2.0)


def test_new_files_are_taken_up(folder: Path) -> None:
    async def work(worker: PythonWorker, ask: Ask) -> None:
        await ask("f.double", x=1)
        (folder / "f.py").write_text("def double(x):\n    return x * 200\n")
        assert (await ask("f.double", x=1))[0]["count"] == 2
        worker.renew(folder, 0.4, MEMORY)
        assert await ask("f.double", x=1) == (200, "")

    serve(folder, work)


def test_what_waits_is_bounded() -> None:
    worker = PythonWorker(Metrics())
    answers: list[Any] = []
    for _ in range(MAX_CALLS + 1):
        worker.call("f.double", {}, lambda value, problem: answers.append(problem))
    assert answers == [f"{MAX_CALLS} calls wait already"]


def test_the_blocking_worker(folder: Path) -> None:
    worker = BlockingWorker(folder, 0.3, MEMORY)
    answers: list[Any] = []

    def ask(name: str, **inputs: Any) -> Any:
        worker.call(name, inputs, lambda value, problem: answers.append((value, problem)))
        return answers[-1]

    try:
        assert ask("f.double", x=2) == ({"x": 4, "count": 1}, "")
        assert ask("f.hangs") == (None, "has taken longer than 0.3 s and was ended")
        assert ask("f.double", x=2) == ({"x": 4, "count": 1}, "")
        assert ask("f.long") == (None, f"its result has more than {LONGEST_LINE} bytes")
        assert ask("f.dies") == (None, "its process has ended")
        assert "division" in ask("f.fails", x=0)[1]
    finally:
        worker.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
