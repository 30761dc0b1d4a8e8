"""The uplink against a real mosquitto; paho-mqtt looks at what arrives there."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
import pytest
import trustme
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from e2e.rig.proxy import FaultProxy
from gateway.config.declare import File, Secret
from gateway.errors import Retry
from gateway.outbound import CLASSES
from gateway.ranges import NOTHING
from gateway.uplinks.mqtt.config import Receive
from peers.mosquitto import Certificates, Mosquitto
from uplinks.bench import Bench, ListPublisher, play, row, until

pytestmark = pytest.mark.slow


class Arrival(NamedTuple):
    topic: str
    payload: bytes
    user: list[tuple[str, str]]
    dup: bool

    @property
    def message_id(self) -> str:
        return dict(self.user)["message-id"]


class Watcher:
    """A client of the cloud broker that notes what arrives, over restarts of the broker."""

    def __init__(self, port: int, version: int = 5) -> None:
        self.arrivals: list[Arrival] = []
        self._ready = threading.Event()
        self._version = version
        protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
        clean = {} if version == 5 else {"clean_session": False}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "watcher", protocol=protocol, **clean)  # type: ignore[arg-type]
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        self._port = port

    def __enter__(self) -> Watcher:
        options: dict[str, Any] = {}
        if self._version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 600
            options = {"clean_start": False, "properties": properties}
        self.client.connect("127.0.0.1", self._port, **options)
        self.client.loop_start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        if self._version == 5:
            client.subscribe("site/plant/#", options=SubscribeOptions(qos=2, retainAsPublished=True))
        else:
            client.subscribe("site/plant/#", qos=1)

    def _on_message(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        props = getattr(message.properties, "UserProperty", [])
        self.arrivals.append(Arrival(message.topic, bytes(message.payload), list(props), message.dup))

    def command(self, payload: bytes, qos: int = 1, **user: str) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if user:
            setattr(properties, "UserProperty", list(user.items()))  # noqa: B010 - paho makes it at run time
        self.client.publish("site/cmd/x", payload, qos, properties=properties if self._version == 5 else None)


@contextmanager
def cloud(folder: Path, version: int = 5) -> Iterator[tuple[Mosquitto, Watcher]]:
    with Mosquitto(folder) as broker, Watcher(broker.port, version) as watcher:
        yield broker, watcher


def check_order(arrivals: list[Arrival]) -> None:
    """First arrivals of each topic and lane in the order of their rows; repeats under the same message id."""
    seen: dict[str, Arrival] = {}
    last: dict[tuple[str, bool], int] = {}
    for arrival in arrivals:
        first = seen.setdefault(arrival.message_id, arrival)
        assert first.payload == arrival.payload
        if first is arrival:
            seq = int(arrival.message_id.partition(":")[2])
            lane = arrival.topic, ("replay", "1") in arrival.user
            assert seq > last.get(lane, 0)
            last[lane] = seq


def test_rows_arrive(tmp_path: Path) -> None:
    async def main() -> None:
        with cloud(tmp_path) as (broker, watcher):
            rows = [row(seq, f"plant/{seq % 5}", props=((3, "text/plain"),), qos=seq % 3) for seq in range(1, 2001)]
            bench = Bench(broker.port, rows)
            await bench.during(bench.settled(2000))
            await until(lambda: len(watcher.arrivals) == 2000)
            assert [arrival.message_id for arrival in watcher.arrivals] == [f"7:{seq}" for seq in range(1, 2001)]
            assert watcher.arrivals[0].topic == "site/plant/1"
            check_order(watcher.arrivals)

    play(main())


def test_version_3(tmp_path: Path) -> None:
    async def main() -> None:
        with cloud(tmp_path, 4) as (broker, watcher):
            publisher = ListPublisher()
            bench = Bench(
                broker.port,
                [row(seq) for seq in range(1, 101)],
                publisher=publisher,
                version="3.1.1",
                receive=(Receive(filter="site/cmd/#", to="cmd/#"),),
            )

            async def work() -> None:
                await bench.settled(100)
                watcher.command(b"go")
                await until(lambda: publisher.messages)

            await bench.during(work())
            await until(lambda: len(watcher.arrivals) == 100)
            assert publisher.messages[0][0].topic == "cmd/x"

    play(main())


async def keep_connected(bench: Bench) -> None:
    """What ``supervise`` does, without its patience."""
    while True:
        try:
            await bench.run()
        except Retry:
            await asyncio.sleep(0.02)


class Outage:
    """An uplink at work while something keeps breaking: all rows are answered in the end."""

    TOTAL = 1500

    def __init__(self, port: int) -> None:
        self.bench = Bench(port)

    async def _produce(self) -> None:
        for seq in range(1, self.TOTAL + 1):
            self.bench.reader.add(row(seq, f"plant/{seq % 7}"))
            await asyncio.sleep(0.001)

    async def run(self, breaking: Awaitable[None]) -> None:
        tasks = {asyncio.ensure_future(keep_connected(self.bench)), asyncio.ensure_future(self._produce())}
        try:
            await breaking
            await self.bench.settled(self.TOTAL)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert self.bench.ups > 1, "it was never broken"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_broker_restarted(tmp_path: Path, end: str) -> None:
    """Four restarts while rows arrive. All arrive, in order, and repeats are known by their id.

    mosquitto saves what it has taken after it has acknowledged it, so that after a kill some of it can be gone:
    then only order and identity are checked.
    """

    async def main() -> None:
        chance = random.Random(5)
        with cloud(tmp_path) as (broker, watcher):
            outage = Outage(broker.port)

            async def restarts() -> None:
                for _ in range(4):
                    await asyncio.sleep(chance.uniform(0.1, 0.3))
                    broker.stop() if end == "stop" else broker.kill()
                    await asyncio.sleep(chance.uniform(0, 0.2))
                    broker.start()

            await outage.run(restarts())
            expected = outage.TOTAL if end == "stop" else outage.TOTAL * 0.99
            await until(lambda: len({arrival.message_id for arrival in watcher.arrivals}) >= expected)
            check_order(watcher.arrivals)

    play(main())


def test_line_cut_again_and_again(tmp_path: Path) -> None:
    """30 cuts at random moments: nothing is lost, order per topic is kept, repeats are known by their id."""

    async def main() -> None:
        chance = random.Random(7)
        with cloud(tmp_path) as (broker, watcher), FaultProxy(broker.port) as proxy:
            outage = Outage(proxy.port)

            async def cuts() -> None:
                for _ in range(30):
                    await asyncio.sleep(chance.uniform(0.01, 0.1))
                    proxy.reset()

            await outage.run(cuts())
            await until(lambda: len({arrival.message_id for arrival in watcher.arrivals}) == outage.TOTAL)
            check_order(watcher.arrivals)

    play(main())


def test_uplink_process_lost(tmp_path: Path) -> None:
    """A new runner from the stored cursor, with the broker's session going on: all arrive, repeats by their id."""

    async def main() -> None:
        with cloud(tmp_path) as (broker, watcher):
            first = Bench(broker.port, [row(seq) for seq in range(1, 501)])
            await first.during(until(lambda: first.uplink.status()["acked"] > 100))
            # The last commits of the cursor are lost too.
            first.reader.has_acked = [NOTHING.add(0, first.reader.cursor - 30)] * len(CLASSES)
            first.reader._possibly_sent = NOTHING.add(0, first.uplink.status()["sent"])
            first.reader._wake = None
            second = Bench(broker.port, reader=first.reader)
            await second.during(second.settled(500))
            await until(lambda: len({arrival.message_id for arrival in watcher.arrivals}) == 500)
            check_order(watcher.arrivals)
            assert len(watcher.arrivals) >= 530

    play(main())


