"""Clients that nobody here wrote: each as subscriber and as publisher, QoS 0 to 2, over TCP, TLS and WebSocket."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trustme

from e2e.rig import settings
from e2e.rig.gateway import GatewayProcess
from e2e.rig.mqtt_clients import NAMES, VERSIONS, WITH_WEBSOCKET, Clients
from e2e.rig.mqtt_face import ANSWER_SECONDS, Got, Target
from e2e.rig.mqtt_libraries import Paho, close
from e2e.rig.mqtt_programs import MosquittoTools
from e2e.rig.programs import need
from e2e.rig.waiting import free_port

pytestmark = pytest.mark.slow

_numbers = count()


class Ports:
    """Where the shared gateway listens: each transport, and TLS that demands a certificate; and the certificates."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        person = authority.issue_cert("device-7", common_name="device-7")
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        self.client_cert, self.client_key = folder / "client.pem", folder / "client.key"
        authority.cert_pem.write_to_path(self.ca)
        server.private_key_pem.write_to_path(self.key)
        self.key.chmod(0o600)
        person.private_key_pem.write_to_path(self.client_key)
        for path, leaf in ((self.cert, server), (self.client_cert, person)):
            path.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.plain = Target(free_port())
        self.tls = Target(free_port(), self.ca)
        self.ws = Target(free_port(), is_websocket=True)
        self.wss = Target(free_port(), self.ca, is_websocket=True)
        self.mutual = Target(free_port(), self.ca)

    def settings(self) -> str:
        pair = f'cert = "{self.cert}", key = "{self.key}"'
        return (
            settings.listener(self.plain.port)
            + settings.listener(self.tls.port, "tls", f"{{ {pair} }}")
            + settings.listener(self.ws.port, "ws", kind="websocket")
            + settings.listener(self.wss.port, "wss", f"{{ {pair} }}", kind="websocket")
            + settings.listener(
                self.mutual.port, "mutual", f'{{ {pair}, client_ca = "{self.ca}", client_auth = "require" }}'
            )
        )


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """One gateway for all tests of this file; every test has a topic of its own."""
    folder = tmp_path_factory.mktemp("clients")
    ports = Ports(folder)
    gateway = GatewayProcess(folder / "gateway", ports.settings())
    try:
        gateway.start()
        yield ports
    finally:
        gateway.close()


@pytest.fixture(scope="module")
def client(ports: Ports) -> Iterator[Clients]:
    """Clients by name; what they share is gone before the gateway is."""
    clients = Clients()
    yield clients
    clients.close()


@pytest.fixture
def topic() -> str:
    return f"matrix/{next(_numbers)}"


@pytest.mark.parametrize("publisher", NAMES)
@pytest.mark.parametrize("subscriber", NAMES)
def test_every_client_reaches_every_client(
    ports: Ports, client: Clients, topic: str, publisher: str, subscriber: str
) -> None:
    subscription = client(subscriber).subscribe(ports.plain, topic, 2)
    try:
        for qos in (0, 1, 2):
            client(publisher).publish(ports.plain, topic, f"päckchen {qos}", qos)
            assert subscription.get() == Got(qos, False, f"päckchen {qos}")
    finally:
        subscription.close()


TRANSPORTS = [("tls", name) for name in NAMES] + [(way, name) for way in ("ws", "wss") for name in WITH_WEBSOCKET]


@pytest.mark.parametrize(("transport", "name"), TRANSPORTS)
def test_other_transports(ports: Ports, client: Clients, topic: str, transport: str, name: str) -> None:
    target: Target = getattr(ports, transport)
    subscription = client(name).subscribe(target, topic, 2)
    try:
        for qos in (0, 1, 2):
            client(name).publish(target, topic, f"{qos}" + "x" * 40_000 * qos, qos)
            assert subscription.get() == Got(qos, False, f"{qos}" + "x" * 40_000 * qos)
    finally:
        subscription.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_subscription_bounds_the_qos(ports: Ports, client: Clients, topic: str, name: str) -> None:
    subscription = client(name).subscribe(ports.plain, topic, 1)
    try:
        client(name).publish(ports.plain, topic, "x", 2)
        assert subscription.get() == Got(1, False, "x")
    finally:
        subscription.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_retained_message_is_there_for_who_comes_later(ports: Ports, client: Clients, topic: str, name: str) -> None:
    client(name).publish(ports.plain, topic, "old", 1, retain=True)
    client(name).publish(ports.plain, topic, "last", 1, retain=True)
    subscription = client(name).subscribe(ports.plain, topic, 1)
    try:
        assert subscription.get() == Got(1, True, "last")
        client(name).publish(ports.plain, topic, "live", 1, retain=True)
        assert subscription.get() == Got(1, False, "live")
    finally:
        subscription.close()


@pytest.mark.parametrize("name", NAMES)
def test_who_dies_leaves_a_will(ports: Ports, client: Clients, topic: str, name: str) -> None:
    subscription = client("paho-5").subscribe(ports.plain, topic, 2)
    try:
        client(name).die_with_will(ports.plain, topic, "gone", 1)
        assert subscription.get() == Got(1, False, "gone")
    finally:
        subscription.close()


@pytest.mark.parametrize("transport", ["plain", "tls"])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_mosquitto_rr_has_its_answer(ports: Ports, topic: str, transport: str, qos: int, version: str) -> None:
    """Version 5 says by properties where the answer goes and what it belongs to; in 3.1.1 both have to know."""
    target: Target = getattr(ports, transport)
    responder = Paho(version).client(target)

    def answer(_client: Any, _data: Any, request: Any) -> None:
        payload = request.payload.upper()
        if version == "5":
            responder.publish(request.properties.ResponseTopic, payload, qos, properties=_back(request.properties))
        else:
            responder.publish(f"{topic}/answer", payload, qos)

    try:
        subscribed = threading.Event()
        responder.on_message = answer
        responder.on_subscribe = lambda *_: subscribed.set()
        responder.subscribe(f"{topic}/ask", 2)
        assert subscribed.wait(ANSWER_SECONDS)
        mark = f"mark-{qos}"
        got = MosquittoTools(version).request(target, f"{topic}/ask", f"{topic}/answer", "what?", qos, mark)
        assert got == ("WHAT?" if version == "3.1.1" else f"WHAT? {mark}")
    finally:
        close(responder)


def _back(asked: Any) -> Any:
    """Properties of the answer to a request with these."""
    properties = type(asked)(asked.packetType)
    properties.CorrelationData = asked.CorrelationData
    return properties


def test_a_client_certificate_is_demanded(ports: Ports, topic: str) -> None:
    command = [need("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(ports.mutual.port), "--cafile", str(ports.ca)]
    command += ["-t", topic, "-m", "x", "-q", "1"]
    without = subprocess.run(command, capture_output=True, timeout=20)
    assert without.returncode != 0
    shown = [*command, "--cert", str(ports.client_cert), "--key", str(ports.client_key)]
    assert subprocess.run(shown, capture_output=True, timeout=20).returncode == 0
