"""What needs no broker: STATE, readings, settings, and frames that come at a wrong moment."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from gateway import kinds
from gateway.config.declare import File, Secret
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.errors import Retry
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import V311, ConnAck, PingResp, Publish, SubAck
from gateway.sparkplug import wire
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, decode
from gateway.sparkplug.payload import encode as encode_payload
from gateway.uplinks.sparkplug.commands import commands
from gateway.uplinks.sparkplug.config import Forward, SparkplugUplink
from gateway.uplinks.sparkplug.host import PrimaryHost
from gateway.uplinks.sparkplug.node import REBIRTH, EdgeNode, News, Point, Reading
from gateway.uplinks.sparkplug.readings import milliseconds, reading_of
from sparkplug.bench import NodeBench
from sparkplug.proto import command
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


def test_a_host_that_is_back_was_away() -> None:
    host = PrimaryHost("scada")
    for payload in (state(True, 100), state(False, 100), state(True, 200)):
        host.take(payload)
    assert (host.online, host.left) == (True, True)
    host.left = False
    host.take(state(False, 150))
    assert (host.online, host.left) == (True, False), "a will that comes late"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"ONLINE",
        b"[]",
        b"\xff",
        b"{}",
        state(1, 5),
        state(True, "5"),
        state(True, True),
        state("x", 1),
        state(False, 1e999),
    ],
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
        (b'{"v": 7, "q": "good", "t": "2027-01-15T09:00:00.250+01:00"}', Reading(7, 192, 1_800_000_000_250)),
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


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_time_without_a_zone_is_utc_wherever_the_board_stands(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found = reading_of(POINT, b'{"v": 7, "q": "good", "t": "2027-01-15T08:00:00.250"}', 5.0)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == Reading(7, 192, 1_800_000_000_250)


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
        ('group = "a/b"', "must be one level of a topic"),
        ('group = ""', "must be one level of a topic, but it is empty"),
        ('group = "G"\nnode = "x#"', "must be one level of a topic"),
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
        bench = NodeBench(port)
        with pytest.raises(Retry, match="nothing listens there"):
            await bench.run()
        assert bench.counters == {}, "no CONNECT, so no number [message-flow-edge-node-birth-publish-will-message-...]"

    play(main())


def test_a_host_that_comes_back_at_once_gets_a_new_session() -> None:
    """Its leaving ends the session, also when it is back before anybody has looked."""

    async def main() -> None:
        async with Cloud(4) as cloud:
            bench = NodeBench(cloud.port, primary_host="scada")

            async def work() -> None:
                await until(lambda: bench.uplink.status()["reason"] == "waiting_for_host")
                cloud.send(Publish("spBv1.0/STATE/scada", state(True, 100)))
                await until(lambda: bench.ups)
                both = [Publish("spBv1.0/STATE/scada", state(online, 200)) for online in (False, True)]
                cloud.send_raw(b"".join(encode(packet, V311) for packet in both))
                await until(lambda: False)

            with pytest.raises(Retry, match="the primary host 'scada' is offline"):
                await bench.during(work())
            topics = [packet.topic for packet in cloud.packets if isinstance(packet, Publish)]
            assert topics == ["spBv1.0/G/NBIRTH/gw1", "spBv1.0/G/NDEATH/gw1"]

    play(main())


def node(*, aliases: bool = False) -> EdgeNode:
    points = [Point(name, f"plant/{name}", DataType.INT16, None, True) for name in ("a", "b", "c")]
    points.append(Point("text", "plant/text", DataType.STRING, None, True))
    return EdgeNode("G", "gw1", [("boiler", points)], aliases)


def test_values_are_told_in_the_order_of_their_times() -> None:
    """operational-behavior-data-publish-dbirth-order; a source may have a clock of its own."""
    found = node()
    device = found.devices["boiler"]
    for tag, at in zip(device.tags, (300, 100, 200, 400), strict=True):
        tag.present = Reading("x" if tag.point.name == "text" else 1, 192, at)
    birth = decode(found.device_birth(device, 1000)[1])
    assert [metric.name for metric in birth.metrics] == ["b", "c", "a", "text"]
    news = [News(tag, Reading(2, 192, at), False) for tag, at in zip(device.tags[:3], (600, 500, 700), strict=True)]
    data = decode(found.data(device, news, 1000)[1])
    assert [(metric.name, metric.time) for metric in data.metrics] == [("b", 500), ("a", 600), ("c", 700)]
    assert [tag.told and tag.told.time for tag in device.tags] == [600, 500, 700, 400]


def test_every_metric_of_a_birth_has_an_alias_but_rebirth() -> None:
    """payloads-alias-birth-requirement, payloads-alias-uniqueness, ...-rebirth-name-aliases"""
    found = node(aliases=True)
    found.devices["boiler"].tags[0].present = Reading(1, 192, 1)
    metrics = [metric for frame in found.births(1000) for metric in decode(frame[1]).metrics]
    aliases = {metric.name: metric.alias for metric in metrics}
    assert aliases == {"bdSeq": 5, REBIRTH: None, "a": 1, "b": 2, "c": 3, "text": 4}
    assert [metric.alias for metric in decode(found.death(1000)[1]).metrics] == [None]


@pytest.mark.parametrize(
    ("payload", "writes", "dropped"),
    [
        (command("text", "on", "string_value"), (("plant/text/set", "on"),), ()),
        (encode_payload([(Metric("text", None), DataType.STRING)], 1, None), (), ("sparkplug_bad_value",)),
        # A data set, field 17: it is passed over when it is read, so it is no value either.
        (wire.data(2, wire.data(1, b"text") + wire.data(17, b"")), (), ("sparkplug_bad_value",)),
    ],
)
def test_null_is_no_value_to_write(payload: bytes, writes: Any, dropped: Any) -> None:
    found = commands(node(), Publish("spBv1.0/G/DCMD/gw1/boiler", payload))
    assert (found.writes, found.dropped) == (writes, dropped)


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
