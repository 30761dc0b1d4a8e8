"""The window: any order of answers, one cursor for each run, one packet identifier for each parcel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound import Row
from gateway.uplinks.mqtt.window import MAX_BYTES, MAX_SPAN, PACKET_IDS, SUBSCRIBE_ID, Run, Window, packet_id
from gateway.uplinks.parcel import Parcel
from uplinks.bench import row

LAST = 1 << 56


def parcel(*seqs: int, payload: bytes | None = None) -> Parcel:
    rows = tuple(row(seq) for seq in seqs)
    return Parcel(rows, "t", b"+".join(row.payload for row in rows) if payload is None else payload, False, ())


def test_packet_id_is_never_zero_nor_that_of_subscribe() -> None:
    assert packet_id(1) == 1
    assert packet_id(PACKET_IDS) == PACKET_IDS
    assert packet_id(PACKET_IDS + 1) == 1
    assert SUBSCRIBE_ID not in {packet_id(seq) for seq in range(1, 3 * PACKET_IDS)}


def test_cursor_waits_for_the_oldest() -> None:
    window, run = Window(8), Run(10, LAST)
    slots = [window.take(run, parcel(seq)) for seq in (11, 13, 14)]
    assert not window.settle(slots[1])
    assert not window.settle(slots[2])
    assert run.cursor == 10
    assert window.settle(slots[0])
    assert run.cursor == 14
    assert not window.settle(slots[0]), "settling twice changes nothing"


def test_a_parcel_is_settled_as_a_whole() -> None:
    window, run = Window(8), Run(0, LAST)
    first, second = window.take(run, parcel(1, 2, 5)), window.take(run, parcel(6, 7))
    assert (len(window), window.bytes, second.id) == (2, len(b"1+2+5") + len(b"6+7"), 6)
    assert not window.settle(second)
    assert window.settle(first)
    assert (run.cursor, window.bytes) == (7, 0)


def test_runs_do_not_wait_for_each_other() -> None:
    window, old, live = Window(8), Run(0, 100), Run(100, LAST)
    window.take(old, parcel(1))
    assert window.settle(window.take(live, parcel(101)))
    assert (old.cursor, live.cursor) == (0, 101)


def test_what_waits_is_sent_in_the_order_in_which_it_was_sent_first() -> None:
    window, old, live = Window(8), Run(0, 100), Run(100, LAST)
    slots = [window.take(run, parcel(seq)) for run, seq in ((live, 101), (old, 1), (live, 102), (old, 2))]
    for slot in slots:
        window.start(slot)
    window.disconnected()
    window.settle(slots[1])
    assert window.waiting() == [slots[0], slots[2], slots[3]]


def test_skipped_rows_join_and_do_not_fill_the_memory() -> None:
    window, run = Window(8), Run(0, LAST)
    first = window.take(run, parcel(1))
    for seq in range(2, 100_000):
        assert not window.skip(run, seq)
    assert window.has_room(100_000, 1)
    window.settle(first)
    assert run.cursor == 99_999


def test_room_is_bounded_in_parcels_bytes_span_and_packet_ids() -> None:
    big = MAX_BYTES + 1
    window, run = Window(2), Run(0, LAST)
    assert window.has_room(1, big), "an empty window takes any parcel"
    window.take(run, parcel(1, payload=b""))
    assert not window.has_room(2, big)
    assert not window.has_room(1 + PACKET_IDS, 1)
    window.take(run, parcel(2))
    assert not window.has_room(3, 1)
    stuck = Window(2)
    stuck.take(run, parcel(1))
    for seq in range(2, MAX_SPAN + 1):
        assert stuck.has_room(seq, 1)
        stuck.settle(stuck.take(run, parcel(seq)))
    assert not stuck.has_room(MAX_SPAN + 1, 1)


def test_only_what_is_in_flight_is_answered() -> None:
    window = Window(8)
    slot = window.take(Run(0, LAST), parcel(1))
    assert window.answered(1) is None
    window.start(slot)
    assert window.answered(1) is slot
    window.disconnected()
    assert window.answered(1) is None
    assert (slot.sent, window.in_flight, window.waiting()) == (True, 0, [slot])


def test_a_refused_parcel_is_no_repeat() -> None:
    window = Window(8)
    slot = window.take(Run(0, LAST), parcel(1), sent=True)
    window.start(slot)
    window.wait(slot)
    assert (slot.sent, slot.tries) == (False, 1)


def test_a_new_session_has_seen_nothing() -> None:
    window = Window(8)
    slot = window.take(Run(0, LAST), parcel(1))
    window.start(slot)
    window.disconnected()
    window.new_session()
    assert not slot.sent


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(1, 3)),
        st.tuples(st.just("skip"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["settle", "refuse", "start"]), st.integers(0, 20)),
        st.tuples(st.sampled_from(["cut", "new session"]), st.just(0)),
    ),
    max_size=120,
)


@given(STEPS)
def test_against_the_plain_definition(steps: list[tuple[str, int]]) -> None:
    """The cursor is the last row read below which nothing is open; waiting rows are in order."""
    window, run = Window(5), Run(0, LAST)
    seen: list[int] = []
    open_rows: dict[int, object] = {}
    last = 0
    for step, number in steps:
        if step in ("new", "skip"):
            new: Row = row(last + number)
            if step == "skip":
                window.skip(run, new.seq)
            elif window.has_room(new.seq, len(new.payload)):
                open_rows[new.seq] = window.take(run, parcel(new.seq))
            else:
                continue
            last = new.seq
            seen.append(last)
        elif step == "cut":
            window.disconnected()
            assert [slot.last for slot in window.waiting()] == sorted(open_rows)
        elif step == "new session":
            window.new_session()
        elif open_rows:
            seq = sorted(open_rows)[number % len(open_rows)]
            slot = window._by_id[packet_id(seq)]
            if step == "settle":
                window.settle(slot)
                del open_rows[seq]
            elif step == "start":
                window.start(slot)
            else:
                window.wait(slot)
        oldest = min(open_rows, default=last + 1)
        assert run.cursor == max((seq for seq in seen if seq < oldest), default=0)
        assert len(window) == len(open_rows) <= window.limit
        assert window.in_flight + len(window.waiting()) == len(open_rows)
        assert window.bytes == sum(len(str(seq)) for seq in open_rows)
