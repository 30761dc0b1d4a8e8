"""One point: the whole way of a reading, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config.reader import Reader
from gateway.connectors.base import Quality, Sample
from gateway.connectors.points import DeviceSettings, LastKnown, Point, PointSettings, WriteLimits
from gateway.connectors.shape import Part
from gateway.errors import Rejected

DEVICE = DeviceSettings(poll=1.0)


def point(**fields: Any) -> Point:
    return Point(PointSettings(name="p", **fields), DEVICE)


def said(sample: Sample) -> tuple[Any, Quality, str]:
    return sample.value, sample.quality, sample.reason


def test_a_value_is_stale_after_three_missed_polls_and_says_so_once() -> None:
    known = LastKnown("p", poll=1.0, stale_after=3)
    known.good(71.3, time=500.0, now=10.0)
    assert known.missed("away", 501.0, 11.0) is None
    assert known.missed("away", 502.0, 12.01) is None
    stale = known.missed("away", 503.0, 12.99)
    assert stale is not None
    assert (stale.value, stale.quality, stale.time, stale.reason) == (71.3, Quality.STALE, 500.0, "away")
    assert known.missed("away", 504.0, 14.0) is None
    assert known.good(71.4, 505.0, 15.0).quality is Quality.GOOD


def test_a_point_never_seen_is_bad_after_three_missed_polls() -> None:
    known = LastKnown("p", poll=1.0, stale_after=3)
    samples = [known.missed("away", now, now) for now in (0.0, 1.0, 2.0, 3.0, 4.0)]
    told = [sample for sample in samples if sample is not None]
    assert [(sample.value, sample.quality, sample.time) for sample in told] == [(None, Quality.BAD, 3.0)]


def test_a_bad_point_does_not_become_stale() -> None:
    known = LastKnown("p", poll=1.0, stale_after=1)
    known.good(1, 0.0, 0.0)
    bad = known.bad("exception 2", 1.0)
    assert bad is not None and bad.value is None
    assert known.bad("exception 2", 2.0) is None
    assert known.missed("away", 9.0, 9.0) is None


@pytest.mark.parametrize(
    ("value", "is_fine"),
    [(0, True), (90, True), (-1, False), (90.1, False), (True, False), ("5", False), (10**400, False)],
)
def test_limits_include_their_ends_and_know_numbers(value: Any, is_fine: bool) -> None:
    assert (WriteLimits(min=0, max=90).refusal(value) is None) is is_fine


def test_limits_that_leave_nothing_are_a_problem() -> None:
    assert list(WriteLimits(min=5, max=1).problems()) == [("max", "must be at least min, which is 5")]
    assert WriteLimits().refusal("anything") is None


GOOD, UNCERTAIN, BAD = Quality.GOOD, Quality.UNCERTAIN, Quality.BAD


@pytest.mark.parametrize(
    ("fields", "raw", "outcome"),
    [
        ({}, 5, (5, GOOD, "")),
        ({}, 0, (0, GOOD, "")),
        ({}, False, (False, GOOD, "")),
        ({}, "text", ("text", GOOD, "")),
        ({}, [1, 2], ([1, 2], GOOD, "")),
        ({"scale": 0.1}, 713, (71.3, GOOD, "")),
        ({"scale": 0.1, "offset": -40.0}, 250, (-15.0, GOOD, "")),
        ({"bits": 3}, 8, (True, GOOD, "")),
        ({"bits": "8..11", "scale": 2}, 0x0500, (10, GOOD, "")),
        ({"bits": "0..1", "values": {"0": "off", "1": "run"}}, 5, ("run", GOOD, "")),
        ({"values": {"0": "off"}}, 0, ("off", GOOD, "")),
        ({"values": {"0": "off"}}, 7, (7, UNCERTAIN, "a number without a name")),
        ({"range": (-40.0, 125.0)}, 126, (None, BAD, "outside -40 to 125")),
        ({"range": (0.0, 10.0), "scale": 0.1}, 99, (9.9, GOOD, "")),
        ({}, float("nan"), (None, BAD, "the device says it is no number (NaN or infinite)")),
        ({"absent": (65535,), "scale": 0.1}, 65535, (None, BAD, "the device says 65535: it has no value")),
        ({"absent": (-32768, 32767)}, 32767, (None, BAD, "the device says 32767: it has no value")),
        ({"absent": (1,)}, True, (True, GOOD, "")),
        ({"absent": (0,)}, "", ("", GOOD, "")),
        ({"bits": 3}, 1.5, (None, BAD, "the device says 1.5, which has no bits")),
    ],
)
def test_a_reading_becomes_a_value_with_a_quality(fields: dict[str, Any], raw: Any, outcome: Any) -> None:
    sample = point(**fields).took(raw, 500.0, 10.0)
    assert said(sample) == outcome and type(sample.value) is type(outcome[0])
    assert (sample.point, sample.time) == ("p", 500.0)


def test_what_the_device_says_of_its_value_is_not_made_better() -> None:
    one = point(range=(0.0, 10.0))
    assert said(one.took(5, 0.0, 0.0, UNCERTAIN, "sensor calibrating")) == (5, UNCERTAIN, "sensor calibrating")
    assert said(one.took(99, 0.0, 1.0, UNCERTAIN, "sensor calibrating")) == (None, BAD, "outside 0 to 10")
    assert said(one.took(5, 0.0, 2.0, BAD, "no sensor")) == (None, BAD, "no sensor")
    assert said(one.took(5, 0.0, 2.0, BAD)) == (None, BAD, "the device says that it is bad")
    assert said(one.took(5, 0.0, 3.0, Quality.STALE)) == (None, BAD, "the device says that it is stale")
    assert said(one.took(5, 0.0, 4.0, GOOD, "fine")) == (5, GOOD, "")


def test_a_counter_is_scaled_after_it_was_totalled_and_its_rate_is_in_the_unit_of_the_point() -> None:
    one = point(counter=65536, scale=0.1, rate=100.0)
    assert said(one.took(65_530, 0.0, 0.0)) == (6553.0, GOOD, "")
    assert said(one.took(4, 0.0, 1.0)) == (6554.0, GOOD, "")
    # 60000 in a second is more than 100 units: not a wrap, so it began again.
    reset = one.took(0, 0.0, 2.0)
    assert reset.value == 6554.0 and reset.quality is UNCERTAIN and "began again" in reset.reason
    assert said(one.took(3, 0.0, 3.0)) == (6554.3, GOOD, "")
    with pytest.raises(Rejected, match="is a total"):
        one.to_device(5)


def test_uncertain_readings_count_as_answers() -> None:
    one = point(rate=1.0)
    one.took(0, 0.0, 0.0)
    one.took(50, 1.0, 1.0)
    assert one.quality is UNCERTAIN
    assert one.missed("away", 2.0, 3.0) is None
    stale = one.missed("away", 4.0, 3.6)
    assert stale is not None and said(stale) == (50, Quality.STALE, "away")


def test_its_own_poll_says_when_it_is_stale() -> None:
    slow = Point(PointSettings(name="p", poll=60.0), DEVICE)
    assert (slow.poll, point().poll) == (60.0, 1.0)
    slow.took(1, 0.0, 0.0)
    assert slow.missed("away", 0.0, 149.0) is None
    assert slow.missed("away", 0.0, 150.0) is not None


def test_the_bytes_of_a_bad_answer_are_kept_for_the_trace() -> None:
    one = point(range=(0.0, 10.0))
    one.took(5, 0.0, 0.0)
    assert one.status() == {"quality": "good"}
    assert one.bad("no text", 1.0, b"\xff\xfe") is not None
    assert one.bad("no text", 2.0, b"\xff\xfd") is None  # said already, and the newest bytes are kept
    trouble = {"reason": "no text", "raw": "ff fd"}
    assert one.status() == {"quality": "bad", "reason": "no text", "bad": trouble}
    one.took(5, 3.0, 3.0)
    assert one.status() == {"quality": "good", "bad": trouble}
    one.took(99, 4.0, 4.0)
    assert one.status()["bad"] == {"reason": "outside 0 to 10", "raw": "99"}
    one.bad("long", 5.0, bytes(1000))
    assert len(bytes.fromhex(one.status()["bad"]["raw"])) == 64


def test_a_part_is_written_as_a_part_or_not_at_all() -> None:
    one = point(bits=3, write=WriteLimits())
    assert one.is_part and not point().is_part
    assert one.part_to_device(True) == Part(8, 8) and one.part_to_device(False) == Part(8, 0)
    with pytest.raises(Rejected, match='"p" is a part of a number, and this device can only write whole ones'):
        one.to_device(True)
    with pytest.raises(Rejected, match="must be true or false"):
        one.part_to_device(5)
    with pytest.raises(Rejected, match='must be one of "off", not'):
        point(values={"0": "off"}).to_device("run")


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"scale": 0.0}, "scale: must not be 0"),
        ({"bits": "9..3"}, 'bits: must be a bit such as 3, or several such as "8..11", counted from 0 to 63'),
        ({"bits": 3, "scale": 2}, "scale: has no effect on a single bit"),
        ({"values": {"a": "off"}}, "values: must have whole numbers as keys"),
        ({"values": {"0": "off"}, "offset": 1}, "scale: has no effect on a value that is a name"),
        ({"values": {"0": "off"}, "range": [0, 1]}, "range: has no effect on a value that is a name"),
        ({"bits": 3, "rate": 1}, "rate: has no effect on a single bit"),
        ({"bits": 3, "flat_for": "1h"}, "flat_for: has no effect on a single bit"),
        ({"counter": 1}, "counter: must be between 2 and"),
        ({"counter": 65536, "bits": 3}, "counter: has no effect"),
        ({"counter": 65536, "write": {}}, "write: has no effect on a total"),
        ({"range": [1]}, "range: must be the least and the greatest value, as in [-40, 125]"),
        ({"range": [5, 1]}, "range: must be the least and the greatest value"),
        ({"rate": 0}, "rate: must be greater than 0, not 0"),
        ({"flat_for": "0s"}, "flat_for: must be between 100ms and 365d"),
        ({"deadband": "2"}, 'deadband: must be a number of at least 0 in the unit of the point, or a percentage'),
        ({"min_interval": "2d"}, "min_interval: must be between 0s and 1d"),
        ({"min_interval": "1m", "max_interval": "1s"}, "max_interval: must be at least min_interval, which is 60 s"),
        ({"poll": "0s"}, "poll: must be between 10ms and 1d"),
        ({"write": {"min": 5, "max": 1}}, "max: must be at least min"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(fields: dict[str, Any], key: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, None)
    reader.section(PointSettings, {"name": "p", **fields}, ())
    assert [f"{path[-1]}: {text}" for path, text in reader.problems if f"{path[-1]}: {text}".startswith(key)]
    assert len(reader.problems) == 1
