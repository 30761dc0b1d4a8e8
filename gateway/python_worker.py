"""Python functions of rules, from the gateway's side: one process, one call at a time, ended when it takes too long.

``PythonWorker`` serves the running gateway, ``BlockingWorker`` the cases, in which time stands still. The process is
started by the first call. Its environment holds nothing but a language, so no secret is in it; it is no prison: what
the gateway's user may read, a function may read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gateway.metrics import Metrics

MAX_CALLS: Final = 1000
"""Calls that wait."""

LONGEST_LINE: Final = 1 << 20
"""Bytes of one request, and of one answer."""

LOAD_PATIENCE: Final = 10.0
"""Seconds for the start of the process and the import of a file."""

END_PATIENCE: Final = 2.0
"""Seconds until a process that was killed is gone."""

ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"}

Answer = Callable[[Any, str], None]


class Trouble(Exception):
    """The process is of no use any more. The text is for whoever called."""


def _command(folder: Path, memory: int) -> list[str]:
    return [sys.executable, "-I", str(Path(__file__).with_name("python_child.py")), str(folder), str(memory)]


def _request(**words: Any) -> bytes:
    line = json.dumps(words).encode() + b"\n"
    if len(line) > LONGEST_LINE:
        raise ValueError(f"the inputs have {len(line)} bytes; at most {LONGEST_LINE}")
    return line


def _read(line: bytes) -> tuple[Any, str]:
    """The result, or what went wrong. Raises Trouble."""
    if not line.endswith(b"\n"):
        raise Trouble("its process has ended" if len(line) < LONGEST_LINE else _TOO_LONG)
    try:
        answer = json.loads(line)
        return answer.get("result"), str(answer.get("problem", ""))
    except (ValueError, AttributeError, RecursionError):
        raise Trouble("its process has answered nonsense") from None


_TOO_LONG: Final = f"its result has more than {LONGEST_LINE} bytes"


class PythonWorker:
    """Implements ``rules.asking.Functions``; ``run`` is its life.

    calls   that were made; overruns: those that took too long
    """

    def __init__(self, metrics: Metrics) -> None:
        self.calls = self.overruns = 0
        self._folder = Path()
        self._limit = 1.0
        self._memory = 0
        self._metrics = metrics
        self._waiting: deque[tuple[str, dict[str, Any], Answer]] = deque()
        self._news = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._loaded: set[str] = set()
        self._is_stale = False

    def call(self, name: str, inputs: dict[str, Any], answer: Answer) -> None:
        """Run a function when its turn comes."""
        if len(self._waiting) >= MAX_CALLS:
            self._metrics.drop("function_calls_full")
            answer(None, f"{MAX_CALLS} calls wait already")
            return
        self._waiting.append((name, inputs, answer))
        self._news.set()

    def renew(self, folder: Path, limit: float, memory: int) -> None:
        """Settings and files as they are now: the next call gets a new process.

        ``limit``: seconds of one call; ``memory``: address space in bytes.
        """
        self._folder, self._limit, self._memory = folder, limit, memory
        self._is_stale = True

    def status(self) -> dict[str, Any]:
        """What a person wants to see."""
        is_running = self._process is not None
        return {"running": is_running, "calls": self.calls, "overruns": self.overruns, "waiting": len(self._waiting)}

    async def run(self, up: Callable[[], None]) -> None:
        """Serve until cancelled."""
        up()
        try:
            while True:
                while not self._waiting:
                    self._news.clear()
                    await self._news.wait()
                await self._serve(*self._waiting.popleft())
        finally:
            await self._end()

    async def _serve(self, name: str, inputs: dict[str, Any], answer: Answer) -> None:
        self.calls += 1
        try:
            result, problem = await self._ask(name, inputs)
        except ValueError as error:
            result, problem = None, str(error)
        except (Trouble, OSError) as error:
            await self._end()
            result, problem = None, str(error)
        answer(result, problem)

    async def _ask(self, name: str, inputs: dict[str, Any]) -> tuple[Any, str]:
        request = _request(call=name, inputs=inputs)
        if self._is_stale:
            self._is_stale = False
            await self._end()
        file = name.partition(".")[0]
        if file not in self._loaded:
            _, problem = await self._exchange(_request(load=file), LOAD_PATIENCE)
            if problem:
                return None, problem
            self._loaded.add(file)
        return await self._exchange(request, self._limit)

    async def _exchange(self, request: bytes, patience: float) -> tuple[Any, str]:
        process = self._process
        if process is None:
            process = self._process = await asyncio.create_subprocess_exec(
                *_command(self._folder, self._memory),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
                cwd="/",
                limit=LONGEST_LINE,
            )
        assert process.stdin is not None and process.stdout is not None
        try:
            async with asyncio.timeout(patience):
                process.stdin.write(request)
                await process.stdin.drain()
                line = await process.stdout.readline()
        except TimeoutError:
            self.overruns += 1
            self._metrics.count("function_overruns")
            raise Trouble(f"has taken longer than {patience:g} s and was ended") from None
        except ValueError:
            raise Trouble(_TOO_LONG) from None
        return _read(line)

    async def _end(self) -> None:
        process, self._process = self._process, None
        self._loaded.clear()
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_PATIENCE):
                await process.wait()


class BlockingWorker:
    """The same for cases: each call answers before it returns. To be closed."""

    def __init__(self, folder: Path, limit: float, memory: int) -> None:
        self._folder = folder
        self._limit = limit
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[str] = set()

    def call(self, name: str, inputs: dict[str, Any], answer: Answer) -> None:
        """Run a function now."""
        try:
            result, problem = self._ask(name, inputs)
        except ValueError as error:
            result, problem = None, str(error)
        except (Trouble, OSError) as error:
            self.close()
            result, problem = None, str(error)
        answer(result, problem)

    def _ask(self, name: str, inputs: dict[str, Any]) -> tuple[Any, str]:
        request = _request(call=name, inputs=inputs)
        file = name.partition(".")[0]
        if file not in self._loaded:
            _, problem = self._exchange(_request(load=file), LOAD_PATIENCE)
            if problem:
                return None, problem
            self._loaded.add(file)
        return self._exchange(request, self._limit)

    def _exchange(self, request: bytes, patience: float) -> tuple[Any, str]:
        process = self._process
        if process is None:
            process = self._process = subprocess.Popen(
                _command(self._folder, self._memory),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=ENVIRONMENT,
                cwd="/",
                bufsize=0,
            )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(request)
        end = time.monotonic() + patience
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                left = end - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise Trouble(f"has taken longer than {patience:g} s and was ended")
                piece = process.stdout.read(65_536)
                if not piece:
                    break
                line += piece
        return _read(line)

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        self._loaded.clear()
        if process is not None:
            process.kill()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.stdout.close()
            process.wait(END_PATIENCE)
