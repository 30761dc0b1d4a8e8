"""The MQTT uplink against an endpoint with the rules of AWS IoT Core."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from clouds.aws import AwsRules
from clouds.server import Endpoint
from gateway.config.declare import File
from gateway.errors import Retry
from gateway.mqtt.packets import Publish
from gateway.uplinks.mqtt.config import Forward, MqttUplink, Receive
from gateway.uplinks.mqtt.link import tls_context
from peers.mosquitto import Certificates
from uplinks.bench import Bench, ListPublisher, play, row, until


@asynccontextmanager
async def aws(folder: Path) -> AsyncIterator[tuple[Endpoint, dict[str, Any]]]:
    """The endpoint, and the settings of an uplink to it."""
    certificates = Certificates(folder)
    async with Endpoint(AwsRules(), certificates) as endpoint:
        yield (
            endpoint,
            {
                "url": f"mqtts://localhost:{endpoint.port}",
                "profile": "aws-iot",
                "ca": File(str(certificates.ca)),
                "cert": File(str(certificates.cert)),
                "key": File(str(certificates.key)),
            },
        )


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_it_would_hang_up_for_is_dropped_and_the_rest_arrives(tmp_path: Path, version: str) -> None:
    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            rows = [
                row(1, "plant/a", retain=True, qos=2),
                row(2, "plant/" + "/".join("abcdefgh")),
                row(3, "plant/big", bytes(128 * 1024 + 1)),
                row(4, "plant/" + "x" * 250),
                row(5, "plant/fits", bytes(128 * 1024)),
                row(6, "plant/b/c/d/e/f/g"),
            ]
            bench = Bench(endpoint.port, rows, version=version, **settings)
            await bench.during(bench.settled(6))
            assert bench.reader.dropped == [(2, "bad_topic"), (3, "too_large"), (4, "bad_topic")]
            assert [packet.topic for packet in endpoint.messages] == [
                "site/plant/a",
                "site/plant/fits",
                "site/plant/b/c/d/e/f/g",
            ]
            assert [packet.qos for packet in endpoint.messages] == [1, 1, 1]
            assert endpoint.messages[0].retain, "retained messages are kept there"
            assert endpoint.hangups == []

    play(main())


def test_the_plain_profile_is_hung_up_on(tmp_path: Path) -> None:
    """The endpoint is as strict as it should be: without the profile the same row ends every connection."""

    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            settings["profile"] = "generic"
            bench = Bench(endpoint.port, [row(1, "plant/" + "/".join("abcdefgh"))], **settings)
            for _ in range(2):
                with pytest.raises(Retry, match="0x90 topic name invalid"):
                    await bench.run()
            assert endpoint.hangups == ["topic of more than 7 slashes"] * 2

    play(main())


def test_client_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            del settings["cert"], settings["key"]
            settings["profile"] = "generic"
            with pytest.raises(Retry, match="client certificate"):
                await Bench(endpoint.port, **settings).run()
            assert endpoint.connects == []

    play(main())


def test_basic_ingest_does_not_count_its_prefix(tmp_path: Path) -> None:
    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            forward = (Forward(filter="plant/#", to="$aws/rules/store/plant/#"),)
            rows = [row(1, "plant/b/c/d/e/f/g/h"), row(2, "plant/b/c/d/e/f/g/h/i")]
            bench = Bench(endpoint.port, rows, forward=forward, **settings)
            await bench.during(bench.settled(2))
            assert [packet.topic for packet in endpoint.messages] == ["$aws/rules/store/plant/b/c/d/e/f/g/h"]
            assert bench.reader.dropped == [(2, "bad_topic")]

    play(main())


def test_many_subscriptions_and_a_command(tmp_path: Path) -> None:
    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            receive = tuple(Receive(filter=f"site/cmd/{n}/#", to=f"cmd/{n}/#") for n in range(20))
            publisher = ListPublisher()
            bench = Bench(endpoint.port, publisher=publisher, receive=receive, **settings)

            async def work() -> None:
                await until(lambda: len(endpoint.filters) == 20)
                endpoint.send("gw-gw1", Publish("site/cmd/7/x", b"go", 1, packet_id=1))
                await until(lambda: publisher.messages)

            await bench.during(work())
            assert publisher.messages[0][0].topic == "cmd/7/x"
            assert endpoint.hangups == []

    play(main())


@pytest.mark.slow
def test_no_second_sees_more_than_a_hundred(tmp_path: Path) -> None:
    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            bench = Bench(endpoint.port, [row(seq) for seq in range(1, 251)], **settings)
            await bench.during(bench.settled(250))
            assert endpoint.discarded == []
            assert [packet.payload for packet in endpoint.messages] == [str(seq).encode() for seq in range(1, 251)]

    play(main())


def test_second_connection_of_the_same_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with aws(tmp_path) as (endpoint, settings):
            first, second = Bench(endpoint.port, **settings), Bench(endpoint.port, **settings)

            async def work() -> None:
                await until(lambda: first.ups)
                await second.during(until(lambda: endpoint.hangups))
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="give each gateway its own"):
                await first.during(work())

    play(main())


@pytest.mark.parametrize(("port", "expected"), [(443, "x-amzn-mqtt-ca"), (8883, None)])
def test_alpn(tmp_path: Path, port: int, expected: str | None) -> None:
    """A handshake in memory, as the ports of the service cannot be had here."""
    certificates = Certificates(tmp_path)
    config = MqttUplink(
        url=f"mqtts://localhost:{port}",
        profile="aws-iot",
        ca=File(str(certificates.ca)),
        cert=File(str(certificates.cert)),
        key=File(str(certificates.key)),
    )
    server_context = certificates.server_context()
    server_context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_context(config, port).wrap_bio(down, up, server_hostname="localhost")
    server = server_context.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert server.version() is not None
    assert server.selected_alpn_protocol() == expected
