"""A gateway between an OPC-UA device and an OPC-UA client: values up, a command and a write down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.waiting import free_port, wait_until
from gateway.clock import Clock
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.sim import Station
from gateway.connectors.points import WriteLimits
from gateway.opcua.stack import Client, ua
from opcua.elsewhere import Elsewhere

pytestmark = pytest.mark.slow


class Field:
    """A simulated server on a thread of its own."""

    def __init__(self) -> None:
        point = OpcuaPoint(name="setpoint", node="ns=2;s=SetPoint", write=WriteLimits())
        self.port = free_port()
        config = OpcuaDevice(url=f"opc.tcp://127.0.0.1:{self.port}", point=(point,))
        self._there = Elsewhere()
        self._station = Station(config.url, {"dev": config}, Clock())
        self.do(self._station.start())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._there.loop).result(30)

    def put(self, value: float) -> None:
        async def put() -> None:
            self._station.put(("dev", "setpoint"), value)

        self.do(put())

    def close(self) -> None:
        self.do(self._station.stop())
        asyncio.run(self._there.close())


async def write_and_read(port: int, value: float) -> float:
    """As the user of the OPC-UA side: write, then read."""
    client = Client(f"opc.tcp://127.0.0.1:{port}")
    client.set_user("scada")
    client.set_password("s3")
    await client.connect()
    try:
        index = await client.get_namespace_index("urn:edge-gateway:points")
        node = client.get_node(ua.NodeId("plant/boiler/setpoint", index))
        await node.write_value(ua.Variant(value, ua.VariantType.Double))
        for _ in range(200):
            found = await node.read_value()
            if found == value:
                break
            await asyncio.sleep(0.02)
        return float(found)
    finally:
        await client.disconnect()


def test_values_commands_and_writes_go_through(start_gateway: StartGateway) -> None:
    field = Field()
    mqtt, opcua = free_port(), free_port()
    gateway = start_gateway(
        settings.listener(mqtt)
        + f'[listener.scada]\nkind = "opcua"\nbind = "127.0.0.1:{opcua}"\ntopics = ["plant/#"]\n'
        + 'security = ["none", "Basic256Sha256"]\nanonymous = true\n'
        + '[[listener.scada.user]]\nname = "scada"\npassword = "s3"\nwrite = true\n\n'
        + f'[device.boiler]\nkind = "opcua"\nurl = "opc.tcp://127.0.0.1:{field.port}"\npoll = "100ms"\n'
        + 'topic = "plant/boiler"\n[[device.boiler.point]]\nname = "setpoint"\nnode = "ns=2;s=SetPoint"\n'
        + 'unit = "Cel"\nwrite = { min = 0, max = 90 }\n'
    )
    collector = Collector(mqtt, "plant/#")
    publisher = Publisher(mqtt, "operator")

    def values() -> list[Any]:
        found = [one for one in list(collector.received) if one.topic == "plant/boiler/setpoint"]
        return [json.loads(one.payload) for one in found]

    def results() -> list[Any]:
        found = [one for one in list(collector.received) if one.topic == "plant/boiler/setpoint/set/result"]
        return [json.loads(one.payload) for one in found]

    try:
        field.put(20.5)
        wait_until(lambda: [one for one in values() if one["v"] == 20.5], 20, "a value")
        last = [one for one in values() if one["v"] == 20.5][-1]
        assert (last["q"], last["u"]) == ("good", "Cel")
        publisher.publish("plant/boiler/setpoint/set", b'{"id": "7", "value": 30}')
        wait_until(results, 10, "a result")
        assert results()[-1] == {"id": "7", "status": "done", "value": 30.0}
        publisher.publish("plant/boiler/setpoint/set", b'{"id": "8", "value": 300}')
        wait_until(lambda: results()[-1]["id"] == "8", 10, "a result")
        assert results()[-1]["status"] == "rejected"
        wait_until(lambda: values()[-1]["v"] == 30, 10, "the value that was written")
        assert asyncio.run(write_and_read(opcua, 41.5)) == 41.5
        assert results()[-1]["status"] == "done"
        with pytest.raises(ua.UaError, match="BadOutOfRange"):
            asyncio.run(write_and_read(opcua, 410.0))
        assert gateway.runs
    finally:
        collector.close()
        publisher.close()
        field.close()
