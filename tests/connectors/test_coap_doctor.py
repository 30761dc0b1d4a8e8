"""The doctor looks at CoAP devices: reads, browses, scans, writes a device file."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import run
from contracts.rig import free_port
from gateway import kinds
from gateway.clock import Clock
from gateway.config.load import read as load
from gateway.config.settings import Settings
from gateway.connectors.base import Quality
from gateway.connectors.coap.config import CoapDevice, CoapPoint
from gateway.connectors.coap.doctor import _multicast, browse, profile_of, read, scan
from gateway.connectors.coap.links import Link, parse_links
from gateway.connectors.coap.sim import CoapSimulation, simulate
from gateway.connectors.found import Found
from gateway.errors import Retry


@asynccontextmanager
async def device() -> AsyncIterator[tuple[CoapDevice, CoapSimulation]]:
    points = (
        CoapPoint(name="t", path="/3303/0", content="senml-json", field="t"),
        CoapPoint(name="v", path="/v", unit="Cel", scale=0.1),
        CoapPoint(name="missing", path="/v2", content="json", field="/a"),
    )
    config = CoapDevice(
        url=f"coap://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", timeout=1.0, ack_timeout=0.2, point=points
    )
    simulation = simulate({"d": config}, Clock())
    await simulation.start()
    try:
        yield config, simulation
    finally:
        await simulation.stop()


def test_points_are_read_once_and_what_fails_says_why() -> None:
    async def main() -> None:
        async with device() as (config, simulation):
            simulation.set("d", "t", 21.5)
            simulation.set("d", "v", 4.2)
            assert [(one.point, one.value) for one in await read(config, ["v", "t"])] == [("v", 4.2), ("t", 21.5)]
            assert len(await read(config, [])) == 3
            simulation.fault("d", "mute")
            (sample,) = await read(config, ["t"])
            assert sample.quality is Quality.BAD and "no answer within" in sample.reason
            with pytest.raises(KeyError):
                await read(config, ["nothing"])

    run(main())


def test_resources_are_listed_with_their_values_and_become_a_device_file(tmp_path: Path) -> None:
    async def main() -> list[Found]:
        async with device() as (config, simulation):
            simulation.set("d", "v", 4.2)
            found = [one async for one in browse(config)]
            assert {one.address for one in found} == {"/3303/0", "/v", "/v2"}
            (v,) = [one async for one in browse(config, "/v")][:1]
            assert (v.what, v.name, v.value) == ("point", "v", 42)
            assert v.settings == {"path": "/v", "observe": True} and "observable" in v.note
            (seen,) = [one async for one in scan(config.url, lambda text: None)]
            assert seen.settings == {"kind": "coap", "url": config.url} and "resources: " in seen.note
            simulation.fault("d", "mute")
            with pytest.raises(Retry, match="no answer"):
                _ = [one async for one in browse(config)]
            return [seen, *found]

    found: list[Any] = []

    async def keep() -> None:
        found.extend(await main())

    run(keep())
    text = profile_of(found)
    (tmp_path / "node.toml").write_text(text)
    loaded = load(tmp_path / "node.toml", Settings, kinds).value
    assert {point.name for point in loaded.device["node"].point} == {"3303_0", "v", "v2"}


def test_a_net_is_asked_address_by_address() -> None:
    async def main() -> None:
        asked: list[str] = []
        found = [one async for one in scan("127.77.0.0/30", asked.append, answer=0.05, sleep=asyncio.sleep)]
        assert asked == ["coap://127.77.0.1", "coap://127.77.0.2"] and found == []
        for bad in ("10.0.0.0/8", "nonsense"):
            with pytest.raises(ValueError, match="must be"):
                _ = [one async for one in scan(bad, asked.append)]

    run(main())


def test_whoever_answers_a_group_is_a_device() -> None:
    """The group is this machine here: what matters is one question and the answers of many."""

    async def main() -> None:
        async with device() as (config, _):
            (found,) = await _multicast("127.0.0.1", 0.3, config.endpoint.port)
            assert found.address == config.url and "/3303/0" in found.note

    run(main())


def test_links_of_the_standard() -> None:
    """RFC 6690 section 5."""
    text = (
        '</sensors>;ct=40;title="Sensor Index",</sensors/temp>;rt="temperature-c";if="sensor",'
        '</sensors/light>;rt="light-lux core.s";if="sensor";obs;ct="0 50",'
        '<http://www.example.com/sensors/t123>;anchor="/sensors/temp";rel="describedby"'
    )
    assert parse_links(text) == [
        Link("/sensors", (), (40,), "Sensor Index"),
        Link("/sensors/temp", ("temperature-c",)),
        Link("/sensors/light", ("light-lux", "core.s"), (0, 50), "", True),
    ]
    assert parse_links('</a>;title="x, y; \\"z\\"",</b>') == [Link("/a", (), (), 'x, y; "z"'), Link("/b")]
    for nonsense in ("", "abc", "<", "<>", "</a", ";;;", "<//>;=,"):
        parse_links(nonsense)
