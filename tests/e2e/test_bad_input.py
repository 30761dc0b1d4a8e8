"""What nobody should send, on every port: that connection ends, with its reason in MQTT 5; nobody else notices."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from e2e.conftest import StartGateway
from e2e.rig import raw, settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port

pytestmark = pytest.mark.slow

MALFORMED, PROTOCOL_ERROR, TOPIC_INVALID, TOO_LARGE = 0x81, 0x82, 0x90, 0x95

FAULTS: dict[str, tuple[Callable[[int], bytes], set[int]]] = {
    # name: (what is sent after the CONNACK in a protocol version, reasons that fit in MQTT 5)
    "reserved packet type": (lambda version: b"\x00\x00", {MALFORMED}),
    "QoS 3": (lambda version: raw.publish("a", b"x", version, 3, 1), {MALFORMED}),
    "length of five bytes": (lambda version: b"\x30\xff\xff\xff\xff\x7f", {MALFORMED}),
    "bad UTF-8 in a topic": (lambda version: raw.packet(0x30, b"\0\x02\xc3\x28" + b"\0" * 3), {MALFORMED}),
    "wildcard in a topic": (
        lambda version: raw.publish("a/#", b"x", version),
        {MALFORMED, PROTOCOL_ERROR, TOPIC_INVALID},
    ),
    "second CONNECT": (lambda version: raw.connect(version, "twice"), {PROTOCOL_ERROR}),
    "PUBREL with wrong flags": (lambda version: b"\x60\x02\x00\x01", {MALFORMED}),
    "packet cut short by its own length": (lambda version: b"\x30\x01\x00", {MALFORMED}),
    "SUBSCRIBE without a filter": (
        lambda version: raw.packet(0x82, b"\0\x01" + (b"\0" if version == 5 else b"")),
        {MALFORMED, PROTOCOL_ERROR},
    ),
    "two mebibytes": (lambda version: b"\x30" + raw.length(2 << 20) + b"\0\x01a" + b"\0" * 100_000, {TOO_LARGE}),
}


@contextmanager
def undisturbed_flow(port: int) -> Iterator[None]:
    """While the body runs, one client publishes 50 messages a second to another; all must arrive, in order."""
    collector = Collector(port, "flow/#", client_id="flow-in")
    publisher = Publisher(port, "flow-out")
    sent = 0
    end = threading.Event()

    def flow() -> None:
        nonlocal sent
        while not end.wait(0.02):
            publisher.publish("flow/line", b"%d" % sent)
            sent += 1

    thread = threading.Thread(target=flow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert publisher.connected
    received = collector.wait(lambda got: len(got) >= sent, 10, f"{sent} messages of the flow")
    publisher.close()
    collector.close()
    assert [int(one.payload) for one in received] == list(range(sent))


def malformed_count(gateway: GatewayProcess) -> int:
    """What the status counts of them."""
    count: int = gateway.status()["counts"].get("malformed", 0)
    return count


def test_each_fault_ends_its_own_connection_with_its_reason(start_gateway: StartGateway) -> None:
    port = free_port()
    gateway = start_gateway(settings.listener(port))
    with undisturbed_flow(port):
        for name, (bytes_of, reasons) in FAULTS.items():
            before = malformed_count(gateway)
            for version in (4, 5):
                with raw.RawClient(port) as client:
                    client.send(raw.connect(version, f"bad-{version}"))
                    first = client.read_packet()
                    assert first is not None and first[0] == raw.CONNACK
                    client.send(bytes_of(version))
                    end = client.until_closed()
                if version == 5:
                    assert end.reason in reasons, f"{name}: {end}"
                    assert end.packets == [raw.DISCONNECT], f"{name}: {end}"
                else:
                    assert end.packets == [], f"{name}: MQTT 3.1.1 has no DISCONNECT from a server, got {end}"
            assert malformed_count(gateway) == before + 2, name


def test_a_first_packet_that_is_no_connect_is_closed(start_gateway: StartGateway) -> None:
    port = free_port()
    start_gateway(settings.listener(port))
    for first in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", raw.publish("a", b"x", 5), b"\0" * 64):
        with raw.RawClient(port) as client:
            client.send(first)
            assert client.until_closed().packets == []


def test_random_bytes_on_every_port(start_gateway: StartGateway, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    (tmp_path / "both.pem").chmod(0o600)
    port, tls_port = free_port(), free_port()
    pair = f'{{ cert = "{tmp_path}/both.pem", key = "{tmp_path}/both.pem" }}'
    gateway = start_gateway(settings.listener(port) + settings.listener(tls_port, "tls", pair))
    source = random.Random(20261121)
    with undisturbed_flow(port):
        for _ in range(100):
            with raw.RawClient(port) as client:
                client.send(source.randbytes(source.randrange(5, 4096)))
            with raw.RawClient(port) as client:
                client.send(raw.connect(source.choice((3, 4, 5)), "noise") + source.randbytes(2048))
            with raw.RawClient(tls_port) as client:
                client.send(source.randbytes(source.randrange(5, 4096)))
    assert malformed_count(gateway) > 0
    assert "Traceback" not in gateway.log_text()
