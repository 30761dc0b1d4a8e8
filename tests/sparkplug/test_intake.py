"""Rows of the outbox: what is live goes first, and nothing is acknowledged that the broker has not confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.outbound import Row
from gateway.ranges import Ranges
from gateway.uplinks.sparkplug.intake import MOST_STRETCHES, Intake
from uplinks.bench import ListReader, row


def drain(intake: Intake, most: int = 1000) -> list[int]:
    """Take up to so many rows; their numbers."""

    async def main() -> list[int]:
        taken: list[int] = []
        while len(taken) < most:
            if intake.must_read:
                await intake.read()
            elif intake.first is not None:
                taken.append(intake.take().seq)
            else:
                break
        return taken

    return asyncio.run(main())


def begun(reader: ListReader, on_rows: Callable[[], None] = lambda: None) -> Intake:
    intake = Intake("scada", reader, on_rows, lambda row: row)
    intake.begin()
    return intake


def test_live_rows_go_before_the_backlog() -> None:
    reader = ListReader([row(seq) for seq in range(1, 601)])
    intake = begun(reader)
    assert drain(intake, 3) == [1, 2, 3]
    reader.add(row(601), row(602))
    assert drain(intake) == [601, 602, *range(4, 601)]
    assert intake.idle
    assert intake.unconfirmed == 602


def test_urgent_classes_first() -> None:
    rooms = {1: 0, 2: 1, 3: 0, 4: 3}
    intake = begun(ListReader([row(seq) for seq in rooms], room=lambda one: rooms[one.seq]))
    assert drain(intake) == [2, 4, 1, 3]


def test_only_what_was_taken_before_the_mark_is_confirmed() -> None:
    reader = ListReader([row(seq) for seq in range(1, 11)])
    intake = begun(reader)
    drain(intake, 4)
    mark = intake.mark()
    drain(intake, 3)
    assert reader.cursor == 0
    intake.confirm(mark)
    assert (reader.cursor, intake.unconfirmed, intake.confirmed) == (4, 3, 4)
    intake.confirm(intake.mark())
    assert (reader.cursor, intake.unconfirmed, intake.confirmed) == (7, 0, 7)


def test_what_was_not_confirmed_comes_again() -> None:
    reader = ListReader([row(seq) for seq in range(1, 6)])
    intake = begun(reader)
    drain(intake, 2)
    mark = intake.mark()
    drain(intake)
    intake.confirm(mark)
    intake.begin()
    assert intake.unconfirmed == 0
    assert drain(intake) == [3, 4, 5]
    intake.confirm(mark)
    assert reader.cursor == 2, "an answer of the connection before"


def test_stretches_that_were_acknowledged_are_not_sent_again() -> None:
    reader = ListReader([row(seq) for seq in range(1, 11)])
    reader.has_acked[0] = Ranges.of([(0, 2), (4, 6)])
    intake = begun(reader)
    assert drain(intake) == [3, 4, 7, 8, 9, 10]
    intake.confirm(intake.mark())
    assert reader.cursor == 10
    assert list(reader.acked(0)) == [(0, 10)], "the stretches have become one"


def test_with_many_stretches_everything_goes_in_order() -> None:
    last = 2 * MOST_STRETCHES + 10
    reader = ListReader([row(seq) for seq in range(1, last + 1)])
    reader.has_acked[0] = Ranges.of((seq, seq + 1) for seq in range(0, last, 2))
    intake = begun(reader)
    taken = drain(intake, 2)
    reader.add(row(last + 1))
    assert taken + drain(intake) == [*range(2, last + 1, 2), last + 1]


def test_rows_of_other_classes_between_are_passed_over() -> None:
    rooms: dict[int, int] = {1: 0, 2: 1, 3: 1, 4: 0, 5: 1}

    def room(one: Row) -> int:
        return rooms[one.seq]

    reader = ListReader([row(seq) for seq in rooms], room=room)
    intake = begun(reader)
    drain(intake)
    intake.confirm(intake.mark())
    assert reader.cursor == 5
    assert [list(reader.acked(number)) for number in (0, 1)] == [[(0, 5)], [(0, 5)]]
