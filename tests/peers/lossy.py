"""A UDP proxy that loses datagrams, both ways, by a seeded chance: the radio between a node and the gateway."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class _Up(asyncio.DatagramProtocol):
    """What comes back from the server to one client."""

    def __init__(self, proxy: Lossy, client: Any) -> None:
        self._proxy = proxy
        self._client = client

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._proxy.down(data, self._client)


class Lossy(asyncio.DatagramProtocol):
    """Passes datagrams to 127.0.0.1:``target`` and back; loses a ``share`` of them."""

    def __init__(self, target: int, share: float, seed: int) -> None:
        self.share = share
        self.passed = self.lost = 0
        self._target = target
        self._random = random.Random(seed)
        self._ups: dict[Any, asyncio.DatagramTransport] = {}
        self._transport: Any = None
        self._group: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def _survives(self) -> bool:
        if self._random.random() < self.share:
            self.lost += 1
            return False
        self.passed += 1
        return True

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._survives():
            self._group.create_task(self._send(data, addr))

    async def _send(self, data: bytes, client: Any) -> None:
        if client not in self._ups:
            self._ups[client], _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Up(self, client), remote_addr=("127.0.0.1", self._target)
            )
        self._ups[client].sendto(data)

    def down(self, data: bytes, client: Any) -> None:
        """From the server to a client."""
        if self._survives():
            self._transport.sendto(data, client)

    def close(self) -> None:
        self._transport.close()
        for up in self._ups.values():
            up.close()


@asynccontextmanager
async def lossy(target: int, share: float = 0.3, seed: int = 1) -> AsyncIterator[tuple[Lossy, int]]:
    """A proxy that runs, and its port."""
    transport, proxy = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Lossy(target, share, seed), local_addr=("127.0.0.1", 0)
    )
    try:
        async with asyncio.TaskGroup() as group:
            proxy._group = group
            yield proxy, transport.get_extra_info("sockname")[1]
    finally:
        proxy.close()
        await asyncio.sleep(0)
