"""What asyncua does and ``session.py`` makes up for (its docstring), and answers that are too much or mean nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from connectors.fakes import run
from gateway.clock import Clock
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.explain import explain
from gateway.connectors.opcua.services import Services
from gateway.connectors.opcua.session import Nonsense, Session, Status
from gateway.connectors.opcua.sim import Station
from gateway.errors import Retry
from gateway.opcua.stack import ua
from opcua.elsewhere import Elsewhere
from opcua.test_client import world

POINT = OpcuaPoint(name="a", node="ns=2;s=A")


@asynccontextmanager
async def session(timeout: float = 2.0) -> AsyncIterator[tuple[Session, Station, Elsewhere]]:
    there = Elsewhere()
    station = Station(
        "opc.tcp://127.0.0.1/", {"dev": OpcuaDevice(url="opc.tcp://127.0.0.1:1", point=(POINT,))}, Clock()
    )
    station._port = 0
    await there.do(station.start())
    made = Session(
        OpcuaDevice(url=f"opc.tcp://127.0.0.1:{station.port}", timeout=timeout, point=(POINT,)), identity=None
    )
    await made.open()
    try:
        yield made, station, there
    finally:
        await made.close()
        await there.do(station.stop())
        await there.close()


def test_no_task_of_asyncua_runs_beside_a_session() -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        async with session():
            assert asyncio.all_tasks() == before

    run(main())


def test_a_refused_service_is_a_status_with_its_name() -> None:
    async def main() -> None:
        async with session() as (made, _, _):
            request = ua.DeleteMonitoredItemsRequest()
            request.Parameters.SubscriptionId = 12345
            request.Parameters.MonitoredItemIds = [1]
            with pytest.raises(Status, match="^BadSubscriptionIdInvalid$"):
                await made.ask(request, ua.DeleteMonitoredItemsResponse)
            assert len(await Services(made).read([ua.NodeId("A", 2)])) == 1

    run(main())


def test_an_answer_that_is_late_is_the_end_of_the_connection() -> None:
    """So no late answer can be taken for another question, and no table of open questions grows."""

    async def main() -> None:
        async with session(timeout=0.3) as (made, station, there):
            there.loop.call_soon_threadsafe(station.fault, "late", 0.6)
            services = Services(made)
            with pytest.raises(Retry, match="did not answer within 0.3 s"):
                await services.read([ua.NodeId("A", 2)])
            with pytest.raises(Retry, match="closed the connection"):
                await services.read([ua.NodeId("A", 2)])

    run(main())


def test_goodbye_to_a_mute_server_is_short() -> None:
    """asyncua would wait twice its time-out: two minutes here."""

    async def main() -> None:
        async with session(timeout=60.0) as (made, station, there):
            there.loop.call_soon_threadsafe(station.fault, "mute")
            await there.do(asyncio.sleep(0))
            async with asyncio.timeout(10):
                await made.close()

    run(main())


def test_a_channel_that_is_refused_is_said_in_words() -> None:
    """It reaches us as asyncua's own assertion."""
    said = explain(AssertionError(), "channel", "plc:4840", 4.0)
    assert "does not accept our certificate" in str(said) and said.after == 10.0
    for code, words in (
        (ua.StatusCodes.BadCertificateUriInvalid, "another application URI"),
        (ua.StatusCodes.BadTooManySessions, "no room"),
        (ua.StatusCodes.BadInternalError, "BadInternalError"),
    ):
        assert words in str(explain(ua.UaStatusCodeError(code), "session", "plc:4840", 4.0))
    assert "Connection refused" in str(explain(ConnectionRefusedError(111, "x"), "", "plc:4840", 4.0))


def test_values_that_may_be_lost_are_read_once() -> None:
    async def main() -> None:
        async with world(point=(OpcuaPoint(name="a", node="ns=2;s=A"), OpcuaPoint(name="b", node="ns=2;s=B"))) as made:
            await made.port.until(lambda: len(made.port.last) == 2)
            await made.happened(lambda: made.connector._life is not None and not made.connector._life._again)
            life = made.connector._life
            assert life is not None
            (one,) = life.subscriptions._by_id.values()
            count = made.port.emitted
            one.number += 5
            made.put("a", 9.0)
            await made.port.value("a", 9.0)
            # b has not changed: only a reading brings it once more.
            await made.port.until(lambda: "b" in [sample.point for sample in made.port.samples[count:]])

    run(main())


class FakeSession:
    """Answers reads of numbered nodes: refuses more than three at once, and says nonsense for number 5."""

    timeout = 1.0

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def ask(self, request: Any, answer: Any, limit: float | None = None) -> Any:
        numbers = [one.NodeId.Identifier for one in request.Parameters.NodesToRead]
        self.asked.append(len(numbers))
        if len(numbers) > 3:
            raise Status(ua.StatusCodes.BadTooManyOperations)
        if 5 in numbers:
            raise Nonsense("bytes that mean nothing")
        response = ua.ReadResponse()
        response.Results = [ua.DataValue(ua.Variant(number, ua.VariantType.Int32)) for number in numbers]
        return response


def test_too_much_is_asked_in_halves_and_one_broken_value_spoils_no_other() -> None:
    async def main() -> None:
        fake = FakeSession()
        data = await Services(cast(Session, fake)).read([ua.NodeId(number, 2) for number in range(1, 9)])
        assert [one.StatusCode.name if one.StatusCode.is_bad() else one.Value.Value for one in data] == [
            1, 2, 3, 4, "BadDecodingError", 6, 7, 8,
        ]  # fmt: skip
        assert fake.asked[0] == 8

    run(main())


def test_a_service_that_cannot_be_halved_says_so() -> None:
    async def main() -> None:
        class Refusing(FakeSession):
            async def ask(self, request: Any, answer: Any, limit: float | None = None) -> Any:
                raise Status(ua.StatusCodes.BadTooManyOperations)

        with pytest.raises(Status, match="BadTooManyOperations"):
            await Services(cast(Session, Refusing())).read([ua.NodeId(1, 2)])

        class Short(FakeSession):
            async def ask(self, request: Any, answer: Any, limit: float | None = None) -> Any:
                return ua.ReadResponse()

        with pytest.raises(Retry, match="0 results for 1"):
            await Services(cast(Session, Short())).read([ua.NodeId(1, 2)])

    run(main())
