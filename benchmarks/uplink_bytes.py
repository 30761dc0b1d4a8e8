"""What an uplink costs on a mobile line: 100 points once a second over TLS, counted on the wire in both directions.

    PYTHONPATH=tests python -m benchmarks.uplink_bytes                 60 s, one publish for each reading
    ... --set 'batch = { rows = 100 }'                                   a line added to [uplink.cloud]

A proxy between the gateway and a mosquitto counts the bytes that pass, TLS included, and asks the kernel how many TCP
segments carried them (acknowledgements too), each with 52 bytes of IPv4, TCP and timestamps. The handshake is told
apart: a line that lives for weeks does not pay for it each minute. Readings walk randomly by tenths, as values of a
plant do, and are published as a Modbus device would publish them.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.gateway import GatewayProcess
from e2e.rig.proxy import FaultProxy
from e2e.rig.waiting import free_port, wait_until
from gateway.clock import iso_time
from peers.mosquitto import Certificates, Mosquitto

POINTS: Final = 100
START: Final = 1_763_700_000.0


class Bytes(NamedTuple):
    """``up`` and ``down``: what TLS put on the line; ``wire``: both with the headers of TCP and IP."""

    up: int
    down: int
    wire: int

    def since(self, other: Bytes) -> Bytes:
        """What came after ``other``."""
        return Bytes(self.up - other.up, self.down - other.down, self.wire - other.wire)


class Plant:
    """Points whose values walk by a tenth now and then."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)
        self._values = [200 + 3 * point for point in range(POINTS)]

    def second(self, number: int) -> list[tuple[str, bytes]]:
        """The readings of one second."""
        found = []
        for point in range(POINTS):
            if self._source.random() < 0.5:
                self._values[point] += self._source.choice((-1, 1))
            text = f'{{"v":{self._values[point] / 10},"q":"good","t":"{iso_time(START + number)}","u":"Cel"}}'
            found.append((f"plant/line/p{point}", text.encode()))
        return found


def measure(folder: Path, seconds: int, lines: list[str]) -> tuple[Bytes, Bytes]:
    """Bytes of the handshake, and of so many seconds after it until all is there."""
    with ExitStack() as stack:
        (folder / "cloud").mkdir()
        certificates = Certificates(folder)
        cloud = stack.enter_context(Mosquitto(folder / "cloud", listener=certificates.listener()))
        proxy = stack.enter_context(FaultProxy(cloud.port))
        port = free_port()
        uplink = settings.uplink(proxy.port).replace("mqtt://127.0.0.1", "mqtts://127.0.0.1").rstrip()
        text = settings.listener(port) + uplink + "\n" + "\n".join((f'ca = "{certificates.ca}"', *lines)) + "\n"
        gateway = GatewayProcess(folder / "gateway", text)
        stack.callback(gateway.stop)
        gateway.start()
        wait_until(lambda: _uplink(gateway)["reason"] == "caught_up", 20, "the uplink is up")

        def bytes_so_far() -> Bytes:
            return Bytes(*proxy.passed, proxy.on_the_wire())

        handshake = bytes_so_far()
        publisher = Publisher(port, "plant")
        stack.callback(publisher.close)
        plant, begin = Plant(1), time.monotonic()
        for number in range(seconds):
            time.sleep(max(0.0, begin + number - time.monotonic()))
            for topic, payload in plant.second(number):
                publisher.publish(topic, payload)
        wait_until(lambda: not publisher.unanswered, 60, "every PUBACK")
        wait_until(lambda: _is_done(gateway), 60, "an empty outbox")
        return handshake, bytes_so_far().since(handshake)


def _uplink(gateway: GatewayProcess) -> dict[str, object]:
    found: dict[str, object] = gateway.status()["uplinks"]["cloud"]
    return found


def _is_done(gateway: GatewayProcess) -> bool:
    status = gateway.status()
    return not status["outbox"]["depth"] and not status["uplinks"]["cloud"]["in_flight"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="LINE", help="of [uplink.cloud]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        handshake, rest = measure(Path(name), options.seconds, options.set)
    print(f"handshake {handshake.wire / 1024:.1f} KiB on the wire")
    minutes, readings = options.seconds / 60, POINTS * options.seconds
    wire, up, down = (n / 1024 / minutes for n in (rest.wire, rest.up, rest.down))
    print(
        f"{POINTS} points once a second: {wire:.1f} KiB a minute on the wire, {rest.wire / readings:.1f} bytes each\n"
        f"with TLS {up:.1f} KiB up and {down:.1f} KiB down, the rest is TCP and IP"
    )


if __name__ == "__main__":
    main()
