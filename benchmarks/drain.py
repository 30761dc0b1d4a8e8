"""A full outbox to a cloud: as fast as a plain client that publishes the same payloads from memory?

    PYTHONPATH=tests python -m benchmarks.drain                      100 000 rows of 100 bytes
    PYTHONPATH=tests python -m benchmarks.drain --rows 1000000       as the goal has it
    ... --set 'batch = { rows = 100 }'                               a line added to [uplink.cloud]

The same mosquitto, the same window, MQTT 5 and QoS 1: gmqtt, then the gateway with its rows on the disk, then paho, in
turn and as often as ``--turns`` says. Trust the ratios, not the rates; ``us CPU`` is what the process itself took for
a row, and is good on a busy machine too. While the gateway drains, ten messages a second are published to it: how late
the cloud has them is the live latency. ``--profile FILE`` writes what cProfile saw of the gateway (it is slower then).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import gmqtt
import paho.mqtt.client as paho
from gmqtt.storage import PersistentStorage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.footprint import cpu_seconds, resident_mb
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until
from e2e.uplink.backlog import fill, readings
from gateway.control import ask
from peers.mosquitto import Mosquitto

WINDOW: Final = 64
CLOUD: Final = ("allow_anonymous true", "max_inflight_messages 1000", "set_tcp_nodelay true", "log_type none")
"""It keeps nothing on the disk: a drain is to be limited by what the broker can take."""

LIVE_RATE: Final = 10
LIVE_TOPIC: Final = "plant/live"

LOOK: Final = 0.2
"""Seconds between two looks at the gateway's status."""

LEFT: Final = 2
"""Rows that are always there: the live ones of this moment."""

Rows = Sequence[tuple[str, bytes]]


class Drain(NamedTuple):
    """``rate``: rows a second. ``micros``: of processor time for a row. ``late``: seconds of each live message."""

    rate: float
    micros: float
    late: tuple[float, ...] = ()
    memory_mb: float = 0.0


class Slots(PersistentStorage):  # type: ignore[misc]
    """What gmqtt has under way; ``room`` waits until it is less than the window."""

    def __init__(self) -> None:
        super().__init__()
        self._freed = asyncio.Event()

    def remove_message_by_mid(self, mid: int) -> None:
        super().remove_message_by_mid(mid)
        self._freed.set()

    async def room(self) -> None:
        while len(self._messages) >= WINDOW:
            self._freed.clear()
            await self._freed.wait()


async def with_gmqtt(port: int, rows: Rows) -> Drain:
    """A plain loop on gmqtt."""
    slots = Slots()
    client = gmqtt.Client("plain-gmqtt", persistent_storage=slots)
    await client.connect("127.0.0.1", port)
    begin, cpu = time.perf_counter(), time.process_time()
    for topic, payload in rows:
        await slots.room()
        client.publish(topic, payload, qos=1)
    await slots.wait_empty()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    await client.disconnect()
    return Drain(len(rows) / seconds, cpu / len(rows) * 1e6)