def test_frozen_broker(tmp_path: Path) -> None:
    async def main() -> None:
        with cloud(tmp_path) as (broker, _):
            bench = Bench(broker.port, keep_alive=1.0)

            async def work() -> None:
                await until(lambda: bench.ups)
                broker.freeze()
                bench.reader.add(row(1))
                await asyncio.Event().wait()

            with pytest.raises(Retry, match="silent for 1.5 s"):
                await bench.during(work())
            broker.kill()
            broker.start()
            await bench.during(bench.settled(1))

    play(main())


def test_commands_wait_at_the_broker(tmp_path: Path) -> None:
    """A command that was not safe here comes again; those sent while we were away come too."""

    async def main() -> None:
        with cloud(tmp_path) as (broker, watcher):
            publisher = ListPublisher(auto=False)
            receive = (Receive(filter="site/cmd/#", to="cmd/#"),)
            bench = Bench(broker.port, publisher=publisher, receive=receive)

            async def first() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "caught_up")
                watcher.command(b"1")
                await until(lambda: publisher.messages)

            await bench.during(first())
            watcher.command(b"2", qos=2)
            watcher.command(b"3", via="gw1")
            publisher.messages.clear()
            publisher.auto = True
            await bench.during(until(lambda: len(publisher.messages) == 2 and bench.metrics.drops))
            # A client that comes back before its last words were read takes its session over without them.
            await until(lambda: broker.log().count("Received DISCONNECT from gw-gw1") == 2)
            assert [message.payload for message, _ in publisher.messages] == [b"1", b"2"]
            assert bench.metrics.drops == {"loop": 1}
            publisher.messages.clear()
            await bench.during(asyncio.sleep(0.3))
            assert publisher.messages == []

    play(main())


