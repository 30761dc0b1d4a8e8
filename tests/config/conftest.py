"""Kinds of devices that exist only here, so that the settings layer is tested without any real kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from gateway.config.declare import (
    Duration,
    Secret,
    between,
    not_empty,
    one_of,
    scheme,
    setting,
    topic_level,
    topic_name,
)
from gateway.config.listener import MqttListener


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be written to a point."""

    min: float = setting(text="Smallest value.")
    max: float = setting(text="Largest value.")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.min > self.max:
            yield "max", f"must not be less than min, which is {self.min:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BusPoint:
    """One value of a device."""

    name: str = setting(text="Last level of its topic.", check=topic_level, example='"temperature"')
    address: int = setting(text="Number of the register.", check=between(0, 65_535), example="100")
    type: Literal["int16", "float32"] = setting("int16", text="How the registers are read.")
    scale: float = setting(1.0, text="Factor.")
    class_: str | None = setting(None, text="Class of the message.", example='"telemetry"')
    write: Limits | None = setting(None, text="Limits of a write; read-only without them.")
    labels: tuple[str, ...] = setting((), text="Words for people.")
    deadband: float | Literal["any"] = setting(0.0, text="Smallest change that is published.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusDevice:
    """A device on a bus."""

    kind: str = setting("bus", text="Kind.")
    url: str = setting(text="Address.", check=scheme("tcp", "serial"), example='"tcp://10.0.0.5:502"')
    topic: str = setting(text="Topic of the device.", check=topic_name, example='"plant/boiler"')
    unit: int = setting(1, text="Unit.", check=one_of(1, 2, 3))
    poll: Duration = setting(1.0, text="How often it is read.", check=between(0.01, 3600))
    password: Secret | None = setting(None, text="Password.")
    options: dict[str, Any] = setting(factory=dict, text="Options as they are.", example="{ baud = 9600 }")
    point: tuple[BusPoint, ...] = setting(text="Points.", check=not_empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimDevice:
    """A device that is not there."""

    topic: str | None = setting(None, text="Topic of the device.", check=topic_name)
    point: tuple[BusPoint, ...] = setting((), text="Points.")


class Kinds:
    """Stands for the module ``gateway.kinds``."""

    known: dict[str, dict[str, type[Any]]] = {
        "listener": {"mqtt": MqttListener},
        "device": {"bus": BusDevice, "sim": SimDevice},
        "uplink": {},
    }

    def names(self, section: str) -> list[str]:
        return sorted(self.known[section])

    def declaration(self, section: str, kind: str) -> type[Any] | None:
        return self.known[section].get(kind)


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()
