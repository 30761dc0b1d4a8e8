"""Which registers are asked for together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.connectors.modbus.codec import make_codec
from gateway.connectors.modbus.planner import REST, Item, Plan, Request, cut, plan


def row(start: int, count: int, width: int = 1, table: str = "holding") -> list[Item]:
    """``count`` points one behind the other."""
    return [Item(f"{table}{start + n * width}", table, start + n * width, width) for n in range(count)]


def test_a_hundred_neighbours_are_one_request() -> None:
    (request,) = plan(row(100, 100), gap=8, max_words=120)
    assert (request.table, request.address, request.count, len(request.items)) == ("holding", 100, 100, 100)


def test_two_hundred_points_in_five_clusters_are_five_requests() -> None:
    items = [item for start in (0, 500, 1000, 40_000, 65_000) for item in row(start, 40, width=2)]
    assert len(plan(items, gap=8, max_words=120)) == 5


def test_a_gap_is_read_through_up_to_its_bound() -> None:
    items = [Item("a", "input", 0, 2), Item("b", "input", 10, 1)]
    assert [request.count for request in plan(items, gap=8, max_words=120)] == [11]
    assert [request.count for request in plan(items, gap=7, max_words=120)] == [2, 1]


def test_bits_have_their_own_bounds() -> None:
    assert [request.count for request in plan(row(0, 2001, table="coil"), gap=0, max_words=1)] == [2000, 1]
    far = [Item("a", "discrete", 0, 1), Item("b", "discrete", 100, 1)]
    assert len(plan(far, gap=8, max_words=1)) == 1


def test_points_may_share_registers() -> None:
    items = [Item("whole", "holding", 5, 4), Item("part", "holding", 6, 1), Item("next", "holding", 9, 1)]
    (request,) = plan(items, gap=0, max_words=120)
    assert (request.address, request.count) == (5, 5)


def test_a_cut_is_made_at_the_widest_gap_else_in_the_middle() -> None:
    (request,) = plan([*row(0, 3), *row(5, 1), *row(9, 2)], gap=8, max_words=120)
    assert [(part.address, part.count) for part in cut(request)] == [(0, 6), (9, 2)]
    (request,) = plan(row(0, 5), gap=8, max_words=120)
    assert [(part.address, part.count) for part in cut(request)] == [(0, 2), (2, 3)]
    (request,) = plan(row(0, 2), gap=8, max_words=120)
    assert [(part.address, part.count) for part in cut(request)] == [(0, 1), (1, 1)]


def learn(book: Plan, exists: Callable[[Request], bool], due: Iterable[str] | None = None) -> tuple[int, set[str]]:
    """One scan of a device that refuses some requests: how many it refused, and the names that were read."""
    refused, read = 0, set()
    todo = deque(book.scan(due))
    while todo:
        request = todo.popleft()
        if exists(request):
            book.answered(request)
            read |= {item.name for item in request.items}
            continue
        refused += 1
        parts = book.refused(request)
        todo.extendleft(reversed(parts))
        if not parts:
            book.rest(request)
    return refused, read


def without(*missing: int) -> Callable[[Request], bool]:
    """A device that has every register but these."""
    return lambda request: not any(request.address <= at < request.address + request.count for at in missing)


def test_a_missing_register_is_found_and_everything_else_stays_together() -> None:
    book = Plan(row(0, 40), gap=0, max_words=120)
    refused, read = learn(book, without(17))
    assert refused <= 7 and len(read) == 39
    assert [(request.address, request.count) for request in book.requests] == [(0, 17), (18, 22)]
    assert book.refusals.describe() == ["holding:17"]
    assert [learn(book, without(17))[0] for _ in range(REST - 1)] == [0] * (REST - 1)
    assert learn(book, without(17)) == (0, read), "the last scan of its rest"
    assert learn(book, without(17)) == (1, read), "it is tried again, alone"
    for _ in range(REST):
        learn(book, without())
    assert len(learn(book, without())[1]) == 40, "it exists now"
    assert [(request.address, request.count) for request in book.requests] == [(0, 40)]


def test_a_gap_that_cannot_be_read_is_learned_once_for_all_rates() -> None:
    book = Plan([*row(0, 2), *row(5, 2)], gap=8, max_words=120)
    assert learn(book, without(3))[0] == 1
    assert book.refusals.describe() == ["holding:2..4"]
    assert learn(book, without(3))[0] == 0
    assert learn(book, without(3), ["holding1", "holding5"])[0] == 0


def test_a_device_that_takes_less_than_we_ask_for_is_cut_where_it_said_so() -> None:
    book = Plan(row(0, 100), gap=0, max_words=120)

    def takes_64(request: Request) -> bool:
        return request.count <= 64

    assert learn(book, takes_64)[0] == 1
    assert learn(book, takes_64)[0] == 0
    assert [request.count for request in book.requests] == [50, 50]


def test_only_what_is_due_is_asked() -> None:
    book = Plan([*row(0, 2), *row(50, 2)], gap=8, max_words=120)
    assert [request.address for request in book.scan(["holding51"])] == [51]
    assert [request.address for request in book.scan()] == [0, 50]


def test_singly_is_a_request_for_each_point() -> None:
    assert len(Plan(row(0, 10), gap=8, max_words=120, singly=True).scan()) == 10


@settings(max_examples=50)
@given(st.data())
def test_whatever_a_device_lacks_is_learned(data: st.DataObject) -> None:
    """Everything that exists is read from the first scan on, once; and soon nothing is refused any more."""
    names = {item.name: item for item, _ in data.draw(layouts())}
    missing = data.draw(st.sets(st.integers(0, 500), max_size=12))
    most = data.draw(st.integers(4, 125))
    book = Plan(names.values(), data.draw(st.integers(0, 20)), 125)

    def exists(request: Request) -> bool:
        return request.count <= most and without(*missing)(request)

    there = {name for name, item in names.items() if not missing & set(range(item.address, item.end))}
    refused = [learn(book, exists) for _ in range(REST // 2)]
    assert all(read == there for _, read in refused)
    assert refused[-1][0] == 0
    seen = [item.name for request in book.scan() for item in request.items]
    assert sorted(seen) == sorted(there)


def test_an_unanswered_request_goes_to_the_end() -> None:
    book = Plan([*row(0, 1), *row(100, 1), *row(200, 1)], gap=0, max_words=120)
    first = book.requests[0]
    book.postpone(first)
    assert [request.address for request in book.scan()] == [100, 200, 0]


TYPES = ("bool", "int16", "uint32", "float32", "uint64")


@st.composite
def layouts(draw: st.DrawFn) -> list[tuple[Item, str]]:
    """Points of any type anywhere, also on top of each other, and the type of each."""
    layout = []
    for number in range(draw(st.integers(1, 60))):
        type = draw(st.sampled_from(TYPES))
        table = draw(st.sampled_from(("coil", "discrete") if type == "bool" else ("holding", "input")))
        width = make_codec(type).width
        base = draw(st.sampled_from([0, 300, 60_000]))
        layout.append((Item(str(number), table, base + draw(st.integers(0, 400)), width), type))
    return layout


def memory(table: str, address: int) -> int:
    """What a device has in a register or bit."""
    hashed = (address * 40_503 + len(table) * 7919) & 0xFFFF
    return hashed & 1 if table in ("coil", "discrete") else hashed


@settings(max_examples=50)
@given(layouts(), st.integers(0, 20), st.integers(4, 125), st.integers(0, 6))
def test_values_from_blocks_are_those_of_single_reads(
    layout: list[tuple[Item, str]], gap: int, max_words: int, cuts: int
) -> None:
    types = {item.name: type for item, type in layout}
    book = Plan([item for item, _ in layout], gap, max_words)
    for _ in range(cuts):
        divisible = [request for request in book.requests if len(request.items) > 1]
        if divisible:
            book.refused(divisible[0])
    seen = []
    for request in book.scan():
        assert 1 <= request.count <= (2000 if request.table in ("coil", "discrete") else max_words)
        answer = [memory(request.table, request.address + offset) for offset in range(request.count)]
        for item in request.items:
            assert item.table == request.table
            start = item.address - request.address
            words = answer[start : start + item.width]
            assert words == [memory(item.table, item.address + offset) for offset in range(item.width)]
            assert len(words) == make_codec(types[item.name]).width
            seen.append(item.name)
    assert sorted(seen) == sorted(types)


@settings(max_examples=50)
@given(layouts(), st.integers(0, 20), st.integers(4, 125))
def test_no_block_holds_a_longer_gap_than_allowed(layout: list[tuple[Item, str]], gap: int, max_words: int) -> None:
    for request in plan([item for item, _ in layout], gap, max_words):
        wanted = {item.address + offset for item in request.items for offset in range(item.width)}
        reach = gap * 16 if request.table in ("coil", "discrete") else gap
        for address in range(request.address, request.address + request.count - reach):
            assert any(at in wanted for at in range(address, address + reach + 1))
