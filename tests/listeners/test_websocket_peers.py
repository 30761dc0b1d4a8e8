"""WebSocket clients that nobody here wrote, over ws and wss: mqtt.js and paho, each as subscriber and publisher."""

from __future__ import annotations

import json
import queue
import ssl
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import trustme
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from e2e.rig.gateway import GatewayProcess
from e2e.rig.programs import NODE_MODULES, PEERS, need_node
from e2e.rig.waiting import free_port
from listeners.stage import write_pair

pytestmark = pytest.mark.slow

_numbers = count()
SECONDS = 10.0


class Gateway:
    """Where the gateway of this file listens: ``ports`` by scheme, and the certificate of who signed its own."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        write_pair(folder, authority)
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.ports = {"ws": free_port(), "wss": free_port()}
        lines = [
            line
            for scheme, port in self.ports.items()
            for line in (f"[listener.{scheme}]", 'kind = "websocket"', f'bind = "127.0.0.1:{port}"')
        ]
        lines.append(f'tls = {{ cert = "{folder}/cert.pem", key = "{folder}/key.pem" }}')
        self.process = GatewayProcess(folder / "gateway", "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("websocket"))
    try:
        gateway.process.start()
        yield gateway
    finally:
        gateway.process.close()


def node(gateway: Gateway, scheme: str, version: int, **order: object) -> subprocess.Popen[str]:
    order |= {"url": f"{scheme}://127.0.0.1:{gateway.ports[scheme]}/mqtt", "version": version}
    if scheme == "wss":
        order["ca"] = str(gateway.ca)
    command = [need_node("mqtt"), str(PEERS / "mqtt_client.js"), json.dumps(order)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"NODE_PATH": str(NODE_MODULES)})


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_mqtt_js(gateway: Gateway, scheme: str, version: int) -> None:
    topic = f"web/{next(_numbers)}"
    subscriber = node(gateway, scheme, version, act="subscribe", topic=topic, qos=2)
    assert subscriber.stdout is not None
    try:
        assert subscriber.stdout.readline() == "subscribed\n"
        for qos in (0, 1, 2):
            payload = f"päckchen {qos} " + "x" * 30_000 * qos
            publisher = node(
                gateway, scheme, version, act="publish", topic=topic, qos=qos, retain=False, payload=payload
            )
            assert publisher.communicate(timeout=SECONDS)[0] == "published\n"
            assert subscriber.stdout.readline() == f"{qos} 0 {payload}\n"
    finally:
        subscriber.terminate()
        subscriber.communicate(timeout=SECONDS)


def client(gateway: Gateway, scheme: str, version: MQTTProtocolVersion) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version, transport="websockets")
    client.ws_set_options(path="/mqtt")
    if scheme == "wss":
        client.tls_set_context(ssl.create_default_context(cafile=str(gateway.ca)))
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", gateway.ports[scheme])
    client.loop_start()
    assert connected.wait(SECONDS)
    return client


@pytest.mark.parametrize(
    "version", [MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]
)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_paho(gateway: Gateway, scheme: str, version: MQTTProtocolVersion) -> None:
    topic = f"web/{next(_numbers)}"
    messages: queue.SimpleQueue[paho.MQTTMessage] = queue.SimpleQueue()
    subscribed = threading.Event()
    subscriber, publisher = client(gateway, scheme, version), client(gateway, scheme, version)
    try:
        subscriber.on_message = lambda _c, _d, message: messages.put(message)
        subscriber.on_subscribe = lambda *_: subscribed.set()
        subscriber.subscribe(topic, 2)
        assert subscribed.wait(SECONDS)
        for qos in (0, 1, 2):
            payload = b"x" * 30_000 * qos
            publisher.publish(topic, payload, qos).wait_for_publish(SECONDS)
            got = messages.get(timeout=SECONDS)
            assert (got.qos, got.payload) == (qos, payload)
    finally:
        for one in (subscriber, publisher):
            one.disconnect()
            one.loop_stop()
