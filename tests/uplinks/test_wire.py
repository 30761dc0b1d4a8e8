"""Bytes as the network sees them, against a proxy that counts what it passes on."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from gateway.config.declare import File
from gateway.errors import Retry
from gateway.uplinks.mqtt.wire import FAREWELL, Meter
from peers.mosquitto import Certificates
from uplinks.bench import Bench, Cloud, play, row, until
from uplinks.line import Proxy
from uplinks.test_hosts import nobody_there

HEADER = 52
"""IPv4, TCP and its time stamps."""


class CountingProxy(Proxy):
    """Counts the bytes inside TCP."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.passed = [0, 0]

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up = writer.get_extra_info("peername")[1] == self._target
        try:
            while data := await reader.read(65536):
                self.passed[0 if up else 1] += len(data)
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()


def check(bench: Bench, proxy: CountingProxy) -> None:
    """What was counted is what passed, and whole headers."""
    status = bench.uplink.status()
    for counted, passed in zip((status["wire_out"], status["wire_in"]), proxy.passed, strict=True):
        headers, rest = divmod(counted - passed, HEADER)
        assert rest <= 1, "a FIN of the broker counts as a byte"
        assert headers >= 3 + FAREWELL


def test_every_byte_is_counted() -> None:
    async def main() -> None:
        async with Cloud() as cloud, CountingProxy(cloud.port) as proxy:
            bench = Bench(proxy.port, [row(seq, payload=bytes(1000)) for seq in range(1, 101)])
            await bench.during(bench.settled(100))
            check(bench, proxy)
            before = bench.uplink.status()["wire_out"]
            assert before > 100_000
            await bench.during(until(lambda: bench.ups == 2))
            check(bench, proxy)
            assert bench.uplink.status()["wire_out"] > before

    play(main())


def test_tls_is_counted_too(tmp_path: Path) -> None:
    """The handshake alone is more than the same rows without TLS."""

    async def main() -> None:
        certificates = Certificates(tmp_path)
        async with Cloud(context=certificates.server_context()) as cloud, CountingProxy(cloud.port) as proxy:
            url, ca = f"mqtts://localhost:{proxy.port}", File(str(certificates.ca))
            bench = Bench(proxy.port, [row(1)], url=url, ca=ca)
            await bench.during(bench.settled(1))
            check(bench, proxy)
            assert bench.uplink.status()["wire_in"] > 1000
            other = trustme.CA()
            other.cert_pem.write_to_path(certificates.ca)
            before = bench.uplink.status()["wire_in"]
            with pytest.raises(Retry, match="is not accepted"):
                await bench.run()
            check(bench, proxy)
            assert bench.uplink.status()["wire_in"] > before + 1000, "a handshake that fails costs as much"

    play(main())


def test_a_refused_connection_costs_its_segments() -> None:
    async def main() -> None:
        bench = Bench(nobody_there())
        with pytest.raises(Retry, match="nothing listens"):
            await bench.run()
        status = bench.uplink.status()
        assert 40 <= status["wire_out"] <= 2 * HEADER

    play(main())


def test_a_handshake_that_fails_is_counted() -> None:
    """The broker has no TLS: our greeting left all the same."""

    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = None
            bench = Bench(cloud.port, url=f"mqtts://127.0.0.1:{cloud.port}", connect_timeout=1.0)
            with pytest.raises(Retry):
                await bench.run()
            assert bench.uplink.status()["wire_out"] > 200

    play(main())


def test_nothing_is_counted_twice() -> None:
    meter = Meter()
    with socket.socket() as sock:
        wire = meter.begin(sock)
        meter.end(wire)
        meter.end(wire)
    assert meter.read() == (0, 0)


IN_A_NAMESPACE = """
import asyncio, fcntl, socket, struct, sys
sys.path[:0] = sys.argv[1:]
from peers.mosquitto import Certificates
from uplinks.bench import Bench, Cloud, play, row

with socket.socket() as any_socket:  # the loopback interface up
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1 | 64))

def seen():
    line = next(line for line in open("/proc/net/dev") if line.strip().startswith("lo:"))
    return int(line.split()[1])

async def main():
    async with Cloud() as cloud:
        bench = Bench(cloud.port, [row(seq, payload=bytes(200)) for seq in range(1, 501)])
        await bench.during(bench.settled(500))
        status = bench.uplink.status()
    print(seen(), status["wire_out"] + status["wire_in"])

play(main())
"""


@pytest.mark.slow
def test_the_interface_counts_the_same() -> None:
    """In a network namespace whose interface carries nothing else; it may know a few bytes more, options of SYN."""
    tests = Path(__file__).parents[1]
    command = ["unshare", "-rn", sys.executable, "-c", IN_A_NAMESPACE, str(tests), str(tests.parent)]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "unshare" in found.stderr:
        pytest.skip(f"no namespace: {found.stderr.strip()}")
    interface, counted = map(int, found.stdout.split())
    assert interface > 100_000
    assert abs(counted - interface) < interface / 1000
