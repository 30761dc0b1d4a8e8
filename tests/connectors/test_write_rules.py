"""What may be written, when, and how often; on the guard alone and through the command desk."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.desk_bench import Bench
from connectors.fakes import passes, run
from gateway.config.reader import Reader
from gateway.connectors.base import Quality, Sample
from gateway.connectors.interlock import Interlock, parse_interlock
from gateway.connectors.points import DeviceSettings, PointSettings, WriteLimits
from gateway.connectors.write_rules import Guard
from gateway.errors import Rejected, Retry
from gateway.message import Value


def sample(value: Value, quality: Quality = Quality.GOOD, reason: str = "") -> Sample:
    return Sample("p", value, quality, 0.0, reason)


@pytest.mark.parametrize(
    ("text", "interlock"),
    [
        ("door == closed", Interlock("", "door", "==", "closed")),
        ("  door==closed ", Interlock("", "door", "==", "closed")),
        ("pump/speed < 10", Interlock("pump", "speed", "<", 10)),
        ("speed >= -1.5", Interlock("", "speed", ">=", -1.5)),
        ("run != true", Interlock("", "run", "!=", True)),
        ("run == false", Interlock("", "run", "==", False)),
        ('mode == "10"', Interlock("", "mode", "==", "10")),
        ("mode == 'in service'", Interlock("", "mode", "==", "in service")),
        ("door state == in service", Interlock("", "door state", "==", "in service")),
        ("a <= 0", Interlock("", "a", "<=", 0)),
        ("a > 1e3", Interlock("", "a", ">", 1000.0)),
    ],
)
def test_interlocks_are_read(text: str, interlock: Interlock) -> None:
    parsed = parse_interlock(text)
    assert parsed == interlock and type(parsed.value) is type(interlock.value)


@pytest.mark.parametrize("text", ["", "door", "door =", "door = closed", "== 5", "door ==", "a/b/c == 5", "door == "])
def test_other_texts_are_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match='must be like "door == closed"'):
        parse_interlock(text)


def test_words_have_no_order() -> None:
    with pytest.raises(ValueError, match='must compare with a number: "<" has no meaning for closed'):
        parse_interlock("door < closed")


@pytest.mark.parametrize(
    ("text", "value", "opens"),
    [
        ("door == closed", "closed", True),
        ("door == closed", "open", False),
        ("door != closed", "open", True),
        ("run == true", True, True),
        ("run == true", 1, False),
        ("run == 1", True, False),
        ("run == 1", 1.0, True),
        ("run != 1", True, True),
        ("speed < 10", 9.9, True),
        ("speed < 10", 10, False),
        ("speed <= 10", 10, True),
        ("speed < 10", "9", False),
        ("speed < 10", True, False),
        ("speed < 10", None, False),
        ("speed > 0", 0, False),
    ],
)
def test_an_interlock_opens_while_it_holds(text: str, value: Value, opens: bool) -> None:
    assert (parse_interlock(text).refusal(sample(value)) is None) is opens


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "door is not known yet"),
        (sample("closed", Quality.STALE, "away"), "door is stale: away"),
        (sample("closed", Quality.UNCERTAIN, "flat"), "door is uncertain: flat"),
        (sample(None, Quality.BAD, "exception 2"), "door is bad: exception 2"),
        (sample("open"), "door is open, and must be == closed"),
        (sample(False), "door is false, and must be == closed"),
    ],
)
def test_what_is_not_known_or_not_good_opens_no_lock(known: Sample | None, words: str) -> None:
    assert parse_interlock("door == closed").refusal(known) == words


def guard(**rules: Any) -> Guard:
    return Guard("boiler", {"p": PointSettings(name="p", write=WriteLimits(**rules))}, lambda device, point: None)


def test_a_point_is_written_once_in_its_time() -> None:
    one = guard(every=10.0)
    one.check("p", 1, 100.0)
    one.writes("p", 100.0)
    with pytest.raises(Rejected, match="too soon: it was written 4.0 s ago, and may be once in 10 s"):
        one.check("p", 2, 104.0)
    one.check("p", 2, 110.0)


@pytest.mark.parametrize(
    ("id", "value", "now", "words"),
    [
        ("a", 5, 110.0, None),
        ("b", 5, 101.0, "not armed: send the same id and value to"),
        ("a", 6, 101.0, "armed for 5, not for 6"),
        ("a", True, 101.0, "armed for 5, not for True"),
        ("a", 5, 110.5, "armed 10.5 s ago, which is too long"),
    ],
)
def test_the_second_step_must_be_the_first_once_more(id: str, value: Value, now: float, words: str | None) -> None:
    one = guard(arm=10.0)
    assert one.arm("p", "a", 5, 100.0) == 10.0
    if words is None:
        one.fire("p", id, value, now)
    else:
        with pytest.raises(Rejected, match=words):
            one.fire("p", id, value, now)
    with pytest.raises(Rejected, match="not armed"):
        one.fire("p", "a", 5, 101.0)  # it is used up, also by a step that was wrong


def test_true_is_not_armed_by_1() -> None:
    one = guard(arm=10.0)
    one.arm("p", "a", 1, 100.0)
    with pytest.raises(Rejected, match="armed for 1, not for True"):
        one.fire("p", "a", True, 101.0)


@pytest.mark.parametrize(
    ("tolerance", "wanted", "back", "is_near"),
    [
        (0.5, 20, 20.5, True),
        (0.1, 71.3, 71.4, True),
        (0.5, 20, 20.51, False),
        (0.0, 20, 20, True),
        (0.0, 0, 0.1, False),
        (None, 20, 99, None),
        (0.5, "run", "off", None),
        (0.5, True, False, None),
    ],
)
def test_a_value_that_is_read_back_may_be_near(tolerance: float | None, wanted: Any, back: Any, is_near: Any) -> None:
    assert WriteLimits(tolerance=tolerance).is_near(wanted, back) is is_near


# Through the desk.


def test_a_second_write_comes_too_soon_and_a_later_one_does_not() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            for id, wait in (("a", 0), ("b", 4), ("c", 6)):
                bench.clock.advance(wait)
                bench.send("slow", {"id": id, "value": wait})
                await passes(20)

    run(main())
    assert [answer["status"] for answer in bench.answers()] == ["done", "rejected", "done"]
    assert bench.written == [("slow", 0), ("slow", 6)]
    assert "too soon" in bench.ledger.entries["b"]["reason"]


def test_an_interlock_holds_a_write_back_until_every_condition_is_good() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            for id, known in (
                ("a", {}),
                ("b", {("boiler", "door"): sample("closed")}),
                ("c", {("pump", "speed"): sample(12)}),
                ("d", {("pump", "speed"): sample(3)}),
                ("e", {("boiler", "door"): sample("closed", Quality.STALE, "away")}),
            ):
                bench.known.update(known)
                bench.send("locked", {"id": id, "value": 1})
                await passes(20)

    run(main())
    assert [answer.get("reason", "done") for answer in bench.answers()] == [
        "interlock: door is not known yet",
        "interlock: pump/speed is not known yet",
        "interlock: pump/speed is 12, and must be < 10",
        "done",
        "interlock: door is stale: away",
    ]
    assert bench.written == [("locked", 1)]


def test_arm_and_execute() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send("armed", {"id": "a", "value": 5})
            await passes(20)
            bench.send("armed", {"id": "b", "value": 5}, "arm")
            await passes(20)
            bench.send("armed", {"id": "b", "value": 5})
            await passes(20)
            bench.send("armed", {"id": "b", "value": 5})  # known: answered again, not done again

    run(main())
    refused, armed, done, again = bench.results.got
    assert refused[1]["status"] == "rejected" and refused[1]["reason"].startswith(
        "not armed: send the same id and value"
    )
    assert armed == ("plant/boiler/armed/arm/result", {"id": "b", "status": "armed", "value": 5, "seconds": 10.0})
    assert done == ("plant/boiler/armed/set/result", {"id": "b", "status": "done", "value": 5}) == again
    assert bench.written == [("armed", 5)]
    assert list(bench.ledger.entries) == ["a", "b"]
    assert bench.desk.status()["armed"] == 1


@pytest.mark.parametrize(
    ("point", "value", "words"),
    [
        ("armed", {"id": "a", "value": 101}, "at most 100"),
        ("armed", 5, 'needs "id"'),
        ("armed", {"id": "a"}, 'needs "value"'),
        ("free", {"id": "a", "value": 5}, "is written in one step"),
        ("fixed", {"id": "a", "value": 5}, "read-only"),
        ("nope", {"id": "a", "value": 5}, 'no point "nope"'),
        ("locked", {"id": "a", "value": 5}, "interlock: door is not known yet"),
    ],
)
def test_what_cannot_be_armed_is_said_at_once(point: str, value: Any, words: str) -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send(point, value, "arm")

    run(main())
    ((topic, answer),) = bench.results.got
    assert topic == f"plant/boiler/{point}/arm/result"
    assert answer["status"] == "rejected" and words in answer["reason"]
    assert bench.settled == [None] and bench.ledger.entries == {}


def test_an_arm_that_is_too_old_or_expired_arms_nothing() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send("armed", {"id": "a", "value": 5, "expires": 1_699_999_999}, "arm")
            await passes(20)
            bench.send("armed", {"id": "b", "value": 5}, "arm")
            await passes(20)
            bench.clock.advance(11)
            bench.send("armed", {"id": "b", "value": 5})

    run(main())
    assert [answer["status"] for answer in bench.answers()] == ["expired", "armed", "rejected"]
    assert bench.written == []


@pytest.mark.parametrize(("back", "status"), [(20.4, "done"), (20.6, "failed")])
def test_what_is_read_back_is_compared_with_what_was_asked_for(back: float, status: str) -> None:
    async def write(point: str, value: Value) -> Value:
        return back

    bench = Bench(write)

    async def main() -> None:
        async with bench.working():
            bench.send("near", {"id": "a", "value": 20})

    run(main())
    (answer,) = bench.answers()
    assert answer["status"] == status
    assert answer.get("value") == (back if status == "done" else None)
    assert status == "done" or "the device keeps 20.6, which is more than 0.5 away" in answer["reason"]


@pytest.mark.parametrize(
    ("known", "read", "status"),
    [
        (None, sample(20.4), "done"),
        (sample(20.4), sample(20.4), "done"),
        (None, sample(20.6), "failed"),
        (None, sample(20.4, Quality.UNCERTAIN, "flat"), "failed"),
        (sample(20.4), None, "failed"),
    ],
)
def test_a_kind_that_compares_exactly_is_overruled_by_what_was_read_since(
    known: Sample | None, read: Sample | None, status: str
) -> None:
    async def write(point: str, value: Value) -> Value:
        if read is not None:
            bench.known["boiler", "near"] = read
        raise Retry("written, but the device keeps something else")

    bench = Bench(write)
    if known is not None:
        bench.known["boiler", "near"] = known

    async def main() -> None:
        async with bench.working():
            bench.send("near", {"id": "a", "value": 20})

    run(main())
    (answer,) = bench.answers()
    assert answer["status"] == status
    assert answer.get("value") == (20.4 if status == "done" else None)


def test_the_journal_is_told_who_asked_and_for_what() -> None:
    bench = Bench()

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 20}, source="client:hmi")
            bench.send("t", {"id": "b", "value": 91}, source="rule:night")
            bench.send("t", {"id": "c", "value": 0}, source="uplink:cloud")

    run(main())
    entries = bench.ledger.entries
    assert [(entries[id]["by"], entries[id]["asked"], entries[id]["status"]) for id in "abc"] == [
        ("client:hmi", 20, "done"),
        ("rule:night", 91, "rejected"),
        ("uplink:cloud", 0, "done"),
    ]


def test_a_write_that_failed_counts_for_the_rate() -> None:
    async def write(point: str, value: Value) -> Value:
        raise Retry("away")

    bench = Bench(write)

    async def main() -> None:
        async with bench.working():
            bench.send("slow", {"id": "a", "value": 1})
            await passes(20)
            bench.send("slow", {"id": "b", "value": 1})

    run(main())
    assert [answer["status"] for answer in bench.answers()] == ["failed", "rejected"]


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        ({"min": 5, "max": 1}, "max: must be at least min, which is 5"),
        ({"every": "0s"}, "every: must be between 10ms and 1d"),
        ({"when": "door"}, "when: must be like"),
        ({"when": ["door == closed", "x"]}, "when: must be like"),
        ({"when": 5}, "when: expected text or a list, found number 5"),
        ({"arm": "0s"}, "arm: must be between 100ms and 1h"),
        ({"tolerance": -1}, "tolerance: must not be negative"),
        ({"evry": 1}, 'evry: unknown key; did you mean "every"?'),
    ],
)
def test_rules_that_mean_nothing_are_refused(write: dict[str, Any], problem: str, tmp_path: Any) -> None:
    reader = Reader(tmp_path, None)
    reader.section(PointSettings, {"name": "p", "write": write}, ())
    (found,) = reader.problems
    assert f"{found[0][-1]}: {found[1]}".startswith(problem)


class Plant(DeviceSettings):
    point: tuple[PointSettings, ...]


def test_an_interlock_on_a_point_that_is_not_there_is_a_problem() -> None:
    plant = Plant()
    points = (
        PointSettings(name="a", write=WriteLimits(when="b == 1")),
        PointSettings(name="b", write=WriteLimits(when=("c == 1", "pump/x == 1"))),
    )
    object.__setattr__(plant, "point", points)
    assert list(plant.problems()) == [("point[1].write.when", '"c" is no point of this device')]
    assert list(plant.interlocks()) == [("point[1].write.when", "pump", "x")]
