"""Bounds at the door: connections of one listener, open files of the process, accept errors."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from typing import Any

import pytest

from gateway.broker.bans import Ban, Bans
from gateway.config.listener import MqttListener as Settings
from gateway.listeners import accept
from gateway.listeners.accept import Acceptor
from gateway.listeners.base import RESERVED_FILES
from gateway.metrics import Metrics
from listeners.stage import Stage, on_stage


def test_connections_beyond_the_bound_are_closed_and_counted() -> None:
    async def play(it: Stage) -> None:
        clients = [await it.client(f"c{number}") for number in range(3)]
        more = [await it.open() for _ in range(4)]
        assert all([await one.is_over() for one in more])
        assert it.counts["connects_refused"] == 4
        clients[0].writer.close()
        await it.until(lambda: len(it.listener.shells) < 3)
        await it.client("again")
        await clients[1].ping()

    on_stage(play, Settings(bind="127.0.0.1:0", max_connections=3))


def test_a_banned_address_is_closed_before_anything_is_said() -> None:
    async def play(it: Stage) -> None:
        it.server.access.bans = Bans([Ban("address", "127.0.0.0/8")])
        assert await (await it.open()).is_over()
        assert it.counts["connects_refused"] == 1
        assert "connections" not in it.counts, "MQTT has not seen it"
        it.server.access.bans = Bans([Ban("address", "127.0.0.0/8", until=1.0), Ban("address", "192.0.2.1")])
        await it.client("c")

    on_stage(play)


def test_some_open_files_are_left_for_the_rest_of_the_gateway() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))

        async def play(it: Stage) -> None:
            first = await it.client("first")
            while "connects_refused" not in it.counts:
                await it.open()
            last = it.clients[-1].writer.get_extra_info("socket").fileno()
            assert 512 - RESERVED_FILES - 4 <= last < 512
            await first.ping()

        on_stage(play)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Exhausted:
    """A listening socket that has no room for a while."""

    def __init__(self, sock: socket.socket, failures: list[int]) -> None:
        self.sock = sock
        self.failures = failures
        self.calls = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.calls += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "no room")
        return self.sock.accept()

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO])
def test_an_accept_error_is_a_pause(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accept, "PAUSE_SECONDS", 0.01)

    async def main() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        listening = Exhausted(sock, [number] * 3)
        metrics = Metrics()
        accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
        acceptor = Acceptor(
            asyncio.get_running_loop(),
            listening,  # type: ignore[arg-type]
            lambda new, name: accepted.put_nowait(new),
            metrics,
        )
        client = socket.create_connection(sock.getsockname())
        try:
            new = await asyncio.wait_for(accepted.get(), 5)
            new.close()
            assert metrics.counts == {"accept_errors": 3}
            assert listening.calls <= 3 + 2, "it does not spin"
        finally:
            acceptor.close()
            client.close()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == ["cannot accept connections"]
