"""The window: any order of answers, one cursor, one packet identifier for each row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.uplinks.base import Row
from gateway.uplinks.mqtt.window import MAX_BYTES, MAX_SPAN, PACKET_IDS, SUBSCRIBE_ID, Window, packet_id
from uplinks.bench import row


def test_packet_id_is_never_zero_nor_that_of_subscribe() -> None:
    assert packet_id(1) == 1
    assert packet_id(PACKET_IDS) == PACKET_IDS
    assert packet_id(PACKET_IDS + 1) == 1
    assert SUBSCRIBE_ID not in {packet_id(seq) for seq in range(1, 3 * PACKET_IDS)}


def test_cursor_waits_for_the_oldest() -> None:
    window = Window(10, 8)
    slots = [window.take(row(seq)) for seq in (11, 13, 14)]
    assert not window.settle(slots[1])
    assert not window.settle(slots[2])
    assert window.cursor == 10
    assert window.settle(slots[0])
    assert window.cursor == 14
    assert not window.settle(slots[0]), "settling twice changes nothing"


def test_skipped_rows_join_and_do_not_fill_the_memory() -> None:
    window = Window(0, 8)
    first = window.take(row(1))
    for seq in range(2, 100_000):
        assert not window.skip(seq)
    assert window.has_room(row(100_000))
    window.settle(first)
    assert window.cursor == 99_999


def test_room_is_bounded_in_rows_bytes_span_and_packet_ids() -> None:
    big = b"x" * (MAX_BYTES + 1)
    window = Window(0, 2)
    assert window.has_room(row(1, payload=big)), "an empty window takes any row"
    window.take(row(1, payload=b""))
    assert not window.has_room(row(2, payload=big))
    assert not window.has_room(row(1 + PACKET_IDS))
    window.take(row(2))
    assert not window.has_room(row(3))
    stuck = Window(0, 2)
    stuck.take(row(1))
    for seq in range(2, MAX_SPAN + 1):
        assert stuck.has_room(row(seq))
        stuck.settle(stuck.take(row(seq)))
    assert not stuck.has_room(row(MAX_SPAN + 1))


def test_only_what_is_in_flight_is_answered() -> None:
    window = Window(0, 8)
    slot = window.take(row(1))
    assert window.answered(1) is None
    window.start(slot)
    assert window.answered(1) is slot
    window.disconnected()
    assert window.answered(1) is None
    assert (slot.sent, window.in_flight, window.waiting()) == (True, 0, [slot])


def test_a_refused_row_is_no_repeat() -> None:
    window = Window(0, 8)
    slot = window.take(row(1), sent=True)
    window.start(slot)
    window.wait(slot)
    assert (slot.sent, slot.tries) == (False, 1)


def test_a_new_session_has_seen_nothing() -> None:
    window = Window(0, 8)
    slot = window.take(row(1))
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
    window = Window(0, 5)
    seen: list[int] = []
    open_rows: dict[int, object] = {}
    last = 0
    for step, number in steps:
        if step in ("new", "skip"):
            new: Row = row(last + number)
            if step == "skip":
                window.skip(new.seq)
            elif window.has_room(new):
                open_rows[new.seq] = window.take(new)
            else:
                continue
            last = new.seq
            seen.append(last)
        elif step == "cut":
            window.disconnected()
            assert [slot.seq for slot in window.waiting()] == sorted(open_rows)
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
        assert window.cursor == max((seq for seq in seen if seq < oldest), default=0)
        assert len(window) == len(open_rows) <= window.limit
        assert window.in_flight + len(window.waiting()) == len(open_rows)
        assert window.bytes == sum(len(str(seq)) for seq in open_rows)
