"""The CoAP listener against programs that others wrote: libcoap and npm coap; and through a line that loses a third."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.broker.access import Access
from gateway.config.coap_listener import CoapKey
from gateway.config.declare import Secret
from gateway.listeners.coap import dtls
from gateway.message import Message
from listeners.coap_stage import Stage, on_stage
from listeners.test_coap_access import OneUser
from peers.coap_programs import client, need_libcoap, need_node_coap, node
from peers.lossy import lossy

pytestmark = pytest.mark.slow

KEYS = (CoapKey(identity="meter-7", key=Secret("s3cr3t-of-meter-7")), CoapKey(identity="m8", key=Secret("another-key")))


def test_libcoap_puts_gets_and_is_told_what_is_wrong() -> None:
    need_libcoap()

    async def play(it: Stage) -> None:
        url = f"coap://127.0.0.1:{it.port}"
        assert await client("-m", "put", "-t", "text/plain", "-e", "21.5", f"{url}/plant/t") == ""
        assert (await client("-m", "get", f"{url}/plant/t")).strip() == "21.5"
        assert it.keeper.messages[0].retain and it.keeper.messages[0].qos == 1
        assert await client("-m", "post", "-e", "x", f"{url}/event?qos=0") == ""
        assert (it.keeper.messages[1].qos, it.keeper.messages[1].retain) == (0, False)
        assert "4.04" in await client("-m", "get", f"{url}/nothing")
        assert "4.00" in await client("-m", "put", "-e", "x", f"{url}/a?qos=7")
        assert "4.05" in await client("-m", "fetch", "-e", "x", f"{url}/a")
        assert "4.15" in await client("-m", "put", "-t", "40", "-e", "x", f"{url}/a")
        assert '</plant/t>;rt="core.ps.data"' in await client("-m", "get", f"{url}/.well-known/core")
        await client("-m", "delete", f"{url}/plant/t")
        assert "4.04" in await client("-m", "get", f"{url}/plant/t")

    on_stage(play)


def test_libcoap_shows_who_it_is() -> None:
    need_libcoap()
    access = Access()
    access.authenticator = OneUser()

    async def play(it: Stage) -> None:
        it.service.clients._is_local = False
        url = f"coap://127.0.0.1:{it.port}/a"
        assert "4.01" in await client("-m", "put", "-e", "1", url)
        assert "4.01" in await client("-m", "put", "-e", "1", f"{url}?user=ann&token=wrong")
        assert await client("-m", "put", "-e", "1", f"{url}?user=ann&token=secret") == ""
        assert await client("-m", "put", "-e", "2", "-O", "65000,ann:secret", url) == ""
        assert [message.payload for message in it.keeper.messages] == [b"1", b"2"]

    on_stage(play, access)


def test_libcoap_moves_blocks_both_ways(tmp_path: Path) -> None:
    need_libcoap()
    content = bytes(range(256)) * 20
    (tmp_path / "up").write_bytes(content)

    async def play(it: Stage) -> None:
        url = f"coap://127.0.0.1:{it.port}/big"
        await client("-b", "64", "-m", "put", "-t", "42", "-f", str(tmp_path / "up"), url)
        assert it.keeper.messages[-1].payload == content
        for size in ("128", "1024"):
            await client("-b", size, "-m", "get", "-o", str(tmp_path / "down"), url)
            assert (tmp_path / "down").read_bytes() == content
            (tmp_path / "down").unlink()

    on_stage(play)


def test_libcoap_observes_in_order_and_leaves() -> None:
    need_libcoap()

    async def play(it: Stage) -> None:
        it.broker.publish(Message("a", b"<first>", retain=True))
        seen = asyncio.create_task(client("-s", "2", "-m", "get", f"coap://127.0.0.1:{it.port}/a"))
        await it.until(lambda: bool(it.service.watches))
        for number in range(20):
            it.broker.publish(Message("a", f"<{number}>".encode()))
            await asyncio.sleep(0.02)
        text = await seen
        assert text.replace("\n", "").startswith("<first>" + "".join(f"<{number}>" for number in range(20)))
        await it.until(lambda: not it.service.watches)

    on_stage(play, confirm=3)


def test_npm_coap_observes_in_order() -> None:
    need_node_coap()

    async def play(it: Stage) -> None:
        it.broker.publish(Message("a", b"first", retain=True))
        async with node("observe", f"coap://127.0.0.1:{it.port}/a", "6") as process:
            async with asyncio.timeout(20):
                while not it.service.watches:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                for number in range(5):
                    it.broker.publish(Message("a", str(number).encode()))
                    await asyncio.sleep(0.05)
                assert process.stdout is not None
                out = await process.stdout.read()
        assert out.decode().split() == ["first", "0", "1", "2", "3", "4"]
        it.broker.publish(Message("a", b"nobody listens"))
        await it.until(lambda: not it.service.watches)

    on_stage(play, confirm=2, ack_timeout=0.1, retries=2)


def test_a_third_of_the_datagrams_is_lost_and_no_message() -> None:
    """Every PUT that is answered is kept once; every one is answered in the end."""

    async def play(it: Stage) -> None:
        import aiocoap
        from aiocoap.numbers.constants import TransportTuning

        class Brisk(TransportTuning):  # type: ignore[misc]
            ACK_TIMEOUT = 0.05
            MAX_RETRANSMIT = 8

        async with lossy(it.port) as (proxy, port):
            async with asyncio.timeout(30):
                for number in range(40):
                    message = aiocoap.Message(
                        code=aiocoap.POST,
                        payload=str(number).encode(),
                        uri=f"coap://127.0.0.1:{port}/a",
                        transport_tuning=Brisk(),
                    )
                    assert (await it.client.request(message).response).code == aiocoap.CHANGED
            assert proxy.lost > 10
        assert [int(message.payload) for message in it.keeper.messages] == list(range(40))

    on_stage(play)


def test_an_observer_behind_a_lossy_line_ends_with_what_is_true() -> None:
    async def play(it: Stage) -> None:
        import aiocoap

        async with lossy(it.port, 0.3, 3) as (proxy, port):
            async with asyncio.timeout(40):
                message = aiocoap.Message(
                    code=aiocoap.GET, uri=f"coap://127.0.0.1:{port}/a", uri_query=("qos=1",), observe=0
                )
                request = it.client.request(message)
                await request.response
                seen: list[bytes] = []
                request.observation.register_callback(lambda one: seen.append(one.payload), _suppress_deprecation=True)
                for number in range(20):
                    it.broker.publish(Message("a", str(number).encode()))
                    await asyncio.sleep(0.02)
                while b"19" not in seen:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                assert [int(one) for one in seen] == sorted({int(one) for one in seen})
                assert len(seen) == 20, "each is confirmed, and there was room for all"
                request.observation.cancel()
            assert proxy.lost

    on_stage(play, ack_timeout=0.05, retries=8, queue=32)


def need_dtls() -> None:
    need_libcoap()
    if not dtls.is_here():
        pytest.skip("needs the Python package DTLSSocket: pip install edge-gateway[dtls]")


def test_dtls_has_a_key_for_each_device(tmp_path: Path) -> None:
    need_dtls()
    content = b"0123456789" * 300
    (tmp_path / "up").write_bytes(content)

    async def play(it: Stage) -> None:
        url = f"coaps://127.0.0.1:{it.port}/a"
        key = ("-u", "meter-7", "-k", "s3cr3t-of-meter-7")
        assert "4." not in await client(*key, "-m", "put", "-e", "21.5", url)
        assert it.keeper.messages[-1].source == "client:coap-meter-7"
        assert "21.5" in await client("-u", "m8", "-k", "another-key", "-m", "get", url)
        await client(*key, "-b", "256", "-m", "put", "-t", "42", "-f", str(tmp_path / "up"), url)
        assert it.keeper.messages[-1].payload == content
        for wrong in (("-u", "meter-7", "-k", "another-key"), ("-u", "nobody", "-k", "x" * 8)):
            await client(*wrong, "-m", "put", "-e", "wrong", url, stop_after=2)
        assert it.keeper.messages[-1].payload == content, "a wrong key gets nothing in"
        assert it.listener.status()["tls"] is True

    on_stage(play, psk=KEYS)


def test_dtls_clients_are_bounded() -> None:
    need_dtls()

    async def play(it: Stage) -> None:
        import socket

        assert it.listener.endpoint is not None
        pool = it.listener.endpoint._messages.message_interface._pool
        for _ in range(20):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"\x16\xfe\xfd" + b"\0" * 40, ("127.0.0.1", it.port))
                await asyncio.sleep(0.01)
        assert len(pool._connections) <= 4
        key = ("-u", "meter-7", "-k", "s3cr3t-of-meter-7")
        await client(*key, "-m", "put", "-e", "21.5", f"coaps://127.0.0.1:{it.port}/a")
        assert it.keeper.messages[-1].payload == b"21.5"

    on_stage(play, psk=KEYS, max_clients=4)


def test_without_its_package_dtls_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.config.coap_listener import CoapListener as Settings
    from gateway.listeners.coap.listener import CoapListener

    monkeypatch.setattr(dtls, "is_here", lambda: False)
    found: list[Any] = list(CoapListener.check(Settings(bind="127.0.0.1:0", psk=KEYS)))
    assert found == [("psk", dtls.MISSING)]
    assert "pip install edge-gateway[dtls]" in dtls.MISSING and "autoconf" in dtls.MISSING
