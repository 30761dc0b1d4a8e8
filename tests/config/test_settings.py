"""The declarations themselves: what they say agrees with what they configure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from gateway import kinds
from gateway.broker.retained import Retained
from gateway.config.settings import Mqtt, Settings
from gateway.config.shape import Key, element, is_section, keys
from gateway.mqtt.limits import Limits


def all_keys(shape: type[Any], where: str = "") -> Iterator[tuple[str, Key]]:
    for key in keys(shape):
        yield f"{where}{key.name}", key
        if key.declared.kind is not None:
            for kind in kinds.names(key.declared.kind):
                entry = kinds.declaration(key.declared.kind, kind)
                assert entry is not None
                yield from all_keys(entry, f"{key.name}.{kind}.")
        for inner in (key.type, element(key.type)):
            if is_section(inner):
                yield from all_keys(inner, f"{where}{key.name}.")


KEYS = dict(all_keys(Settings))


@pytest.mark.parametrize("name", KEYS)
def test_every_default_passes_its_own_check(name: str) -> None:
    key = KEYS[name]
    if key.declared.check is not None and key.default is not None:
        assert key.declared.check(key.default) is None


@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_explained(name: str) -> None:
    key = KEYS[name]
    shape = element(key.type) or key.type
    assert key.declared.text.endswith((".", ":")) or (is_section(shape) and shape.__doc__)


def test_every_bound_of_the_mqtt_server_is_a_setting_with_the_same_default() -> None:
    limits, mqtt = Limits(), Mqtt()
    assert {name: getattr(mqtt, name) for name in Limits.__slots__} == {
        name: getattr(limits, name) for name in Limits.__slots__
    }
    rest = {field.name for field in fields(Mqtt)} - set(Limits.__slots__)
    extras = {"exclusive", "sys", "slow", "rewrite", "auto_subscribe", "delayed", "dedup"}
    assert rest - extras == {"gather", "max_retained", "retained_bytes"}
    assert (Retained().max_count, Retained().max_bytes) == (mqtt.max_retained, mqtt.retained_bytes)
