"""A CoAP device of ours at the connector: observing, several points of one answer, faults, nodes that sleep."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from contracts.rig import free_port
from gateway.clock import Clock
from gateway.connectors.base import Quality
from gateway.connectors.coap.config import CoapDevice, CoapPoint
from gateway.connectors.coap.connector import CoapConnector
from gateway.connectors.coap.sim import CoapSimulation, simulate
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected, Retry


def point(name: str, path: str, **more: Any) -> CoapPoint:
    return CoapPoint(name=name, path=path, **more)


def device(*points: CoapPoint, **more: Any) -> CoapDevice:
    terms: dict[str, Any] = {"poll": 0.02, "timeout": 0.4, "ack_timeout": 0.1, "stale_after": 3, **more}
    return CoapDevice(url=f"coap://127.0.0.1:{free_port(socket.SOCK_DGRAM)}", point=points, **terms)


class Stage:
    def __init__(self, config: CoapDevice) -> None:
        self.config = config
        self.simulation: CoapSimulation = simulate({"dev": config}, Clock())
        self.port = FakePort()
        self.connector = CoapConnector("dev", config, self.port)
        self.events: list[str] = []

    async def live(self) -> None:
        while True:
            try:
                await self.connector.run(lambda: self.events.append("up"))
            except Retry as retry:
                self.events.append(str(retry))
            await asyncio.sleep(0.01)

    def set(self, name: str, value: Any) -> None:
        self.simulation.set("dev", name, value)

    def fault(self, kind: str, amount: float = 0.0) -> None:
        self.simulation.fault("dev", kind, amount)


@asynccontextmanager
async def stage(*points: CoapPoint, start: bool = True, **more: Any) -> AsyncIterator[Stage]:
    it = Stage(device(*points, **more))
    if start:
        await it.simulation.start()
    task = asyncio.create_task(it.live())
    try:
        yield it
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await it.simulation.stop()


def test_one_answer_brings_several_points() -> None:
    async def main() -> None:
        points = (
            point("t", "/air", content="senml-json", field="air/t"),
            point("h", "/air", content="senml-json", field="air/h"),
        )
        async with stage(*points) as it:
            it.set("t", 21.5)
            it.set("h", 40)
            await it.port.value("t", 21.5)
            await it.port.value("h", 40)
            await asyncio.sleep(0.1)
            status = it.connector.status()
            assert status["requests"] <= status["scans"]["due"] + 1, "one question for both"

    run(main())


@pytest.mark.parametrize("content", ["text", "json", "cbor", "senml-json", "senml-cbor", "tlv"])
def test_each_content_is_read_and_written(content: str) -> None:
    async def main() -> None:
        field = {"json": "/a/v", "cbor": "/v", "senml-json": "v", "senml-cbor": "v", "tlv": "5700"}.get(content)
        one = point("p", "/3303/0", content=content, field=field, type="float", write=WriteLimits(), scale=0.1)
        async with stage(one) as it:
            it.set("p", 21.5)
            await it.port.value("p", 21.5)
            assert await it.connector.write("p", 33.5) == 33.5
            assert it.simulation.get("dev", "p") == 33.5

    run(main())


def test_an_observed_point_is_not_polled_and_follows_each_change() -> None:
    async def main() -> None:
        async with stage(point("p", "/p", observe=True)) as it:
            await it.port.value("p", 0)
            for value in range(1, 6):
                it.set("p", value)
                await it.port.value("p", value)
            assert it.connector.status()["scans"]["due"] == 0
            assert it.connector.status()["notifications"] >= 6

    run(main())


def test_an_observation_is_made_anew_when_nothing_is_heard() -> None:
    async def main() -> None:
        async with stage(point("p", "/p", observe=True), refresh=0.2) as it:
            await it.port.value("p", 0)
            it.fault("reboot", 0.0)
            await it.port.until(lambda: it.port.emitted >= 3)
            it.set("p", 7)
            await it.port.value("p", 7)

    run(main())


def test_a_resource_that_cannot_be_observed_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def decline(*_: Any) -> None:
        pass

    monkeypatch.setattr("gateway.connectors.coap.sim._Resource.add_observation", decline)

    async def main() -> None:
        async with stage(point("p", "/p", observe=True)) as it:
            await it.port.until(lambda: it.port.emitted >= 3)
            assert it.connector.status()["notifications"] == 0

    run(main())


def test_a_mute_device_costs_each_question_its_time_and_then_the_connection() -> None:
    async def main() -> None:
        async with stage(point("a", "/a"), point("b", "/b"), timeout=0.1) as it:
            await it.port.value("b", 0)
            it.fault("mute")
            await it.port.quality("a", Quality.STALE)
            await it.port.quality("b", Quality.STALE)
            assert "no answer within 0.1 s" in it.port.last["a"].reason
            while len(it.events) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert it.events[1].startswith("no connection to coap://127.0.0.1")
            it.fault("none")
            it.set("a", 5)
            await it.port.value("a", 5)

    run(main())


def test_a_request_that_was_given_up_holds_nothing_back() -> None:
    """aiocoap would repeat it for 93 seconds, and send nothing else meanwhile."""

    async def main() -> None:
        async with stage(point("p", "/p"), ack_timeout=30.0, timeout=0.1, stale_after=100) as it:
            await it.port.value("p", 0)
            it.fault("mute")
            await it.port.until(lambda: True)
            while it.connector.status()["timeouts"] < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            it.fault("none")
            it.set("p", 9)
            await it.port.value("p", 9)
            assert it.events == ["up"]

    run(main())


def test_a_late_answer_is_an_answer() -> None:
    async def main() -> None:
        async with stage(point("p", "/p"), timeout=2.0) as it:
            it.fault("late", 0.15)
            it.set("p", 3)
            await it.port.value("p", 3)

    run(main())


@pytest.mark.parametrize(
    ("kind", "amount", "words"),
    [("garbage", 0.0, "utf-8"), ("exception", 4.04, "4.04"), ("exception", 0.0, "5.00")],
)
def test_a_wrong_answer_is_a_bad_value_with_its_reason(kind: str, amount: float, words: str) -> None:
    async def main() -> None:
        async with stage(point("p", "/p")) as it:
            await it.port.value("p", 0)
            it.fault(kind, amount)
            await it.port.quality("p", Quality.BAD)
            assert words in it.port.last["p"].reason and it.port.last["p"].value is None
            it.fault("none")
            await it.port.value("p", 0)
            assert it.events == ["up"]

    run(main())


def test_not_now_says_nothing_about_the_value() -> None:
    async def main() -> None:
        async with stage(point("p", "/p")) as it:
            await it.port.value("p", 0)
            it.fault("exception", 5.03)
            await it.port.quality("p", Quality.STALE)
            assert it.port.last["p"].value == 0

    run(main())


def test_a_large_answer_comes_in_blocks_within_a_bound() -> None:
    async def main() -> None:
        text = "x" * 5000
        async with stage(point("p", "/p", type="text", write=WriteLimits()), block=64, timeout=5.0) as it:
            it.set("p", text)
            await it.port.value("p", text)
            assert await it.connector.write("p", text[:3000]) == text[:3000]
        async with stage(point("p", "/p", type="text"), max_payload=2048, stale_after=1) as it:
            it.set("p", text)
            await it.port.until(lambda: "p" in it.port.last)
            while not any("max_payload" in event for event in it.events):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    run(main())


def test_a_write_that_the_device_refuses_is_rejected() -> None:
    async def main() -> None:
        async with stage(point("p", "/p", write=WriteLimits())) as it:
            await it.port.value("p", 0)
            it.fault("exception", 4.05)
            with pytest.raises(Rejected, match=r"refused it: 4\.05"):
                await it.connector.write("p", 1)
            it.fault("exception", 5.03)
            with pytest.raises(Retry, match=r"did not do it: 5\.03"):
                await it.connector.write("p", 1)
            it.fault("mute")
            with pytest.raises(Retry, match="it may have been written"):
                await it.connector.write("p", 1)

    run(main())


def test_a_point_may_be_written_elsewhere() -> None:
    async def main() -> None:
        async with stage(point("p", "/state", write_path="/command", write=WriteLimits())) as it:
            await it.port.value("p", 0)
            assert await it.connector.write("p", 4) == 4

    run(main())


def test_a_sleeping_node_is_asked_until_it_shows_itself_and_writes_wait() -> None:
    async def main() -> None:
        one = point("p", "/p", write=WriteLimits())
        async with stage(one, expect=3600.0, timeout=0.1, start=False) as it:
            with pytest.raises(Retry, match="sleeps|not connected"):
                await it.connector.write("p", 1)
            ready = asyncio.create_task(it.connector.ready())
            while it.connector.status()["timeouts"] < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not ready.done() and it.connector.status()["state"] == "asleep"
            assert it.events == [] and it.port.samples == [], "it sleeps; that is no trouble"
            await it.simulation.start()
            await asyncio.wait_for(ready, 5)
            assert await it.connector.write("p", 1) == 1
            assert it.events == ["up"] and it.connector.status()["state"] == "up"

    run(main())


def test_a_node_that_overslept_is_said_to_have() -> None:
    async def main() -> None:
        connector = CoapConnector("dev", device(point("p", "/p"), expect=1.0), FakePort())
        object.__setattr__(connector._config, "expect", 0.01)
        with pytest.raises(Retry, match="has not shown itself for 0.02 s; nothing was written"):
            await connector.ready()

    run(main())


def test_a_name_that_nobody_knows_is_retry() -> None:
    async def main() -> None:
        config = CoapDevice(url="coap://no-such-name.invalid", timeout=5.0, point=(point("p", "/p"),))
        with pytest.raises(Retry, match="cannot connect to coap://no-such-name.invalid"):
            await CoapConnector("dev", config, FakePort()).run(lambda: None)

    run(main())


def test_a_kernel_without_ipv6_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.connectors.coap.client._has_ipv6", lambda: False)

    async def main() -> None:
        async with stage(point("p", "/p", observe=True, write=WriteLimits()), refresh=0.2) as it:
            await it.port.value("p", 0)
            assert await it.connector.write("p", 1) == 1
            it.set("p", 5)
            await it.port.value("p", 5)
            await it.simulation.stop()
            await it.port.quality("p", Quality.STALE)

    run(main())


def test_two_devices_may_share_an_address() -> None:
    async def main() -> None:
        first = device(point("a", "/a"))
        second = CoapDevice(url=first.url, point=(point("b", "/b"),))
        simulation = simulate({"one": first, "two": second}, Clock())
        await simulation.start()
        try:
            port = FakePort()
            task = asyncio.create_task(CoapConnector("two", second, port).run(lambda: None))
            simulation.set("two", "b", 8)
            await port.value("b", 8)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with pytest.raises(OSError, match="in use"):
                await simulate({"one": first}, Clock()).start()
            with pytest.raises(ValueError, match="can be none, mute"):
                simulation.fault("one", "on fire")
        finally:
            await simulation.stop()

    run(main())
