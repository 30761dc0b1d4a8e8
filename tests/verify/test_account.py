"""Dumps made by hand: gaps, duplicates, several starts, what was thinned, what waits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.verify.account import MAX_NAMED, Findings, Gap, Verifier
from gateway.verify.lines import Id, Line, read_line


def ledger(
    ids: list[tuple[int, int, int, int]], total: dict[str, int], before: dict[str, int] | None = None, **more: Any
) -> Line:
    """A ledger; what is not given is 0."""
    names = ("produced", "delivered", "thinned", "dropped")
    now = {name: total.get(name, 0) for name in names}
    then = {name: (before or {}).get(name, 0) for name in names}
    content = {
        "ledger": 1,
        "gateway": "gw",
        "uplink": "cloud",
        "boot": ids[-1][0] if ids else 1,
        "time": "T2",
        "since": "T1",
        "ids": [dict(zip(("boot", "first", "last", "n"), one, strict=True)) for one in ids],
        "total": {**now, "waiting": now["produced"] - now["delivered"] - now["thinned"] - now["dropped"]},
        "interval": {name: now[name] - then[name] for name in names},
        **more,
    }
    found = read_line(json.dumps({"topic": "gateway/gw/ledger", "value": content}))
    assert found is not None
    assert found.ledger is not None
    return found


def came(*ids: str, again: bool = False) -> list[Line]:
    return [Line(Id(*map(int, one.split(":"))), again, None) for one in ids]


def stretch(boot: int, first: int, last: int) -> list[Line]:
    return came(*(f"{boot}:{seq}" for seq in range(first, last + 1)))


def verify(*lines: Line | list[Line] | None) -> Findings:
    verifier = Verifier()
    for line in lines:
        for one in line if isinstance(line, list) else [line]:
            verifier.take(one)
    return verifier.finish()


def test_all_there() -> None:
    found = verify(stretch(3, 1, 10), ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 10}))
    assert found.is_good
    assert (found.came, found.lost, found.gaps, found.duplicates, found.unknown) == (10, (0, 0), [], 0, 0)


def test_a_gap_is_named_with_its_time_and_is_missing() -> None:
    end = ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 10})
    found = verify(stretch(3, 1, 3), stretch(3, 6, 10), end)
    assert not found.is_good
    assert found.lost == (2, 2)
    assert found.gaps == [Gap(3, 4, 5, "T1", "T2", True)]


def test_what_was_thinned_or_dropped_is_a_gap_and_not_missing() -> None:
    end = ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 6, "thinned": 3, "dropped": 1})
    found = verify(stretch(3, 5, 10), end)
    assert found.is_good
    assert (found.lost, found.gaps) == ((0, 0), [Gap(3, 1, 4, "T1", "T2", True)])


def test_one_more_missing_than_was_dropped() -> None:
    end = ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 9, "dropped": 1})
    assert verify(stretch(3, 3, 10), end).lost == (1, 1)


def test_what_waited_at_the_last_ledger_may_come_yet() -> None:
    end = ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 7})
    found = verify(stretch(3, 1, 7), end)
    assert found.is_good
    assert (found.waiting, found.lost) == (3, (0, 3))
    assert verify(stretch(3, 1, 6), end).lost == (1, 4)
    assert verify(stretch(3, 1, 7), end, stretch(3, 8, 10)).lost == (0, 0)


def test_numbers_of_other_uplinks_are_no_gaps_while_all_came() -> None:
    end = ledger([(3, 1, 10, 7)], {"produced": 7, "delivered": 7})
    found = verify(stretch(3, 1, 5), stretch(3, 9, 10), end)
    assert found.is_good
    assert found.gaps == []
    found = verify(stretch(3, 1, 5), stretch(3, 10, 10), end)
    assert found.lost == (1, 1)
    assert found.gaps == [Gap(3, 6, 9, "T1", "T2", False)]


def test_duplicates_are_named_and_do_no_harm() -> None:
    end = ledger([(3, 1, 4, 4)], {"produced": 4, "delivered": 4})
    found = verify(stretch(3, 1, 4), came("3:2", "3:2"), came("3:1", again=True), end)
    assert found.is_good
    assert (found.duplicates, found.twice, found.again) == (2, [Id(3, 2), Id(3, 2)], 1)


def test_what_was_sent_again_fills_its_gap() -> None:
    end = ledger([(3, 1, 4, 4)], {"produced": 4, "delivered": 4})
    found = verify(came("3:1", "3:2", "3:4"), end, came("3:3", again=True))
    assert found.is_good
    assert (found.gaps, found.again) == ([], 0)


def test_starts_are_apart_and_what_a_killed_one_had_not_booked_is_no_error() -> None:
    first = ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 10})
    second = ledger(
        [(3, 11, 12, 2), (5, 13, 20, 8)], {"produced": 20, "delivered": 20}, {"produced": 10, "delivered": 10}
    )
    # 3:13 and start 4 were killed before they were in the books: they had arrived and were never written.
    found = verify(stretch(3, 1, 10), first, stretch(3, 11, 13), came("4:13"), stretch(5, 13, 20), second)
    assert found.is_good
    assert (found.came, found.beyond, found.unknown, found.lost) == (20, 2, 0, (0, 0))


def test_a_ledger_that_was_told_again_counts_once() -> None:
    first = ledger([(3, 1, 10, 10)], {"produced": 10, "delivered": 10})
    again = ledger([(3, 1, 10, 10), (4, 11, 12, 2)], {"produced": 12, "delivered": 12})
    found = verify(stretch(3, 1, 10), first, stretch(4, 11, 12), again)
    assert found.is_good
    assert (found.came, found.ledgers) == (12, 2)


def test_a_dump_may_begin_in_the_middle() -> None:
    before = {"produced": 100, "delivered": 95}
    end = ledger([(3, 101, 110, 10)], {"produced": 110, "delivered": 110}, before)
    found = verify(stretch(3, 96, 110), end)
    assert found.is_good
    assert (found.early, found.lost, found.produced) == (5, (0, 0), 10)
    assert verify(stretch(3, 97, 110), end).lost == (1, 1)


def test_more_than_was_told_is_unknown() -> None:
    found = verify(stretch(3, 1, 10), ledger([(3, 1, 10, 9)], {"produced": 9, "delivered": 9}))
    assert not found.is_good
    assert (found.unknown, found.came) == (1, 9)


def test_without_a_ledger_nothing_is_good() -> None:
    found = verify(stretch(3, 1, 10), None)
    assert not found.is_good
    assert (found.ledgers, found.unreadable, found.beyond) == (0, 1, 10)


def test_ledgers_of_two_uplinks_do_not_mix() -> None:
    with pytest.raises(ValueError, match="verify them one at a time"):
        verify(ledger([], {}), ledger([], {}, uplink="other"))


def test_memory_is_stretches_and_names_are_bounded() -> None:
    verifier = Verifier()
    for seq in range(1, 200_001):
        if seq % 100:
            verifier.take(Line(Id(1, seq), False, None))
    verifier.take(ledger([(1, 1, 200_000, 200_000)], {"produced": 200_000, "delivered": 200_000}))
    assert len(verifier._arrived[1]) == 2000
    found = verifier.finish()
    assert found.lost == (2000, 2000)
    assert (len(found.gaps), found.more_gaps) == (MAX_NAMED, 1000)
