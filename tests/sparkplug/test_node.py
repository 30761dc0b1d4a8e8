"""What needs no broker: STATE, readings, settings, and frames that come at a wrong moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.config.declare import File, Secret
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import Retry
from gateway.mqtt.packets import ConnAck, PingResp, SubAck
from gateway.sparkplug.datatypes import DataType
from gateway.uplinks.sparkplug.config import Forward, SparkplugUplink
from gateway.uplinks.sparkplug.host import PrimaryHost
from gateway.uplinks.sparkplug.node import Point, Reading
from gateway.uplinks.sparkplug.readings import milliseconds, reading_of
from sparkplug.bench import NodeBench
from uplinks.bench import Cloud, play, until

POINT = Point("level", "plant/boiler/level", DataType.INT16, "m", False)


def state(online: Any, timestamp: Any) -> bytes:
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


def test_state_of_the_primary_host() -> None:
    host = PrimaryHost("scada")
    assert (host.topic, host.online) == ("spBv1.0/STATE/scada", False)
    for online, timestamp, expected in [
        (True, 100, True),
        (False, 99, True),
        (False, 100, False),
        (True, 99, False),
        (True, 101, True),
    ]:
        assert host.take(state(online, timestamp))
        assert host.online is expected
    host.connected()
    assert not host.online
    assert host.take(state(True, 1))
    assert host.online, "what was said on another connection does not count"


@pytest.mark.parametrize(
    "payload", [b"", b"ONLINE", b"[]", b"\xff", b"{}", state(1, 5), state(True, "5"), state(True, True), state("x", 1)]
)
def test_what_is_no_state(payload: bytes) -> None:
    host = PrimaryHost("scada")
    host.take(state(True, 1))
    assert not host.take(payload)
    assert host.online


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"v": 7, "q": "good", "t": "2027-01-15T08:00:00.250Z"}', Reading(7, 192, 1_800_000_000_250)),
        (b'{"v": 7, "q": "stale", "t": "2027-01-15T08:00:00.250Z", "why": "x"}', Reading(7, 500, 1_800_000_000_250)),
        (b'{"v": null, "q": "bad"}', Reading(None, 0, 5_000)),
        (b'{"v": 7.0, "q": "uncertain"}', Reading(7, 192, 5_000)),
        (b"7", Reading(7, 192, 5_000)),
    ],
)
def test_readings(payload: bytes, expected: Reading) -> None:
    assert reading_of(POINT, payload, 5.0) == expected


@pytest.mark.parametrize(
    "payload",
    [b'{"v": 7}', b'{"q": "good"}', b'{"v": 7, "q": "fine"}', b'{"v": 7, "q": "good", "t": "now"}', b"x", b"\xff", b""],
)
def test_what_is_no_reading(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        reading_of(POINT, payload, 5.0)


def test_time_before_1970() -> None:
    assert milliseconds(-5.0) == 0


def problems(**changes: Any) -> list[tuple[str, str]]:
    given: dict[str, Any] = {"url": "mqtts://b", "group": "G", "forward": (Forward(filter="#"),), **changes}
    return list(SparkplugUplink(**given).problems())


def test_settings_that_do_not_fit_together() -> None:
    assert problems(username="u", password=Secret("x"), cert=File("c"), key=File("k"), ca=File("a")) == []
    assert problems(password=Secret("x")) == [("password", "needs a username beside it")]
    assert problems(key=File("k")) == [("key", "needs cert beside it: a client certificate is both")]
    assert problems(url="mqtt://b", ca=File("a")) == [("ca", "has no effect with mqtt://; use mqtts:// for TLS")]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('group = "a/b"', "must not hold / + #: it is one level of a topic"),
        ('group = ""', "must not be empty"),
        ('group = "G"\nnode = "x#"', "must not hold / + #: it is one level of a topic"),
        ('group = "G"\nforward = []', "must not be empty"),
    ],
)
def test_settings_are_checked(tmp_path: Path, line: str, text: str) -> None:
    file = tmp_path / "gateway.toml"
    more = "" if "forward" in line else '\nforward = [{ filter = "#" }]'
    file.write_text(f'[uplink.s]\nkind = "sparkplug"\nurl = "mqtt://b"\n{line}{more}\n')
    with pytest.raises(Exception, match=text.replace("+", r"\+")):
        read(file, Settings, kinds)


def test_broker_that_does_not_answer_connect() -> None:
    async def main() -> None:
        async with Cloud(4) as cloud:
            cloud.connack = None
            with pytest.raises(Retry, match="sent no CONNACK within 0.2 s"):
                await NodeBench(cloud.port, connect_timeout=0.2).run()

    play(main())


def test_broker_that_refuses_a_subscription() -> None:
    async def main() -> None:
        async with Cloud(4) as cloud:
            cloud.suback = lambda packet: (1, 0x80)
            with pytest.raises(Retry, match=r"refused the subscription to 'spBv1.0/G/DCMD/gw1/\+'"):
                await NodeBench(cloud.port).run()

    play(main())


@pytest.mark.parametrize(
    ("send", "text"),
    [
        (lambda cloud: cloud.send(ConnAck(False, 0)), "sent ConnAck, which nobody asked for"),
        (lambda cloud: cloud.send(SubAck(1, (0,))), "sent SubAck, which nobody asked for"),
        (lambda cloud: cloud.send(PingResp()), "sent PingResp, which nobody asked for"),
        (lambda cloud: cloud.send_raw(b"\xf0\x00"), "sent what is not MQTT 3.1.1"),
    ],
)
def test_broker_that_talks_nonsense(send: Any, text: str) -> None:
    async def main() -> None:
        async with Cloud(4) as cloud:
            bench = NodeBench(cloud.port)

            async def work() -> None:
                await until(lambda: bench.ups)
                send(cloud)
                await until(lambda: False)

            with pytest.raises(Retry, match=text):
                await bench.during(work())

    play(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        async with Cloud(4) as cloud:
            port = cloud.port
        with pytest.raises(Retry, match="nothing listens there"):
            await NodeBench(port).run()

    play(main())


def test_one_ping_stands_for_many_rows() -> None:
    """A PINGREQ behind the rows, and nothing acknowledged before its answer."""

    async def main() -> None:
        async with Cloud(4) as cloud:
            cloud.on_publish = lambda packet: None
            cloud.pong = False
            bench = NodeBench(cloud.port, window=10)

            async def work() -> None:
                await until(lambda: bench.ups)
                for number in range(30):
                    bench.emit("boiler", "level", number)
                await until(lambda: bench.uplink.status()["reason"] == "window_full")
                await until(lambda: "PingReq" in {type(packet).__name__ for packet in cloud.packets})
                assert bench.reader.cursor == 0
                assert bench.uplink.status()["in_flight"] == 10
                cloud.pong = True
                cloud.send(PingResp())
                await until(lambda: bench.reader.cursor == 30)

            await bench.during(work())
            assert bench.uplink.status()["acked"] == 30

    play(main())
