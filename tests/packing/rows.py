"""Rows as the tests of the packing need them."""

from __future__ import annotations

from gateway.clock import iso_time
from gateway.outbound import Row
from gateway.uplinks.packing.entry import Entry

NOW = 1_795_238_946.123


def entry(seq: int, payload: bytes, topic: str = "plant/t", time: float = NOW) -> Entry:
    """A row of boot 7 under the topic that it has here."""
    return Entry(Row(seq, 7, topic, payload, 1, False, (), time, None, "device:boiler"), topic, ())


def point(seq: int, topic: str, value: float, time: float = NOW) -> Entry:
    """A reading as a device publishes it."""
    return entry(seq, f'{{"v":{value!r},"q":"good","t":"{iso_time(time)}","u":"Cel"}}'.encode(), topic, time)
