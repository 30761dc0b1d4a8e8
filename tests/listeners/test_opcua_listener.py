"""The OPC-UA server: what it shows, to whom, and what becomes of a write."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from connectors.fakes import run
from gateway.broker.broker import Broker
from gateway.broker.port import Done, Subscriber
from gateway.broker.retained import Retained
from gateway.clock import Clock
from gateway.config.declare import Secret
from gateway.config.opcua import OpcuaListener as Settings
from gateway.config.opcua import OpcuaUser
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.points import WriteLimits
from gateway.errors import GatewayError, Retry
from gateway.listeners.base import Plant
from gateway.listeners.opcua import OpcuaListener
from gateway.listeners.opcua_nodes import data_of, variant_of
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.opcua.identity import make
from gateway.opcua.stack import Client, security_policies, ua
from gateway.opcua.trust import TrustList

MODULES = Path(__file__).parents[2] / ".venv" / "peers" / "node_modules"


class Desk(Subscriber):
    """Answers commands."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.status = "done"
        self.seen: list[Any] = []

    def deliver(self, message: Message, done: Done | None) -> bool:
        value = cast(dict[str, Any], message.value)
        self.seen.append((message.topic, value["value"]))
        if self.status:
            answer = {"id": value["id"], "status": self.status, "value": value["value"]}
            self.broker.publish(Message(f"{message.topic}/result", value=answer))
        return False


class World:
    def __init__(self, state: Path, settings: Settings) -> None:
        self.broker = Broker(Metrics(), Retained(100, 100_000))
        point = OpcuaPoint(name="setpoint", node="i=1", unit="Cel", write=WriteLimits())
        devices = {
            "boiler": OpcuaDevice(
                url="opc.tcp://127.0.0.1", topic="plant/boiler", point=(point, OpcuaPoint(name="temp", node="i=2"))
            )
        }
        server = SimpleNamespace(broker=self.broker, metrics=Metrics())
        self.listener = OpcuaListener(
            "scada", settings, cast(Any, server), Clock(), cast(Any, None), plant=Plant(state, devices)
        )
        self.desk = Desk(self.broker)
        self.broker.subscribe("plant/boiler/+/set", self.desk)

    def say(self, topic: str, value: Any) -> None:
        self.broker.publish(Message(topic, value=value, time=1_700_000_000.0))

    @property
    def url(self) -> str:
        return f"opc.tcp://{self.listener.bound[0]}"


def settings(**more: Any) -> Settings:
    given: dict[str, Any] = {"bind": "127.0.0.1:0", "topics": ("plant/#",), "security": ("none",), "anonymous": True}
    return Settings(**(given | more))


@asynccontextmanager
async def world(state: Path, **more: Any) -> AsyncIterator[World]:
    made = World(state, settings(**more))
    up = asyncio.Event()
    task = asyncio.create_task(made.listener.run(up.set))
    try:
        async with asyncio.timeout(30):
            await up.wait()
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def client(url: str, prepare: Callable[[Any], Any] = lambda client: None) -> AsyncIterator[Any]:
    made = Client(url)
    await prepare(made) if asyncio.iscoroutinefunction(prepare) else prepare(made)
    await made.connect()
    try:
        yield made
    finally:
        await made.disconnect()


async def node(client: Any, topic: str) -> Any:
    index = await client.get_namespace_index("urn:edge-gateway:points")
    return client.get_node(ua.NodeId(topic, index))


