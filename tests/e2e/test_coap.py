"""CoAP in a running gateway: what is answered outlives a kill, MQTT and CoAP see each other, a node is written."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from contracts.rig import free_port as any_port
from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.waiting import free_port, wait_until
from gateway.clock import Clock
from gateway.connectors.coap.config import CoapDevice, CoapPoint
from gateway.connectors.coap.sim import simulate
from peers.coap_programs import client, need_libcoap

pytestmark = pytest.mark.slow


def say(*arguments: str, **more: Any) -> str:
    return asyncio.run(client(*arguments, **more))


def test_what_was_answered_is_there_after_a_kill(start_gateway: StartGateway) -> None:
    need_libcoap()
    port = any_port(socket.SOCK_DGRAM)
    gateway = start_gateway(
        settings.listener(free_port()) + f'[listener.c]\nkind = "coap"\nbind = "127.0.0.1:{port}"\n'
    )
    url = f"coap://127.0.0.1:{port}"
    for number in range(10):
        assert say("-m", "put", "-e", f"value-{number}", f"{url}/kept/{number}") == ""
    gateway.kill()
    gateway.start()
    for number in range(10):
        assert say("-m", "get", f"{url}/kept/{number}").strip() == f"value-{number}"
    status = gateway.status()["listeners"]["c"]
    assert status["state"] == "up" and status["bound"] == [f"127.0.0.1:{port}"]
    gateway.stop()


def test_mqtt_coap_and_a_device_see_each_other(start_gateway: StartGateway) -> None:
    need_libcoap()
    mqtt, listener, node = free_port(), any_port(socket.SOCK_DGRAM), any_port(socket.SOCK_DGRAM)
    text = (
        settings.listener(mqtt)
        + f'[listener.c]\nkind = "coap"\nbind = "127.0.0.1:{listener}"\nlast = ["site/#"]\n'
        + f'[device.node]\nkind = "coap"\nurl = "coap://127.0.0.1:{node}"\ntopic = "site/node"\n'
        + '[[device.node.point]]\nname = "t"\npath = "/t"\nobserve = true\nwrite = { min = 0, max = 50 }\n'
    )
    config = CoapDevice(url=f"coap://127.0.0.1:{node}", point=(CoapPoint(name="t", path="/t"),))
    url = f"coap://127.0.0.1:{listener}"

    async def main() -> None:
        simulation = simulate({"node": config}, Clock())
        await simulation.start()
        try:
            gateway = await asyncio.to_thread(start_gateway, text)
            collector = Collector(mqtt, "#")
            for value in (7, 21.5):
                simulation.set("node", "t", value)
                await asyncio.to_thread(
                    wait_until, lambda value=value: is_there(collector, value), 10, f"MQTT has {value}"
                )
            assert json.loads(await client("-m", "get", f"{url}/site/node/t"))["v"] == 21.5
            seen = asyncio.create_task(client("-s", "2", "-m", "get", f"{url}/alarms/1"))
            await asyncio.sleep(0.5)
            publisher = await asyncio.to_thread(Publisher, mqtt, "operator")
            await asyncio.to_thread(publisher.publish, "alarms/1", b"<hot>")
            assert "<hot>" in await seen
            # A command by CoAP: the same desk, ledger and answer as by MQTT.
            await client("-m", "post", "-t", "50", "-e", '{"id":"c1","value":33}', f"{url}/site/node/t/set")
            await asyncio.to_thread(collector.wait_for, "site/node/t/set/result", 10)
            (result,) = [one for one in collector.received if one.topic == "site/node/t/set/result"]
            assert json.loads(result.payload) == {"id": "c1", "status": "done", "value": 33}
            assert simulation.get("node", "t") == 33
            collector.close()
            publisher.close()
            await asyncio.to_thread(gateway.stop)
        finally:
            await simulation.stop()

    asyncio.run(main())


def is_there(collector: Collector, value: float) -> bool:
    return any(one.topic == "site/node/t" and json.loads(one.payload)["v"] == value for one in list(collector.received))
