"""The OPC-UA client against a simulated server whose line is spoilt, and against asyncua's own faults."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from gateway.clock import Clock
from gateway.config.declare import File, Secret
from gateway.connectors.base import Quality
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.connector import OpcuaConnector
from gateway.connectors.opcua.sim import Station, simulate
from gateway.connectors.points import WriteLimits
from gateway.errors import Rejected, Retry
from gateway.opcua.identity import make
from gateway.opcua.stack import ua
from gateway.opcua.trust import TrustList
from opcua.elsewhere import Elsewhere

POINTS = (
    OpcuaPoint(name="a", node="ns=2;s=A", write=WriteLimits()),
    OpcuaPoint(name="b", node="nsu=urn:plant;s=B"),
    OpcuaPoint(name="c", node="Objects/plant:Box/plant:C", poll=0.1),
)


def config(url: str, **more: Any) -> OpcuaDevice:
    given: dict[str, Any] = {
        "poll": 0.02, "timeout": 2.0, "keep_alive": 0.5, "namespaces": {"plant": "urn:plant"}, "point": POINTS,
    }  # fmt: skip
    return OpcuaDevice(url=url, **(given | more))


class World:
    """A station on a loop of its own, and a connector for it on ours."""

    def __init__(self, station: Station, there: Elsewhere, device: OpcuaDevice, state: Path | None) -> None:
        self.station = station
        self.there = there
        self.port = FakePort(shared={"state folder": state})
        self.connector = OpcuaConnector("dev", device, self.port)
        self.events: list[str] = []

    def put(self, name: str, value: Any) -> None:
        self.there.loop.call_soon_threadsafe(self.station.put, ("dev", name), value)

    def fault(self, kind: str, amount: float = 0.0) -> None:
        self.there.loop.call_soon_threadsafe(self.station.fault, kind, amount)

    async def happened(self, true: Callable[[], bool]) -> None:
        """Wait for what brings no value; fails after 10 seconds."""
        for _ in range(1000):
            if true():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.events)

    async def live(self) -> None:
        while True:
            try:
                await self.connector.run(lambda: self.events.append("up"))
            except Retry as error:
                self.events.append(str(error))
            await asyncio.sleep(0.02)


@asynccontextmanager
async def world(state: Path | None = None, **more: Any) -> AsyncIterator[World]:
    there = Elsewhere()
    device = config("opc.tcp://127.0.0.1:1", **more)
    # A port of the system's choice, kept over restarts of the station.
    station = Station("opc.tcp://127.0.0.1/", {"dev": device}, Clock())
    station._port = 0
    await there.do(station.start())
    made = World(station, there, config(f"opc.tcp://127.0.0.1:{station.port}", **more), state)
    task = asyncio.create_task(made.live())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await there.do(station.stop())
        await there.close()


@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_all_kinds_of_addresses_are_read_and_changes_come(mode: str) -> None:
    async def main() -> None:
        async with world(mode=mode) as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            for name, value in (("a", 1.5), ("b", 2.5), ("c", 3.5)):
                made.put(name, value)
                await made.port.value(name, value)
            status = made.connector.status()
            assert (status["subscriptions"], status["polled"]) == ((2, 0) if mode == "subscribe" else (0, 3))
            assert status["missing"] == {}

    run(main())


def test_a_good_status_is_no_fault_and_the_refusal_names_statuses() -> None:
    station = Station("opc.tcp://127.0.0.1:4840", {"dev": config("opc.tcp://127.0.0.1:4840")}, Clock())
    with pytest.raises(ValueError, match=r"such as 2156724224 \(BadOutOfService\), or 0 .*; 1 is Good"):
        station.fault("exception", 1)


def test_a_point_that_is_not_there_is_bad_and_the_others_are_good() -> None:
    async def main() -> None:
        async with world() as made:
            more = (*POINTS, OpcuaPoint(name="x", node="ns=2;s=None"), OpcuaPoint(name="y", node="nsu=urn:no;s=A"),
                    OpcuaPoint(name="z", node="Objects/0:None"))  # fmt: skip
            port = FakePort()
            url = f"opc.tcp://127.0.0.1:{made.station.port}"
            task = asyncio.create_task(OpcuaConnector("two", config(url, point=more), port).run(lambda: None))
            await port.until(lambda: len(port.last) == 6)
            assert port.last["x"].reason == "BadNodeIdUnknown"
            assert "no namespace" in port.last["y"].reason
            assert "no node at this path" in port.last["z"].reason
            assert port.good("a") and port.good("b") and port.good("c")
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["subscribe", "poll"])
def test_a_mute_server_is_given_up_and_found_again(mode: str) -> None:
    """The watchdog of a subscription, and the limit of a read."""

    async def main() -> None:
        async with world(mode=mode, timeout=0.5) as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            made.fault("mute")
            await made.port.quality("a", Quality.STALE)
            await made.happened(lambda: any("silent for" in one or "did not answer" in one for one in made.events))
            made.fault("none")
            await made.port.quality("a", Quality.GOOD)

    run(main())


@pytest.mark.slow
def test_garbage_and_cut_lines_are_a_new_connection() -> None:
    async def main() -> None:
        async with world() as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            made.there.loop.call_soon_threadsafe(made.station.front.cut)
            await made.happened(lambda: made.events.count("up") == 2)
            made.fault("garbage")
            made.put("a", 8.0)
            await made.happened(lambda: len(made.events) > 3)
            made.fault("none")
            await made.port.value("a", 8.0)
            assert {type(event) for event in made.events} == {str}

    run(main())


@pytest.mark.slow
def test_a_reboot_loses_what_was_written_and_values_are_read_once() -> None:
    async def main() -> None:
        async with world() as made:
            made.put("a", 5.0)
            await made.port.value("a", 5.0)
            made.fault("reboot", 0.1)
            await made.port.value("a", 0.0)
            assert made.connector.status()["connects"] == 2
            assert made.station.front.connections == 1

    run(main())


def test_a_bad_status_is_never_a_value() -> None:
    async def main() -> None:
        async with world() as made:
            made.put("a", 5.0)
            await made.port.value("a", 5.0)
            made.fault("exception", ua.StatusCodes.BadSensorFailure)
            await made.port.quality("a", Quality.BAD)
            assert (made.port.last["a"].value, made.port.last["a"].reason) == (None, "BadSensorFailure")
            made.fault("exception", ua.StatusCodes.UncertainSensorNotAccurate)
            await made.port.quality("a", Quality.UNCERTAIN)
            assert (made.port.last["a"].value, made.port.last["a"].reason) == (5.0, "UncertainSensorNotAccurate")

    run(main())


@pytest.mark.slow
def test_a_server_that_refuses_subscriptions_is_polled() -> None:
    async def main() -> None:
        async with world() as made:
            await made.port.until(lambda: len(made.port.last) == 3)

            def refuse() -> None:
                made.station.server.iserver.max_subscriptions = 0
                made.station.front.cut()

            made.there.loop.call_soon_threadsafe(refuse)
            await made.happened(lambda: made.events.count("up") == 2)
            made.put("b", 9.0)
            await made.port.value("b", 9.0)
            status = made.connector.status()
            assert (status["subscriptions"], status["polled"]) == (0, 3)
            assert "BadTooManySubscriptions" in status["fallback"]

    run(main())


def test_what_a_write_is_refused_for() -> None:
    async def main() -> None:
        async with world() as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            assert await made.connector.write("a", 7) == 7.0
            with pytest.raises(Retry, match="not known"):
                await made.connector.write("b", 1.0)

            def lock() -> None:
                node = made.station.server.iserver.aspace[ua.NodeId("A", 2)]
                node.attributes[ua.AttributeIds.UserAccessLevel].value = ua.DataValue(
                    ua.Variant(1, ua.VariantType.Byte)
                )

            made.there.loop.call_soon_threadsafe(lock)
            await made.there.do(asyncio.sleep(0))
            with pytest.raises(Rejected, match="BadUserAccessDenied"):
                await made.connector.write("a", 8.0)

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"])
def test_a_secure_connection_after_the_certificate_was_trusted(tmp_path: Path, policy: str) -> None:
    async def main() -> None:
        mode = "sign" if policy.startswith("Aes128") else "sign_and_encrypt"
        login = {"user": "me", "password": Secret("secret")}
        async with world(tmp_path, security=policy, security_mode=mode, **login) as made:
            await made.happened(lambda: bool(made.events))
            assert "is not trusted" in made.events[0] and "gateway opcua trust" in made.events[0]
            assert made.port.last == {}
            trusting = TrustList(tmp_path)
            trusting.trust(trusting.entries()[0].thumbprint)
            made.put("a", 4.0)
            await made.port.value("a", 4.0)
            assert await made.connector.write("a", 5.0) == 5.0

    run(main())


@pytest.mark.slow
def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(user="me", password=Secret("right"), plain_password=True) as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            url = f"opc.tcp://127.0.0.1:{made.station.port}"
            wrong = config(url, user="me", password=Secret("wrong"), plain_password=True)
            with pytest.raises(Retry, match="refuses the user or the password"):
                await OpcuaConnector("two", wrong, FakePort()).run(lambda: None)
            other = config(url, security="Basic256Sha256")
            with pytest.raises(Retry, match="state folder"):
                await OpcuaConnector("two", other, FakePort()).run(lambda: None)

    run(main())


def test_a_password_does_not_go_out_in_the_clear_unless_it_is_said() -> None:
    async def main() -> None:
        async with world() as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            url = f"opc.tcp://127.0.0.1:{made.station.port}"
            with pytest.raises(Retry, match="wants the password unencrypted"):
                await OpcuaConnector("two", config(url, user="me", password=Secret("p")), FakePort()).run(lambda: None)
            said = config(url, user="me", password=Secret("p"), plain_password=True)
            with pytest.raises(Retry, match="refuses the user or the password"):
                await OpcuaConnector("two", said, FakePort()).run(lambda: None)

    run(main())


@pytest.mark.slow
def test_our_own_certificate_and_that_of_a_user(tmp_path: Path) -> None:
    async def main() -> None:
        files = {}
        operator = b""
        for name, uri in (("application", "urn:mine"), ("operator", "urn:operator")):
            certificate, key = make(name, 1_800_000_000.0, uri)
            operator = certificate
            for kind, content in (("certificate", certificate), ("key", key)):
                path = tmp_path / f"{name}.{kind}"
                path.write_bytes(content)
                files[f"{name}.{kind}"] = File(str(path))
        more = {
            "security": "Basic256Sha256",
            "certificate": files["application.certificate"],
            "key": files["application.key"],
            "user_certificate": files["operator.certificate"],
            "user_key": files["operator.key"],
        }
        async with world(tmp_path, **more) as made:
            seen: list[Any] = []

            def look() -> None:
                users = made.station.server.iserver.user_manager
                real = users.get_user

                def get_user(server: Any, **told: Any) -> Any:
                    seen.append(told["certificate"])
                    return real(server, **told)

                users.get_user = get_user

            made.there.loop.call_soon_threadsafe(look)
            await made.happened(lambda: bool(made.events))
            trusting = TrustList(tmp_path)
            trusting.trust(trusting.entries()[0].thumbprint)
            await made.port.until(lambda: len(made.port.last) == 3)
            assert not (tmp_path / "opcua" / "own").exists()
            assert operator in seen

    run(main())


def test_max_items_and_time_are_used() -> None:
    async def main() -> None:
        async with world(max_items=3, time="gateway") as made:
            made.put("a", [1.0, 2.0, 3.0, 4.0])
            await made.port.quality("a", Quality.BAD)
            assert "max_items" in made.port.last["a"].reason
            made.put("a", [1.0, 2.0, 3.0])
            await made.port.value("a", [1.0, 2.0, 3.0])

    run(main())


def test_a_policy_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with world() as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            secure = config(f"opc.tcp://127.0.0.1:{made.station.port}", security="Basic256Sha256")
            with pytest.raises(Retry, match="does not offer Basic256Sha256 sign_and_encrypt; it has None"):
                await OpcuaConnector("two", secure, FakePort(shared={"state folder": tmp_path})).run(lambda: None)

    run(main())


@pytest.mark.slow
def test_nothing_of_asyncua_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world(timeout=0.3) as made:
            await made.port.until(lambda: len(made.port.last) == 3)
            made.fault("garbage")
            made.put("a", 1.0)
            await made.happened(lambda: len(made.events) > 3)

    with caplog.at_level(logging.DEBUG):
        run(main())
    assert not [record for record in caplog.records if record.name.startswith("asyncua")]


def test_the_simulation_speaks_in_the_unit_of_the_points() -> None:
    async def main() -> None:
        point = OpcuaPoint(name="t", node="ns=2;s=T", scale=0.1, write=WriteLimits())
        mode = OpcuaPoint(name="m", node="ns=3;i=7", values={"0": "off", "1": "run"})
        plant = simulate({"dev": config("opc.tcp://127.0.0.1:1", point=(point, mode))}, Clock())
        plant.stations[0]._port = 0
        await plant.start()
        plant.set("dev", "t", 21.5)
        plant.set("dev", "m", "run")
        assert (plant.get("dev", "t"), plant.get("dev", "m")) == (21.5, "run")
        with pytest.raises(ValueError, match="has no fault"):
            plant.fault("dev", "tired")
        await plant.stop()

    run(main())