def with_paho(port: int, rows: Rows) -> Drain:
    """A plain loop on paho, its network loop in a thread, as is usual."""
    free = threading.Semaphore(WINDOW)
    client = paho.Client(CallbackAPIVersion.VERSION2, "plain-paho", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(WINDOW)
    client.on_publish = lambda *_: free.release()
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_until(client.is_connected, 10, "paho is connected")
    begin, cpu = time.perf_counter(), time.process_time()
    for topic, payload in rows:
        free.acquire()
        client.publish(topic, payload, qos=1)
    for _ in range(WINDOW):
        free.acquire()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    client.disconnect()
    client.loop_stop()
    return Drain(len(rows) / seconds, cpu / len(rows) * 1e6)


def with_gateway(folder: Path, cloud: Mosquitto, rows: int, lines: Sequence[str], interpreter: Sequence[str]) -> Drain:
    """The gateway, from an outbox that is full to one that is empty."""
    with ExitStack() as stack:
        port = free_port()
        uplink = settings.uplink(cloud.port).rstrip() + "\n" + "\n".join((f"window = {WINDOW}", *lines)) + "\n"
        if any(line.startswith("batch") for line in lines):
            # What is timed must not wait in a batch: it is of a class that does not.
            own = f'{{ filter = "{LIVE_TOPIC}", to = "site-7/{LIVE_TOPIC}", class = "alarm" }}, '
            uplink = uplink.replace("forward = [", "forward = [" + own)
        text = settings.listener(port) + '[time]\nsource = "trust"\n[store]\nmax_bytes = "16GiB"\n' + uplink
        gateway = GatewayProcess(folder, text, interpreter=interpreter)
        stack.callback(_end, gateway)
        fill(gateway.state, rows, hours=12)
        collector = Collector(cloud.port, f"site-7/{LIVE_TOPIC}")
        stack.callback(collector.close)
        gateway.start(60)
        publisher = Publisher(port, "live")
        stack.callback(publisher.close)
        drain, sent = _watch(gateway, publisher, rows)
        received = collector.wait(lambda got: len(got) >= len(sent), 60, "every live message")
        late = (one.time - sent[int(one.payload)] for one in received)
        return drain._replace(late=tuple(sorted(late)))


def _watch(gateway: GatewayProcess, publisher: Publisher, rows: int) -> tuple[Drain, list[float]]:
    """Publish what is live, and look until nothing else waits."""
    live: list[float] = []
    first = depth = rows
    begin = cpu = memory = due = 0.0
    while depth > LEFT:
        time.sleep(1 / LIVE_RATE)
        live.append(time.monotonic())
        publisher.publish(LIVE_TOPIC, b"%d" % (len(live) - 1))
        if live[-1] < due:
            continue
        due = live[-1] + LOOK
        depth = ask(gateway.state, "status")["outbox"]["depth"]
        memory = max(memory, resident_mb(gateway.pid))
        if not begin and depth < rows - WINDOW:
            begin, cpu, first = time.perf_counter(), cpu_seconds(gateway.pid), depth
    seconds, cpu, done = time.perf_counter() - begin, cpu_seconds(gateway.pid) - cpu, first - depth
    return Drain(done / seconds, cpu / done * 1e6, (), memory), live


def _end(gateway: GatewayProcess) -> None:
    gateway.stop()
    gateway.notify.close()


def part(sorted_values: Sequence[float], per_cent: int) -> float:
    """A percentile."""
    return sorted_values[min(len(sorted_values) - 1, len(sorted_values) * per_cent // 100)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="LINE", help="of [uplink.cloud]")
    parser.add_argument("--profile", metavar="FILE", help="run the gateway under cProfile")
    options = parser.parse_args()
    interpreter = ("-m", "cProfile", "-o", os.path.abspath(options.profile)) if options.profile else ()
    rows = list(readings(options.rows))
    found: dict[str, list[Drain]] = {"gmqtt": [], "gateway": [], "paho": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for turn in range(options.turns):
            place = folder / f"cloud{turn}"
            place.mkdir()
            with Mosquitto(place, CLOUD, persistence=False) as cloud:
                found["gmqtt"].append(asyncio.run(with_gmqtt(cloud.port, rows)))
                show("gmqtt", found["gmqtt"][-1])
                gateway = with_gateway(folder / f"gateway{turn}", cloud, len(rows), options.set, interpreter)
                found["gateway"].append(gateway)
                show("gateway", gateway)
                found["paho"].append(with_paho(cloud.port, rows))
                show("paho", found["paho"][-1])
    middle = {name: statistics.median(drain.rate for drain in drains) for name, drains in found.items()}
    for other in ("gmqtt", "paho"):
        print(f"gateway / {other}: {middle['gateway'] / middle[other]:.2f}")


def show(name: str, drain: Drain) -> None:
    """One line."""
    text = f"{name:8} {drain.rate:8.0f} rows/s {drain.micros:7.1f} us CPU/row"
    if drain.late:
        late = " ".join(f"p{per_cent} {part(drain.late, per_cent):.3f}" for per_cent in (50, 95, 99))
        text += f"   live latency s: {late} of {len(drain.late)}   memory {drain.memory_mb:.0f} MB"
    print(text, flush=True)


if __name__ == "__main__":
    main()
