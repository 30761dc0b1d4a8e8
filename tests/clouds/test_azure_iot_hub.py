"""The MQTT uplink against an endpoint with the rules of Azure IoT Hub."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from clouds.azure import HubRules
from clouds.server import Endpoint
from gateway.clock import FixedClock
from gateway.config.declare import File, Secret
from gateway.errors import Refused, Retry
from gateway.message import CONTENT_TYPE, CORRELATION_DATA, PAYLOAD_FORMAT, USER_PROPERTY
from gateway.mqtt.packets import PubAck, Publish
from gateway.uplinks.mqtt.config import Forward, Receive
from gateway.uplinks.profiles.sas import Sas
from peers.mosquitto import Certificates
from uplinks.bench import Bench, ListPublisher, play, row, until, user

DEVICE = "press-7"
KEY = bytes(range(32))
EVENTS = f"devices/{DEVICE}/messages/events/"
BOUND = f"devices/{DEVICE}/messages/devicebound/"


def stopped(time: float = 1_800_000_000.0) -> FixedClock:
    """A wall clock that moves only when told to."""
    return FixedClock(time)


@asynccontextmanager
async def hub(
    folder: Path, clock: FixedClock, by: str = "sas"
) -> AsyncIterator[tuple[Endpoint, HubRules, dict[str, Any]]]:
    """The endpoint, its rules, and the settings of an uplink to it."""
    certificates = Certificates(folder, DEVICE)
    rules = HubRules("localhost", DEVICE, KEY if by == "sas" else None, DEVICE if by == "cert" else None, clock.time)
    settings: dict[str, Any] = {
        "profile": "azure-iot-hub",
        "version": "3.1.1",
        "client_id": DEVICE,
        "ca": File(str(certificates.ca)),
        "clock": clock,
    }
    if by == "sas":
        settings["sas"] = Sas(key=Secret(base64.b64encode(KEY).decode()))
    else:
        settings |= {"cert": File(str(certificates.cert)), "key": File(str(certificates.key))}
    async with Endpoint(rules, certificates) as endpoint:
        yield endpoint, rules, {"url": f"mqtts://localhost:{endpoint.port}", **settings}


def bag(packet: Publish) -> dict[str, str]:
    return dict(parse_qsl(packet.topic.removeprefix(EVENTS), keep_blank_values=True, strict_parsing=True))


@pytest.mark.parametrize("by", ["sas", "cert"])
def test_messages_with_their_topic_in_the_property_bag(tmp_path: Path, by: str) -> None:
    async def main() -> None:
        async with hub(tmp_path, stopped(), by) as (endpoint, _, settings):
            props = (
                (CONTENT_TYPE, "application/json"),
                (PAYLOAD_FORMAT, 1),
                (CORRELATION_DATA, b"order 1"),
                (USER_PROPERTY, ("shift", "früh & spät")),
                (USER_PROPERTY, ("$.mid", "forged")),
                (USER_PROPERTY, ("via", "gw0")),
                (USER_PROPERTY, ("message-id", "1:1")),
            )
            rows = [row(1, "plant/a/b", b"{}", qos=2, retain=True, props=props), row(2, "plant/c", b"2")]
            bench = Bench(endpoint.port, rows, **settings)
            await bench.during(bench.settled(2))
            first, second = endpoint.messages
            assert bag(first) == {
                "$.ct": "application/json",
                "$.ce": "utf-8",
                "$.cid": "order 1",
                "$.mid": "7:1",
                "shift": "früh & spät",
                "user$.mid": "forged",
                "via": "gw0,gw1",
                "replay": "1",
                "topic": "site/plant/a/b",
                "mqtt-retain": "true",
            }
            assert bag(second) == {"$.mid": "7:2", "via": "gw1", "replay": "1", "topic": "site/plant/c"}
            assert [(packet.payload, packet.qos, packet.retain) for packet in endpoint.messages] == [
                (b"{}", 1, False),
                (b"2", 1, False),
            ]
            assert endpoint.hangups == []

    play(main())


def test_too_large(tmp_path: Path) -> None:
    """The bag counts too: what fits without it is still more than the hub takes."""

    async def main() -> None:
        async with hub(tmp_path, stopped()) as (endpoint, _, settings):
            limit = 256 * 1024
            rows = [row(1, payload=bytes(limit + 1)), row(2, payload=bytes(limit)), row(3, payload=bytes(limit - 400))]
            bench = Bench(endpoint.port, rows, **settings)
            await bench.during(bench.settled(3))
            assert bench.reader.dropped == [(1, "too_large"), (2, "too_large")]
            assert endpoint.hangups == []

    play(main())


@pytest.mark.parametrize(
    ("by", "changes"),
    [
        ("sas", {"sas": Sas(key=Secret(base64.b64encode(b"another key").decode()))}),
        ("cert", {"client_id": "press-8"}),
    ],
)
def test_refused_login(tmp_path: Path, by: str, changes: dict[str, Any]) -> None:
    async def main() -> None:
        async with hub(tmp_path, stopped(), by) as (endpoint, _, settings):
            with pytest.raises(Retry, match="refused the connection"):
                await Bench(endpoint.port, **settings | changes).run()

    play(main())


def test_user_name_is_checked(tmp_path: Path) -> None:
    """The endpoint is as strict as it should be: a plain uplink with the right certificate is not let in."""

    async def main() -> None:
        async with hub(tmp_path, stopped(), "cert") as (endpoint, _, settings):
            settings |= {"profile": "generic", "username": f"localhost/{DEVICE}"}
            with pytest.raises(Retry, match="refused the connection"):
                await Bench(endpoint.port, **settings).run()

    play(main())


def test_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    """The connection is made anew without being down, with the next token; nothing is lost in between."""

    async def main() -> None:
        clock = stopped()
        async with hub(tmp_path, clock) as (endpoint, rules, settings):
            settings["sas"] = Sas(key=settings["sas"].key, lifetime=0.5)
            bench = Bench(endpoint.port, [row(1)], **settings)

            async def work() -> None:
                await bench.settled(1)
                clock.step(100)
                await until(lambda: len(endpoint.connects) >= 2)
                bench.reader.add(row(2))
                await bench.settled(2)

            await bench.during(work())
            assert [packet.payload for packet in endpoint.messages] == [b"1", b"2"]
            assert rules.tokens[0] != rules.tokens[1]
            assert "se=1800000001" in rules.tokens[0], "a second is begun, not cut off"
            assert endpoint.hangups == []

    play(main())


def test_clock_that_was_never_set(tmp_path: Path) -> None:
    async def main() -> None:
        clock = stopped(time=1000.0)
        async with hub(tmp_path, clock) as (endpoint, rules, settings):
            bench = Bench(endpoint.port, [row(1)], **settings)
            with pytest.raises(Retry, match="the clock of this machine is not set"):
                await bench.run()
            assert rules.tokens == []
            clock.step(1_800_000_000)
            await bench.during(bench.settled(1))

    play(main())


def test_second_connection_of_the_device(tmp_path: Path) -> None:
    async def main() -> None:
        async with hub(tmp_path, stopped()) as (endpoint, _, settings):
            first, second = Bench(endpoint.port, **settings), Bench(endpoint.port, **settings)

            async def work() -> None:
                await until(lambda: first.ups)
                await second.during(until(lambda: endpoint.hangups))
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="closed the connection"):
                await first.during(work())

    play(main())


FULL_BAG = (
    f"%24.to=%2Fdevices%2F{DEVICE}%2Fmessages%2FdeviceBound&%24.mid=m1&topic=cmd%2Foven%2Fset"
    "&%24.ct=application%2Fjson&%24.cid=c1&who=a%20b&flag"
)
"""As the hub writes it: a system property that we do not pass on, ours, one with an empty value."""

RECEIVE = (Receive(filter="cmd/#", to="plant/#"), Receive(filter="methods/+", to="plant/+/set"))


def test_cloud_to_device_messages(tmp_path: Path) -> None:
    async def main() -> None:
        async with hub(tmp_path, stopped()) as (endpoint, _, settings):
            publisher = ListPublisher()
            receive = (*RECEIVE, Receive(filter="devicebound", to="inbox"))
            bench = Bench(endpoint.port, publisher=publisher, receive=receive, **settings)

            async def work() -> None:
                await until(lambda: endpoint.filters)
                for number, topic in enumerate(
                    [
                        BOUND + FULL_BAG,
                        BOUND,
                        f"{BOUND}topic=elsewhere",
                        f"{BOUND}topic=cmd%2Foven&via=gw1",
                    ],
                    1,
                ):
                    endpoint.send(DEVICE, Publish(topic, b"%d" % number, 1, packet_id=number))
                await until(lambda: len(publisher.messages) == 2 and len(bench.metrics.drops) == 2)

            await bench.during(work())
            (first, _), (second, _) = publisher.messages
            assert (first.topic, first.payload, second.topic) == ("plant/oven/set", b"1", "inbox")
            assert user(first.props) == [("message-id", "m1"), ("who", "a b"), ("flag", "")]
            assert (CONTENT_TYPE, "application/json") in first.props
            assert (CORRELATION_DATA, b"c1") in first.props
            assert bench.metrics.drops == {"uplink_unwanted": 1, "loop": 1}
            assert endpoint.filters == [(BOUND + "#", 1), ("$iothub/methods/POST/#", 0)]

    play(main())


@pytest.mark.parametrize(
    ("method", "error", "status", "body"),
    [
        ("oven", None, 202, b'{"status": "accepted"}'),
        ("oven", Refused("no room"), 403, b'{"status": "refused", "reason": "no room"}'),
        ("oven", OSError("disk"), 503, b'{"status": "refused", "reason": "disk"}'),
        ("a/b", None, 404, b'{"status": "refused", "reason": "no entry of receive takes this method"}'),
    ],
)
def test_direct_method(tmp_path: Path, method: str, error: Exception | None, status: int, body: bytes) -> None:
    async def main() -> None:
        async with hub(tmp_path, stopped()) as (endpoint, _, settings):
            publisher = ListPublisher(auto=False)
            bench = Bench(endpoint.port, publisher=publisher, receive=RECEIVE, **settings)

            async def work() -> None:
                await until(lambda: endpoint.filters)
                endpoint.send(DEVICE, Publish(f"$iothub/methods/POST/{method}/?$rid=4f", b'{"value": 7}'))
                if status != 404:
                    await until(lambda: publisher.messages)
                    message, done = publisher.messages[0]
                    assert (message.topic, message.payload) == ("plant/oven/set", b'{"value": 7}')
                    assert done is not None
                    done(error)
                await until(lambda: endpoint.messages)

            await bench.during(work())
            (answer,) = endpoint.messages
            assert (answer.topic, answer.payload) == (f"$iothub/methods/res/{status}/?$rid=4f", body)

    play(main())


def test_no_echo_is_feared(tmp_path: Path) -> None:
    """A plain broker of version 3.1.1 would send these messages back; a hub has no topics that could overlap."""

    async def main() -> None:
        async with hub(tmp_path, stopped()) as (endpoint, _, settings):
            same = {"forward": (Forward(filter="plant/#"),), "receive": (Receive(filter="plant/#"),)}
            bench = Bench(endpoint.port, [row(1)], **settings | same)
            await bench.during(bench.settled(1))

    play(main())


def test_commands_are_acknowledged_when_they_are_safe(tmp_path: Path) -> None:
    async def main() -> None:
        acknowledged: list[int] = []
        async with hub(tmp_path, stopped()) as (endpoint, _, settings):
            take = endpoint._take

            def watch(line: Any, packet: Any) -> None:
                if isinstance(packet, PubAck):
                    acknowledged.append(packet.packet_id)
                take(line, packet)

            endpoint._take = watch  # type: ignore[method-assign]
            publisher = ListPublisher(auto=False)
            bench = Bench(endpoint.port, publisher=publisher, receive=RECEIVE, **settings)

            async def work() -> None:
                await until(lambda: endpoint.filters)
                endpoint.send(DEVICE, Publish(f"{BOUND}topic=cmd%2Foven", b"1", 1, packet_id=5))
                await until(lambda: publisher.messages)
                assert acknowledged == []
                done = publisher.messages[0][1]
                assert done is not None
                done(None)
                await until(lambda: acknowledged == [5])

            await bench.during(work())

    play(main())