def test_what_goes_up_does_not_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        with cloud(tmp_path) as (broker, watcher):
            publisher = ListPublisher()
            bench = Bench(broker.port, [row(1)], publisher=publisher, receive=(Receive(filter="site/#", to="in/#"),))

            async def work() -> None:
                await bench.settled(1)
                watcher.command(b"1")
                await until(lambda: publisher.messages)

            await bench.during(work())
            assert [message.payload for message, _ in publisher.messages] == [b"1"]
            assert bench.metrics.drops == {}

    play(main())


def test_refused_publish_and_password(tmp_path: Path) -> None:
    """mosquitto answers a publish that its access list forbids with 0x87 (version 5)."""

    async def main() -> None:
        (tmp_path / "acl").write_text("topic write site/plant/good\n")
        with Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path}/acl"]) as broker:
            bench = Bench(broker.port, [row(1, "plant/good"), row(2, "plant/bad"), row(3, "plant/good")])
            await bench.during(bench.settled(3))
            assert bench.reader.dropped == [(2, "refused_not_authorized")]
        with Mosquitto(tmp_path, ["allow_anonymous false"]) as broker:
            bench = Bench(broker.port, username="me", password=Secret("wrong"))
            with pytest.raises(Retry, match="refused the connection: 0x87 not authorized; check username, password"):
                await bench.run()

    play(main())


def test_broker_packet_limit(tmp_path: Path) -> None:
    async def main() -> None:
        with Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 2000"]) as broker:
            bench = Bench(broker.port, [row(1), row(2, payload=bytes(2000)), row(3)])
            await bench.during(bench.settled(3))
            assert bench.reader.dropped == [(2, "too_large")]

    play(main())


def _tls(certificates: Certificates, **changes: Any) -> dict[str, Any]:
    files = {"ca": certificates.ca, "cert": certificates.cert, "key": certificates.key, **changes}
    return {name: File(str(path)) for name, path in files.items() if path is not None}


def test_tls_with_client_certificate(tmp_path: Path) -> None:
    async def main() -> None:
        certificates = Certificates(tmp_path)
        with Mosquitto(tmp_path, listener=certificates.listener(require=True)) as broker:
            for host in ("localhost", "127.0.0.1"):
                url = f"mqtts://{host}:{broker.port}"
                bench = Bench(broker.port, [row(1, payload=bytes(100_000))], url=url, **_tls(certificates))
                await bench.during(bench.settled(1))

    play(main())


def test_tls_failures_say_what_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        certificates = Certificates(tmp_path)
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(other)
        with Mosquitto(tmp_path, listener=certificates.listener(require=True)) as broker:
            url = f"mqtts://localhost:{broker.port}"
            cases: list[tuple[str, dict[str, Any], str]] = [
                (url, _tls(certificates, ca=other), "who signed it is not known here; set ca|not trusted; set ca"),
                (
                    url,
                    _tls(certificates, cert=None, key=None),
                    "wants a client certificate, check cert and key|client certificate; set cert and key",
                ),
                (url.replace("localhost", "127.0.0.2"), _tls(certificates), "no connection|another address"),
                (url.replace("mqtts", "mqtt"), {}, "closed the connection before its welcome"),
            ]
            for address, files, text in cases:
                with pytest.raises(Retry, match=text):
                    await Bench(broker.port, url=address, connect_timeout=2.0, **files).run()
        with Mosquitto(tmp_path) as broker, pytest.raises(Retry, match="does that port speak TLS|does not speak TLS"):
            await Bench(broker.port, url=f"mqtts://localhost:{broker.port}", **_tls(certificates)).run()

    play(main())