async def until(true: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while True:
            found = await true()
            if found:
                return found
            await asyncio.sleep(0.01)


def test_points_are_there_before_their_first_value(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as made, client(made.url) as opc:
            one = await node(opc, "plant/boiler/temp")
            data = await one.read_data_value(raise_on_bad_status=False)
            assert data.StatusCode.value == ua.StatusCodes.BadWaitingForInitialData
            unit = (await (await node(opc, "plant/boiler/setpoint")).get_properties())[0]
            assert await unit.read_value() == "Cel"
            assert made.listener.status()["nodes"] == 2

    run(main())


def test_values_have_their_quality_and_source_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as made, client(made.url) as opc:
            one = await node(opc, "plant/boiler/temp")
            for quality, status in (
                ("good", "Good"),
                ("uncertain", "Uncertain"),
                ("stale", "UncertainLastUsableValue"),
            ):
                made.say("plant/boiler/temp", {"v": 71.5, "q": quality, "t": "2024-05-06T07:08:09.123Z"})
                code = getattr(ua.StatusCodes, status)

                async def shown(code: int = code) -> Any:
                    data = await one.read_data_value(raise_on_bad_status=False)
                    return data if data.StatusCode.value == code else None

                data = await until(shown)
                assert data.Value.Value == 71.5
                assert data.SourceTimestamp.isoformat() == "2024-05-06T07:08:09.123000+00:00"
            made.say("plant/boiler/temp", {"v": 71.5, "q": "bad", "t": "2024-05-06T07:08:09.123Z"})

            async def is_bad() -> Any:
                data = await one.read_data_value(raise_on_bad_status=False)
                return data if data.StatusCode.value == ua.StatusCodes.Bad else None

            assert (await until(is_bad)).Value.Value is None

    run(main())


def test_other_topics_appear_with_their_first_message_up_to_a_bound(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path, max_nodes=3) as made, client(made.url) as opc:
            made.say("plant/a/x", 5)
            made.say("plant/a/y", 6)
            made.say("other/z", 7)
            one = await node(opc, "plant/a/x")

            async def value() -> Any:
                with suppress(ua.UaError):
                    return await one.read_value()

            assert await until(value) == 5.0
            assert made.listener.status()["nodes"] == 3
            assert made.listener.status()["left_out"] == 1

    run(main())


def test_a_subscription_hears_of_changes(tmp_path: Path) -> None:
    async def main() -> None:
        heard: list[Any] = []

        class Handler:
            def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
                heard.append(value)

        async with world(tmp_path) as made, client(made.url) as opc:
            made.say("plant/boiler/temp", 1)
            subscription = await opc.create_subscription(20, Handler())
            await subscription.subscribe_data_change(await node(opc, "plant/boiler/temp"))
            made.say("plant/boiler/temp", 2)

            async def both() -> bool:
                return heard[-1:] == [2.0]

            await until(both)
            await subscription.delete()

    run(main())


def as_user(name: str, password: str) -> Callable[[Any], None]:
    def prepare(client: Any) -> None:
        client.set_user(name)
        client.set_password(password)

    return prepare


USERS = (OpcuaUser(name="scada", password=Secret("s3"), write=True), OpcuaUser(name="view", password=Secret("v3")))
BOTH = ("none", "Basic256Sha256")


@pytest.mark.parametrize(
    ("answer", "status"), [("done", "Good"), ("rejected", "BadOutOfRange"), ("failed", "BadCommunicationError")]
)
def test_a_write_is_a_command_and_its_status_the_answer(tmp_path: Path, answer: str, status: str) -> None:
    async def main() -> None:
        async with world(tmp_path, user=USERS, security=BOTH) as made:
            made.desk.status = answer
            async with client(made.url, as_user("scada", "s3")) as opc:
                one = await node(opc, "plant/boiler/setpoint")
                if status == "Good":
                    await one.write_value(ua.Variant(55.5, ua.VariantType.Double))
                else:
                    with pytest.raises(ua.UaError, match=status):
                        await one.write_value(ua.Variant(55.5, ua.VariantType.Double))
            assert made.desk.seen == [("plant/boiler/setpoint/set", 55.5)]

    run(main())


def test_who_may_not_write_does_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path, user=USERS, security=BOTH) as made:
            for prepare in (as_user("view", "v3"), lambda client: None):
                async with client(made.url, prepare) as opc:
                    with pytest.raises(ua.UaError, match="BadUserAccessDenied"):
                        await (await node(opc, "plant/boiler/setpoint")).write_value(1.0)
            async with client(made.url, as_user("scada", "s3")) as opc:
                with pytest.raises(ua.UaError, match="BadNotWritable"):
                    await (await node(opc, "plant/boiler/temp")).write_value(1.0)
                with pytest.raises(ua.UaError, match="Bad"):
                    await (await node(opc, "plant/boiler/setpoint")).write_attribute(
                        ua.AttributeIds.DisplayName, ua.DataValue(ua.LocalizedText("x"))
                    )
            assert made.desk.seen == []

    run(main())


def test_wrong_users_are_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path, user=USERS, security=BOTH, anonymous=False) as made:
            for prepare in (as_user("scada", "no"), as_user("admin", "x"), lambda client: None):
                with pytest.raises(ua.UaError, match="User|Identity"):
                    async with client(made.url, prepare):
                        pass

    run(main())


