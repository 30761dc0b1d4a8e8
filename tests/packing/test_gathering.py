"""When a parcel is closed, and what is in it."""

from __future__ import annotations

from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Publish
from gateway.unpack import unpack
from gateway.uplinks.packing.batch import Batch
from gateway.uplinks.packing.filling import Filling
from gateway.uplinks.packing.gather import Gathering
from gateway.uplinks.packing.parcels import Packer, default_topic
from packing.rows import entry, point

FOREVER = float("inf")


def test_rows_wait_until_the_first_has_waited_long_enough() -> None:
    gathering = Gathering(Batch(wait=10.0))
    assert gathering.due() is None
    gathering.add(entry(1, b"x"), 100.0)
    gathering.add(entry(2, b"x"), 109.0)
    assert gathering.due() == 110.0
    assert [item.row.seq for item in gathering.take()] == [1, 2]
    assert (gathering.due(), gathering.first) == (None, None)


def test_many_rows_wait_no_longer() -> None:
    gathering = Gathering(Batch(rows=2))
    assert gathering.add(entry(1, b"x"), 100.0)
    assert gathering.add(entry(2, b"x"), 101.0)
    assert not gathering.add(entry(3, b"x"), 101.0)
    assert gathering.due() == 100.0


def test_large_rows_wait_no_longer() -> None:
    gathering = Gathering(Batch(bytes=1024))
    assert gathering.add(entry(1, b"x" * 10_000), 100.0), "the first always has room"
    assert gathering.due() == 100.0
    gathering.take()
    # Topics count too: "plant/t" has 7 bytes.
    assert gathering.add(entry(2, b"x" * 500), 100.0)
    assert not gathering.add(entry(3, b"x" * 511), 100.0)
    assert gathering.add(entry(3, b"x" * 510), 100.0)
    assert gathering.due() == 100.0


def test_what_has_no_room_begins_the_next_parcel() -> None:
    batch = Batch(rows=2, wait=10.0)
    filling = Filling(batch, Packer(batch, "gw"), 1 << 20)
    assert filling.first is None
    assert filling.close(0.0, True) == FOREVER
    for seq in (1, 2, 3):
        item = entry(seq, b"x")
        filling.add([item], 0.0)
    assert [[row.seq for row in parcel.rows] for parcel in filling.ready] == [[1, 2]]
    filling.ready.clear()
    assert filling.first is not None and filling.first.seq == 3
    assert filling.close(4.0, False) == 6.0
    assert filling.close(4.0, True) == 0.0
    assert [[row.seq for row in parcel.rows] for parcel in filling.ready] == [[3]]


def test_a_packet_is_never_larger_than_the_broker_takes() -> None:
    items = [point(seq, f"plant/boiler{seq % 5}", seq * 0.7) for seq in range(1, 400)]
    for most in (400, 700, 2000):
        for form in ("lines", "columns"):
            packer = Packer(Batch(format=form), "gw-öst", ((38, ("via", "gw-öst")), (38, ("replay", "1"))), "again/")
            parcels = list(packer.parcels(items, most))
            for parcel in parcels:
                # What a publish gets on its way: expiry and alias.
                props = ((2, 1000), *parcel.props, (35, 10))
                assert len(encode(Publish(parcel.topic, parcel.payload, 1, False, False, 1, props), 5)) <= most
            assert [record.payload for parcel in parcels for record in unpack(parcel.payload)] == [
                item.row.payload for item in items
            ]


def test_the_topic_of_a_gateway_whose_name_is_no_topic() -> None:
    assert default_topic("site-7") == "site-7/batch"
    assert default_topic("hall #3+4") == "hall -3-4/batch"
