"""Which bytes are read in which request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.s7.planner import MOST_SPANS, REST, Item, Plan, most_bytes, requests_of, spans_of

ITEMS = st.lists(
    st.tuples(st.sampled_from([("DB", 1), ("DB", 2), ("M", 0)]), st.integers(0, 600), st.integers(1, 300)),
    min_size=1,
    max_size=60,
)


def items(*places: tuple[int, int], block: int = 1) -> list[Item]:
    return [Item(f"p{byte}", "DB", block, byte, size) for byte, size in places]


def test_a_hundred_neighbouring_words_are_one_request() -> None:
    plan = Plan(items(*((2 * n, 2) for n in range(100))), 240, 16)
    ((span,),) = plan.scan()
    assert (span.byte, span.size) == (0, 200)


def test_two_hundred_points_in_five_clusters_are_two_requests() -> None:
    wanted = [Item(f"{block}.{n}", "DB", block, 2 * n, 2) for block in range(1, 6) for n in range(40)]
    requests = Plan(wanted, 240, 16).scan()
    assert [len(request) for request in requests] == [2, 2, 1]
    assert [len(request) for request in Plan(wanted, 480, 16).scan()] == [5]


def test_a_hole_is_read_along_up_to_the_gap() -> None:
    assert len(spans_of(items((0, 2), (18, 2)), 16, 222)) == 1
    assert len(spans_of(items((0, 2), (19, 2)), 16, 222)) == 2
    assert len(spans_of(items((0, 2), (3, 2)), 0, 222)) == 2


@given(ITEMS, st.integers(240, 960), st.integers(0, 400))
def test_every_point_is_read_once_and_every_request_fits(
    places: list[tuple[tuple[str, int], int, int]], pdu: int, gap: int
) -> None:
    wanted = [Item(str(n), area, block, byte, size) for n, ((area, block), byte, size) in enumerate(places)]
    requests = Plan(wanted, pdu, gap).scan()
    names = [item.name for request in requests for span in request for item in span.items]
    assert sorted(names) == sorted(item.name for item in wanted)
    for request in requests:
        for span in request:
            for item in span.items:
                assert (item.area, item.block) == (span.area, span.block)
                assert span.byte <= item.byte and item.byte + item.size <= span.byte + span.size
        assert len(request) <= MOST_SPANS
        if len(request) > 1 or request[0].size <= most_bytes(pdu):
            padded = sum(4 + span.size + span.size % 2 for span in request[:-1]) + 4 + request[-1].size
            assert 14 + padded <= pdu
            assert 12 + 12 * len(request) <= pdu
        else:
            # Larger than a message: alone, and one value that cannot be cut smaller.
            assert max(item.size for item in request[0].items) == request[0].size


@given(ITEMS, st.integers(240, 960), st.integers(0, 40))
def test_what_is_planned_reads_the_same_as_single_reads(
    places: list[tuple[tuple[str, int], int, int]], pdu: int, gap: int
) -> None:
    memory = {key: bytes((n * 7 + key[1]) % 256 for n in range(1000)) for key in (("DB", 1), ("DB", 2), ("M", 0))}
    wanted = [Item(str(n), area, block, byte, size) for n, ((area, block), byte, size) in enumerate(places)]
    found = {}
    for request in Plan(wanted, pdu, gap).scan():
        for span in request:
            content = memory[span.area, span.block][span.byte : span.byte + span.size]
            for item in span.items:
                found[item.name] = content[item.byte - span.byte :][: item.size]
    assert found == {item.name: memory[item.area, item.block][item.byte :][: item.size] for item in wanted}


def test_only_what_is_due_is_read() -> None:
    plan = Plan([*items((0, 2), (2, 2)), *items((0, 2), block=2)], 240, 16)
    ((span,),) = plan.scan(["p2"])
    assert span.block == 1
    assert plan.scan([]) == []


def test_what_is_refused_is_cut_until_one_point_rests() -> None:
    plan = Plan(items((0, 2), (2, 2), (4, 2), (6, 2)), 240, 16)
    ((whole,),) = plan.scan()
    left, right = plan.refused(whole)
    assert [len(half.items) for half in (left, right)] == [2, 2]
    _, last = plan.refused(right)
    assert plan.refused(last) == []
    for _ in range(REST):
        assert [item.name for request in plan.scan() for span in request for item in span.items] == ["p0", "p2", "p4"]
    assert last in [span for request in plan.scan() for span in request]


def test_small_spans_fill_the_room_that_large_ones_leave() -> None:
    spans = spans_of([*items((0, 200)), *items((0, 150), block=2), *items((0, 10), block=3)], 0, 222)
    assert [[span.block for span in request] for request in requests_of(spans, 240)] == [[1, 3], [2]]