@pytest.mark.slow
def test_a_client_certificate_must_be_trusted(tmp_path: Path) -> None:
    certificate, key = make("client", 1_800_000_000.0, "urn:client")

    async def secured(client: Any) -> None:
        client.application_uri = "urn:client"
        await client.set_security(
            security_policies.SecurityPolicyBasic256Sha256, certificate, key_file, mode=ua.MessageSecurityMode.Sign
        )

    key_file = str(tmp_path / "client.pem")
    Path(key_file).write_bytes(key)

    async def main() -> None:
        state = tmp_path / "state"
        async with world(state, security=("Basic256Sha256",)) as made:
            with pytest.raises((ua.UaError, OSError, AssertionError)):
                async with client(made.url, secured):
                    pass
            trusting = TrustList(state)
            (entry,) = trusting.entries()
            assert not entry.is_trusted and entry.uri == "urn:client"
            trusting.trust(entry.thumbprint[:12])
            async with client(made.url, secured) as opc:
                made.say("plant/boiler/temp", 3)
                one = await node(opc, "plant/boiler/temp")

                async def value() -> Any:
                    with suppress(ua.UaError):
                        return await one.read_value()

                assert await until(value) == 3.0

    run(main())


def test_an_address_that_is_taken_is_retry(tmp_path: Path) -> None:
    async def main() -> None:
        taken = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = taken.sockets[0].getsockname()[1]
        made = World(tmp_path, settings(bind=f"127.0.0.1:{port}"))
        with pytest.raises(Retry, match="in use"):
            await made.listener.run(lambda: None)
        taken.close()

    run(main())


def test_a_state_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def main() -> None:
        made = World(tmp_path / "file", settings(security=("Basic256Sha256",)))
        with pytest.raises(GatewayError, match="cannot use"):
            await made.listener.run(lambda: None)

    run(main())


@pytest.mark.parametrize(
    ("value", "kind", "held"),
    [
        (True, "Boolean", True),
        (5, "Double", 5.0),
        (10**400, "Double", float("inf")),
        ("x", "String", "x"),
        ([1, 2.5], "Double", [1.0, 2.5]),
        ([True, False], "Boolean", [True, False]),
        ([1, "a"], "String", '[1, "a"]'),
        ({"a": 1}, "String", '{"a": 1}'),
    ],
)
def test_types(value: Any, kind: str, held: Any) -> None:
    variant = variant_of(value)
    assert (variant.VariantType.name, variant.Value) == (kind, held)


def test_no_value_is_bad() -> None:
    assert data_of(None, 0, 0).StatusCode.value == ua.StatusCodes.BadNoData


@pytest.mark.slow
@pytest.mark.skipif(not (MODULES / "node-opcua").is_dir() or not shutil.which("node"), reason="needs node-opcua")
@pytest.mark.parametrize("policy", ["None", "Basic256Sha256"])
def test_a_node_opcua_client_reads_writes_and_subscribes(tmp_path: Path, policy: str) -> None:
    async def once(url: str) -> tuple[int, list[Any]]:
        script = str(Path(__file__).parents[1] / "peers" / "opcua_client.js")
        env = {"NODE_PATH": str(MODULES), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        process = await asyncio.create_subprocess_exec(
            "node", script, url, policy, str(tmp_path / "pki"), "scada", "s3", "plant/boiler/temp",
            "plant/boiler/setpoint=42.5", env=env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 40)
        lines = [json.loads(line) for line in output.decode().splitlines() if line.startswith("{")]
        return process.returncode or 0, lines

    async def main() -> None:
        state = tmp_path / "state"
        async with world(state, user=USERS, security=("none", "Basic256Sha256", "Aes256_Sha256_RsaPss")) as made:
            made.say("plant/boiler/temp", {"v": 20.5, "q": "good", "t": "2024-05-06T07:08:09.123Z"})
            code, said = await once(made.url)
            if policy != "None":
                assert code == 1, said
                trusting = TrustList(state)
                for entry in trusting.entries():
                    trusting.trust(entry.thumbprint)
                code, said = await once(made.url)
            assert code == 0, said
            assert said == [
                {"node": "plant/boiler/temp", "value": 20.5, "status": "Good", "time": "2024-05-06T07:08:09.123Z"},
                {"node": "plant/boiler/setpoint", "written": "Good"},
                {"node": "plant/boiler/temp", "reported": 20.5},
            ]
            assert made.desk.seen == [("plant/boiler/setpoint/set", 42.5)]

    run(main())
