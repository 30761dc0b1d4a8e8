"""The pool beside asyncio: each is served while the other is busy, under our loop and under any other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.clock import Clock
from gateway.listeners.pool import NEWCOMERS, Pool
from gateway.listeners.stream import READ, Stream
from gateway.loop import EventLoop
from gateway.mqtt.turn import Turn

LOOPS: list[Any] = [EventLoop, asyncio.SelectorEventLoop]
try:
    import uvloop

    LOOPS.append(uvloop.new_event_loop)
except ImportError:
    pass


class Echo(Stream):
    """Sends back what comes, at the end of the turn."""

    __slots__ = ("heard", "lost", "on_hear", "out", "rooms")

    def __init__(self, pool: Pool, sock: socket.socket) -> None:
        super().__init__(pool, sock)
        self.heard = b""
        self.out = b""
        self.lost = 0
        self.rooms: list[bool] = []
        self.on_hear: Callable[[bytes], object] = lambda data: None
        pool.enter(self)

    def on_data(self, data: bytes) -> None:
        self.heard += data
        self.out += data
        self.on_hear(data)
        self._pool.add(self)

    def on_room(self, room: bool) -> None:
        self.rooms.append(room)

    def on_lost(self) -> None:
        self.lost += 1

    def flush(self) -> None:
        data, self.out = self.out, b""
        self.write(data)


class Desk:
    """A pool that runs, and pairs of sockets with one end in it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.streams: list[Echo] = []
        self.ends: list[socket.socket] = []

    def pair(self) -> tuple[Echo, socket.socket]:
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)
        self.streams.append(Echo(self.pool, ours))
        self.ends.append(theirs)
        return self.streams[-1], theirs

    async def read(self, sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, size), 5)
            assert more, "the stream ended early"
            data += more
        return data

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.fixture(params=LOOPS, ids=["ours", "asyncio", "uvloop"][: len(LOOPS)])
def play(request: pytest.FixtureRequest) -> Callable[..., None]:
    def run(body: Callable[[Desk], Awaitable[None]], gather: float = 0.0) -> None:
        async def main() -> None:
            pool = Pool(Turn(), Clock(), gather)
            pool.open(asyncio.get_running_loop())
            desk = Desk(pool)
            try:
                await body(desk)
            finally:
                for stream in desk.streams:
                    stream.abort()
                for sock in desk.ends:
                    sock.close()
                pool.close()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


def test_what_comes_goes_back(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        for data in (b"a", b"b" * (READ + 1), b"c" * 100_000):
            await asyncio.gather(asyncio.get_running_loop().sock_sendall(sock, data), desk.read(sock, len(data)))
        assert len(stream.heard) == 1 + READ + 1 + 100_000

    play(body)


def test_a_callback_scheduled_in_a_turn_runs_although_nothing_else_happens(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str] = loop.create_future()
        stream.on_hear = lambda data: loop.call_soon(done.set_result, "soon")
        sock.send(b"x")
        assert await asyncio.wait_for(done, 5) == "soon"
        late: asyncio.Future[str] = loop.create_future()
        stream.on_hear = lambda data: loop.call_later(0.01, late.set_result, "later")
        sock.send(b"x")
        assert await asyncio.wait_for(late, 5) == "later"

    play(body)


@pytest.mark.parametrize("gather", [0.0, 0.002])
def test_timers_fire_and_other_sockets_move_while_the_pool_is_busy(play: Callable[..., None], gather: float) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        busy = desk.pair()
        loop = asyncio.get_running_loop()
        stopped = False

        async def keep_busy() -> None:
            while not stopped:
                busy[1].send(b"x" * 10)
                await desk.read(busy[1], 10)

        task = asyncio.create_task(keep_busy())
        for _ in range(20):
            await asyncio.sleep(0.001)
            await loop.sock_sendall(sock, b"hello")
            assert await desk.read(sock, 5) == b"hello"
        stopped = True
        await task

    play(body, gather)


def test_what_is_queued_outside_a_turn_leaves(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        stream.out = b"news"
        desk.pool.add(stream)
        assert await desk.read(sock, 4) == b"news"

    play(body)


def test_the_end_of_the_stream_comes_after_the_answer(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        sock.send(b"last words")
        sock.shutdown(socket.SHUT_WR)
        assert await desk.read(sock, 10) == b"last words"
        await desk.until(lambda: stream.lost)
        assert (stream.lost, stream.closed) == (1, True)

    play(body)


def test_a_reset_is_the_end(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        for paused in (False, True):
            stream, sock = desk.pair()
            if paused:
                stream.pause()
            sock.close()
            await desk.until(lambda stream=stream: stream.lost)  # type: ignore[misc]

    play(body)


def test_a_bug_costs_its_own_connection_only(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        seen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
        good, bad = desk.pair(), desk.pair()

        def fail(data: bytes) -> None:
            raise ZeroDivisionError

        bad[0].on_hear = fail
        bad[1].send(b"x")
        good[1].send(b"y")
        assert await desk.read(good[1], 1) == b"y"
        await desk.until(lambda: bad[0].lost)
        assert [type(context["exception"]) for context in seen] == [ZeroDivisionError]
        assert not good[0].lost

    play(body)


def test_what_the_system_does_not_take_waits_and_room_is_told(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        size = 4 << 20
        stream.out = bytes(size)
        desk.pool.add(stream)
        await desk.until(lambda: stream.rooms)
        assert stream.unsent
        stream.end_output()
        assert len(await desk.read(sock, size)) == size
        await desk.until(lambda: not stream.unsent)
        assert stream.rooms == [False, True]
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), 5) == b"", "then the half-close"

    play(body)


def test_a_paused_stream_leaves_bytes_with_the_system(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        stream, sock = desk.pair()
        other = desk.pair()
        stream.pause()
        sock.send(b"wait")
        other[1].send(b"go")
        assert await desk.read(other[1], 2) == b"go"
        assert not stream.heard
        stream.resume()
        assert await desk.read(sock, 4) == b"wait"

    play(body)


def test_few_newcomers_are_served_in_one_turn(play: Callable[..., None]) -> None:
    async def body(desk: Desk) -> None:
        order: list[str] = []
        pairs = [desk.pair() for _ in range(3 * NEWCOMERS)]
        for stream, sock in pairs:
            stream.is_new = True
            stream.on_hear = lambda data: order.append("new")
            sock.send(b"x")
        old, sock = desk.pair()
        old.on_hear = lambda data: order.append("old")
        sock.send(b"x")
        await desk.until(lambda: len(order) == len(pairs) + 1)
        assert order.index("old") <= NEWCOMERS

    play(body)
