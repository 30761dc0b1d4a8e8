"""The ledger of the demo must fail when something is missing: a ledger that always holds shows nothing."""

from __future__ import annotations

from gateway.demo.cloud import Cloud
from gateway.demo.ledger import Account, Ledger, balance
from gateway.message import USER_PROPERTY
from gateway.mqtt.packets import Publish


def _publish(topic: str, payload: bytes, message_id: str, replay: bool = False) -> Publish:
    mark = ((USER_PROPERTY, ("replay", "1")),) if replay else ()
    return Publish(topic, payload, 1, False, False, 1, (*mark, (USER_PROPERTY, ("message-id", message_id))))


def test_everything_accounted_for() -> None:
    sensors, devices = balance(
        {"hall": {0, 1, 2}}, {"hall": {0, 1, 2}}, {"produced": 10, "thinned": 3, "dropped:outbox_full": 2}, 5
    )
    assert sensors == Account("messages of MQTT sensors", 3, 3, 0, 0)
    assert devices == Account("values of Modbus devices", 10, 5, 3, 2)
    ledger = Ledger((sensors, devices), 0, 0, 0)
    assert ledger.holds
    assert ledger.lines()[-1] == "produced = delivered + thinned + dropped, 0 lost"


def test_a_lost_message_is_seen() -> None:
    sensors, devices = balance({"hall": {0, 1, 2}}, {"hall": {0, 2}}, {"produced": 1}, 1)
    assert sensors.lost == 1
    ledger = Ledger((sensors, devices), 0, 0, 0)
    assert not ledger.holds
    assert "DOES NOT HOLD" in ledger.lines()[-1]


def test_a_value_that_nobody_produced_is_seen() -> None:
    _, devices = balance({}, {}, {"produced": 1}, 2)
    assert not Ledger((devices,), 0, 0, 0).holds


def test_disorder_is_seen() -> None:
    assert not Ledger((), 0, 0, 1).holds


def test_the_cloud_tells_repeats_strangers_and_disorder_apart() -> None:
    cloud = Cloud("site/")
    cloud.take(_publish("site/sensors/hall/reading", b'{"n":0}', "1:1"))
    cloud.take(_publish("site/sensors/hall/reading", b'{"n":0}', "1:1"))
    cloud.take(_publish("site/sensors/hall/reading", b'{"n":0}', "1:3"))
    cloud.take(_publish("site/plant/boiler/temperature", b"{}", "1:4"))
    cloud.take(_publish("site/plant/boiler/temperature", b"{}", "1:2"))
    cloud.take(_publish("site/alarm/boiler/temperature", b"{}", "1:5"))
    assert (cloud.total, cloud.repeats, cloud.strangers, cloud.disorder) == (5, 1, 1, 1)
    assert (cloud.devices, cloud.alarms, cloud.arrived) == (2, 1, {"hall": {0}})


def test_what_has_waited_is_in_an_order_of_its_own() -> None:
    cloud = Cloud("site/")
    cloud.take(_publish("site/plant/a", b"{}", "2:9"))
    for message_id in ("1:3", "1:4", "1:2"):
        cloud.take(_publish("site/plant/a", b"{}", message_id, replay=True))
    cloud.take(_publish("site/plant/a", b"{}", "2:10"))
    assert (cloud.total, cloud.disorder) == (5, 1)
