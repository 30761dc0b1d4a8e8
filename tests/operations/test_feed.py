"""Feeds, and the streams of the control socket that they fill."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.control import ControlServer, NotRunning, ask, follow
from gateway.errors import GatewayError
from gateway.feed import LIMIT, Feed


def test_lines_come_in_order_until_the_end() -> None:
    async def main() -> list[Any]:
        feed = Feed()
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, feed.put, 1)
        loop.call_later(0.02, feed.put, 2)
        loop.call_later(0.03, feed.end)
        return [line async for line in feed]

    assert asyncio.run(main()) == [1, 2]


def test_a_slow_reader_loses_lines_and_they_are_counted() -> None:
    async def main() -> tuple[list[Any], int]:
        feed = Feed(limit=3)
        for n in range(10):
            feed.put(n)
        feed.end()
        return [line async for line in feed], feed.lost

    assert asyncio.run(main()) == ([0, 1, 2], 7)


class Source:
    """A stream for one reader."""

    def __init__(self) -> None:
        self.put: Callable[[Any], None]
        self.end: Callable[[], None]
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()

    def open(
        self, request: Mapping[str, Any], put: Callable[[Any], None], end: Callable[[], None]
    ) -> Callable[[], None]:
        if request.get("bad"):
            raise GatewayError("not that")
        self.put, self.end = put, end
        self.started.set()
        return self.stopped.set


@contextlib.asynccontextmanager
async def serving(folder: Path, source: Source) -> AsyncIterator[None]:
    started = asyncio.Event()
    server = ControlServer(folder, {"plain": lambda request: request["x"]}, {"stream": source.open})
    running = asyncio.create_task(server.run(started.set))
    await started.wait()
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_stream_is_followed_to_its_end(tmp_path: Path) -> None:
    async def main() -> list[Any]:
        source = Source()
        async with serving(tmp_path, source):
            following = asyncio.create_task(asyncio.to_thread(lambda: list(follow(tmp_path, "stream"))))
            await source.started.wait()
            for n in range(3):
                source.put({"n": n})
            source.end()
            replies = await following
            await asyncio.wait_for(source.stopped.wait(), 5)
            return replies

    replies = asyncio.run(main())
    assert [reply.get("line") for reply in replies] == [{"n": 0}, {"n": 1}, {"n": 2}, None]
    assert replies[-1]["result"] == {"lost": 0}


def test_a_reader_that_leaves_ends_its_stream(tmp_path: Path) -> None:
    async def main() -> None:
        source = Source()
        async with serving(tmp_path, source):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "control.sock"))
            writer.write(b'{"command": "stream"}\n')
            await source.started.wait()
            writer.close()
            await asyncio.wait_for(source.stopped.wait(), 5)

    asyncio.run(main())


def test_a_reader_that_does_not_read_loses_lines_and_is_told_how_many(tmp_path: Path) -> None:
    async def main() -> None:
        source = Source()
        async with serving(tmp_path, source):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(tmp_path / "control.sock"))
                client.sendall(b'{"command": "stream"}\n')
                await source.started.wait()
                for _ in range(20 * LIMIT):
                    source.put("x" * 100)
                source.end()
                await asyncio.sleep(0)
                with client.makefile("rb") as replies:
                    *lines, last = await asyncio.to_thread(replies.readlines)
                lost = json.loads(last)["result"]["lost"]
                assert lost >= 18 * LIMIT
                assert len(lines) + lost == 20 * LIMIT
            await asyncio.wait_for(source.stopped.wait(), 5)

    asyncio.run(main())


def test_a_stream_may_say_no_and_plain_commands_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, Source()):
            with pytest.raises(GatewayError, match="not that"):
                await asyncio.to_thread(lambda: list(follow(tmp_path, "stream", bad=True)))
            assert await asyncio.to_thread(ask, tmp_path, "plain", x=7) == 7
            with pytest.raises(GatewayError, match="plain, stream"):
                await asyncio.to_thread(ask, tmp_path, "other")

    asyncio.run(main())


def test_the_end_of_the_gateway_is_no_end_of_the_stream(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control.sock"))
        listening.listen()

        async def main() -> None:
            following = asyncio.create_task(asyncio.to_thread(lambda: list(follow(tmp_path, "stream"))))
            peer, _ = await asyncio.to_thread(listening.accept)
            assert peer.recv(100) == b'{"command": "stream"}\n'
            peer.sendall(json.dumps({"ok": True, "line": 1}).encode() + b"\n")
            peer.close()
            with pytest.raises(NotRunning, match="closed the connection"):
                await following

        asyncio.run(main())
