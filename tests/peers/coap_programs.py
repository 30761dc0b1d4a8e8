"""CoAP programs of other people: libcoap's client and server, and a node with npm coap."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

PEERS = Path(__file__).parent
NODE_MODULES = PEERS.parents[1] / ".venv" / "peers" / "node_modules"
CLIENT = "coap-client-gnutls"
SERVER = "coap-server-gnutls"


def need_libcoap() -> None:
    """Skip where libcoap is not installed."""
    for program in (CLIENT, SERVER):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install libcoap3-bin")


def need_node_coap() -> None:
    """Skip where node or its package is not installed."""
    if shutil.which("node") is None or not (NODE_MODULES / "coap").exists():
        pytest.skip("needs node and its package coap: make peers")


async def client(*arguments: str, seconds: float = 15.0, stop_after: int = 4) -> str:
    """What coap-client says, errors included. It ends with 0 whatever happens, and by itself only with -B."""
    process = await asyncio.create_subprocess_exec(
        CLIENT, "-B", str(stop_after), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(seconds):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode("utf-8", "replace")


@asynccontextmanager
async def server(port: int, *arguments: str) -> AsyncIterator[None]:
    """coap-server on 127.0.0.1; clients may make resources by PUT. With -k it has DTLS on the next port."""
    process = await asyncio.create_subprocess_exec(
        SERVER, "-A", "127.0.0.1", "-p", str(port), "-d", "100", *arguments,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(50):
            if "<" in await client("-m", "get", f"coap://127.0.0.1:{port}/.well-known/core", stop_after=1):
                break
        yield
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def node(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``coap_node.js`` with its output in a pipe."""
    process = await asyncio.create_subprocess_exec(
        "node", str(PEERS / "coap_node.js"), *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
