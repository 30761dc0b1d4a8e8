"""Settings of the extras: each key reaches the part that it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import kinds
from gateway.config.load import read
from gateway.config.settings import Mqtt, Settings
from gateway.errors import ConfigError
from gateway.message import Message
from gateway.mqtt.extras import Extras
from gateway.mqtt.packets import SubAck
from mqtt.pair import World, publishes


def extras(folder: Path, text: str) -> Extras:
    return Extras.of(settings(folder, text))


def settings(folder: Path, text: str) -> Mqtt:
    (folder / "gateway.toml").write_text(text)
    return read(folder / "gateway.toml", Settings, kinds).value.mqtt


def test_defaults(tmp_path: Path) -> None:
    made = extras(tmp_path, "")
    assert (made.rewrite_topic, made.rewrite_filter, made.events) == (None, None, True)
    assert made.slow is not None
    assert (made.slow.threshold, made.slow.size, made.slow.memory) == (0.5, 10, 300.0)
    assert World(extras=made).client().subscribe("$exclusive/t") == [SubAck(1, (0,))]
    assert settings(tmp_path, "").sys.interval == 10.0


def test_slow(tmp_path: Path) -> None:
    made = extras(tmp_path, '[mqtt.slow]\nthreshold = "2s"\ntop = 3\nmemory = "1m"\n')
    assert made.slow is not None
    assert (made.slow.threshold, made.slow.size, made.slow.memory) == (2.0, 3, 60.0)
    assert extras(tmp_path, "[mqtt.slow]\nthreshold = 0\n").slow is None


def test_exclusive_and_events_off(tmp_path: Path) -> None:
    made = extras(tmp_path, "[mqtt]\nexclusive = false\n[mqtt.sys]\nevents = false\n")
    assert World(extras=made).client().subscribe("$exclusive/t") == [SubAck(1, (0x8F,))]
    assert not made.events


def test_rewrite_in_order_with_its_action(tmp_path: Path) -> None:
    made = extras(
        tmp_path,
        '[[mqtt.rewrite]]\naction = "publish"\nfilter = "a/+"\nto = "b/+"\n'
        '[[mqtt.rewrite]]\naction = "subscribe"\nfilter = "a/+"\nto = "c/+"\n'
        '[[mqtt.rewrite]]\nfilter = "a/#"\nto = "d/#"\n',
    )
    assert made.rewrite_topic is not None
    assert made.rewrite_filter is not None
    assert (made.rewrite_topic("a/x"), made.rewrite_topic("a/x/y")) == ("b/x", "d/x/y")
    assert (made.rewrite_filter("a/x"), made.rewrite_filter("a/x/y")) == ("c/x", "d/x/y")


def test_auto_subscribe_with_its_options(tmp_path: Path) -> None:
    made = extras(
        tmp_path,
        '[[mqtt.auto_subscribe]]\ntopic = "x/{client_id}"\nqos = 1\nno_local = true\nretain_as_published = true\n'
        "retain_handling = 2\n",
    )
    world = World(extras=made)
    world.broker.publish(Message("x/c", b"kept", retain=True))
    client = world.client("c")
    assert not publishes(client.resumed)
    one = world.server.sessions["c"].subscriptions["x/c"]
    assert (one.qos, one.no_local, one.retain_as_published) == (1, True, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[mqtt.rewrite]]\nfilter = "a/#"\nto = "b/+"\n', "mqtt.rewrite[0].to: to 'b/+' must have the same wildcards"),
        ('[[mqtt.rewrite]]\nfilter = "a/#/b"\nto = "b"\n', "mqtt.rewrite[0].filter: must be a topic filter"),
        ('[[mqtt.rewrite]]\nfilter = "a"\nto = "b"\naction = "both"\n', "mqtt.rewrite[0].action: "),
        ('[[mqtt.auto_subscribe]]\ntopic = "{name}"\n', "mqtt.auto_subscribe[0].topic: must have no other variables"),
        ('[[mqtt.auto_subscribe]]\ntopic = "a"\nqos = 3\n', "mqtt.auto_subscribe[0].qos: must be between 0 and 2"),
        ("[mqtt.sys]\ninterval = -1\n", "mqtt.sys.interval: "),
    ],
)
def test_mistakes_are_found(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)
    assert problem in caught.value.problems[0]
