"""The first part of the path of a value: what the device said, how it was decoded, its quality, and the deadband."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.clock import Clock, iso_time
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.connectors.base import Quality, Sample
from gateway.connectors.points import PointSettings
from gateway.connectors.port import DevicePort
from gateway.errors import Rejected

DECODING: Final = (
    "address", "node", "path", "type", "order", "exponent", "bits", "absent", "counter", "values", "scale", "offset",
    "unit", "range", "rate", "flat_for",
)  # fmt: skip
"""Settings that say how bytes become a value, by the names that kinds of devices give them."""

THINNING: Final = ("deadband", "min_interval", "max_interval")


def point_of(settings: Settings, topic: str) -> tuple[str, Any] | None:
    """Device and point whose values are published at a topic; None for other topics."""
    above, _, name = topic.rpartition("/")
    for device, config in settings.device.items():
        if (config.topic or device) == above:
            for point in config.point:
                if point.name == name:
                    return device, point
    return None


def point_path(
    loaded: Loaded[Settings], ports: Mapping[str, DevicePort], topic: str, clock: Clock, unknown: list[str]
) -> dict[str, Any] | None:
    """None when no device publishes this topic. What nobody knows is added to ``unknown``."""
    found = point_of(loaded.value, topic)
    port = ports.get(found[0]) if found is not None else None
    if found is None or port is None:
        return None
    device, point = found
    config = loaded.value.device[device]
    told: dict[str, Any] = {
        "device": device,
        "kind": loaded.kinds[f"device.{device}"],
        "point": point.name,
        "decoding": {key: value for key in DECODING if (value := _given(point, key)) is not None},
        "thinning": {key: value for key in THINNING if (value := _given(point, key)) is not None},
    }
    sample = port.last.get(point.name)
    if sample is None:
        unknown.append("a value: nothing has come from the device yet")
        return {**told, "sample": None}
    told["sample"] = sample_shown(sample)
    raw, is_said = raw_of(point, sample)
    told["raw"] = raw
    if not is_said:
        unknown.append(
            "the bytes that the device sent: those of good answers are not kept"
            + ("; raw is worked out from the value, the other way round" if raw is not None else "")
        )
    trouble = port.trouble(point.name)
    if trouble is not None and trouble is not sample:
        told["last_trouble"] = sample_shown(trouble)
    relied = port.known(point.name)
    if relied is not None and relied is not sample:
        told["now"] = sample_shown(relied)
    told["published"] = _standing(port, config, sample, clock)
    return told


def sample_shown(sample: Sample) -> dict[str, Any]:
    """A sample in plain JSON types."""
    shown = {
        "value": sample.value,
        "quality": str(sample.quality),
        "reason": sample.reason or None,
        "time": iso_time(sample.time),
    }
    return {**shown, "raw": sample.raw} if sample.raw else shown


def raw_of(point: Any, sample: Sample) -> tuple[Any, bool]:
    """What the device held, and whether that is what it said itself; else it is worked out, or None."""
    if sample.raw:
        return sample.raw, True
    if not isinstance(point, PointSettings) or point.counter is not None or sample.value is None:
        return None, False
    try:
        return point.shape().raw(sample.value), False
    except Rejected:
        return None, False


def _standing(port: DevicePort, config: Any, sample: Sample, clock: Clock) -> dict[str, Any]:
    reporter = port.outlet(sample.point).reporter
    verdict = reporter.standing(sample, clock.now())
    if verdict.is_published and config.format == "value" and sample.quality is not Quality.GOOD:
        return {"published": False, "reason": 'format = "value" publishes only good values'}
    told: dict[str, Any] = {"published": verdict.is_published, "reason": verdict.reason}
    last = reporter.published
    if not verdict.is_published and last is not None:
        told["last_published"] = sample_shown(last)
    return told


def _given(point: Any, key: str) -> Any:
    """A setting that is given and says something."""
    value = getattr(point, key, None)
    if value in (None, (), 0.0) or (key == "scale" and value == 1.0):
        return None
    return list(value) if isinstance(value, tuple) else value
