"""Rows that are dropped together are counted as if each were counted by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound import TELEMETRY
from gateway.ranges import NOTHING, Ranges
from gateway.store.drops import Drop, Drops
from gateway.store.making_room import Lost, count_rows
from gateway.store.position import Position
from gateway.store.rooms import ROOMS
from gateway.store.segment import Columns
from gateway.store.ways import Ways

UPLINKS = ("cloud", "plant", "audit")
LAST = 40

rows = st.lists(
    st.tuples(st.floats(0, 1e6), st.sampled_from([(), ("cloud",), ("cloud", "plant"), ("gone",), ("audit",)])),
    min_size=1,
    max_size=LAST,
)
stretches = st.lists(st.tuples(st.integers(0, LAST), st.integers(0, LAST)), max_size=3).map(Ranges.of)


def position(has: Ranges) -> Position:
    acked = [NOTHING] * len(ROOMS)
    acked[TELEMETRY] = has
    return Position(tuple(acked))


@given(rows, st.lists(stretches, min_size=3, max_size=3), st.data())
def test_counting_together_is_counting_each(
    rows: list[tuple[float, tuple[str, ...]]], acked: list[Ranges], data: st.DataObject
) -> None:
    count = len(rows)
    columns = Columns(
        list(range(1, count + 1)),
        [time for time, _ in rows],
        [("plant/x", "device:x", 1, False, names) for _, names in rows],
        [b"1"] * count,
        {},
    )
    indexes = sorted(data.draw(st.sets(st.integers(0, count - 1))))
    ways = Ways({name: position(has) for name, has in zip(UPLINKS, acked, strict=True)})
    lost = Lost()
    count_rows(columns, indexes, TELEMETRY, "outbox_full", ways, lost)

    drops, total = Drops(), 0
    for index in indexes:
        time, names = rows[index]
        losers = ways.losers(names, TELEMETRY, index + 1)
        total += bool(losers)
        for name in losers:
            drops.add(name, "outbox_full", Drop(1, time, time))
    assert lost.drops.by == drops.by
    assert lost.reasons == ({"outbox_full": total} if total else {})
