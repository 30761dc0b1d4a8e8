"""Replay: what two sets of rules do differently over the same messages, and where these come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.explain.recorded import of_file, of_outbox, of_stream
from gateway.explain.replay import MOST_TOPICS, OTHERS, Recorded, Replay
from gateway.rules.load import RuleSet, load
from gateway.rules.outside import Arguments, Outside

OLD = """
[[action]]
name = "hot"
on = { topic = "plant/+/temp" }
when = "v > 85"
do = [
  { publish = { topic = "out/{topic.2}", value = "v" } },
  { raise = { alarm = "hot/{topic.2}", text = "hot" } },
  { write = { point = "plant/{topic.2}/valve", value = "1" } },
]
"""
BEGIN = 1_764_000_000.0

Load = Callable[[str], RuleSet]


@pytest.fixture
def rules(tmp_path: Path) -> Load:
    def make(text: str) -> RuleSet:
        path = tmp_path / "r.toml"
        path.write_text(text)
        return load([path])

    return make


def replayed(old: RuleSet, new: RuleSet, *messages: Recorded) -> dict[str, Any]:
    replay = Replay(old, new, messages[0].time)
    for message in messages:
        replay.feed(message)
    replay.end()
    return replay.report()


def temp(at: float, value: float, topic: str = "plant/b/temp", source: str = "") -> Recorded:
    return Recorded(BEGIN + at, topic, b'{"v":%g}' % value, source=source)


def test_the_same_rules_differ_in_nothing(rules: Load) -> None:
    report = replayed(rules(OLD), rules(OLD), temp(0, 90), temp(1, 80), temp(2, 95))
    assert (report["messages"], report["different"], report["same"]) == (3, 0, 5)
    assert report["old"] == report["new"] == {
        "published": 2, "written": 2, "alarmed": 1, "errors": 0, "last_errors": {},
    }  # fmt: skip


def test_python_functions_are_asked_as_in_cases(tmp_path: Path) -> None:
    class Now:
        def call(self, name: str, inputs: dict[str, Any], answer: Callable[[Any, str], None]) -> None:
            answer(inputs["x"] * 2, "")

    def with_limit(limit: int) -> RuleSet:
        path = tmp_path / "r.toml"
        path.write_text(
            f"""[[action]]
name = "a"
on = {{ topic = "plant/+/temp" }}
do = [{{ if = "v > {limit}", then = [{{ python = "f.g", with = {{ x = "v" }}, into = "y" }}] }},
      {{ publish = {{ topic = "out", value = "y" }} }}]
"""
        )
        return load([path], Outside(functions={"f.g": Arguments(("x",))}))

    replay = Replay(with_limit(85), with_limit(75), BEGIN, functions=Now())
    for one in (temp(0, 90), temp(1, 80)):
        replay.feed(one)
    report = replay.report()
    assert (report["same"], report["old"]["errors"], report["new"]["errors"]) == (1, 0, 0)
    (first,) = report["first"]
    assert (first["old"]["payload"], first["new"]["payload"]) == ("null", "160")


def test_differences_are_told_by_topic_kind_and_time(rules: Load) -> None:
    new = OLD.replace("v > 85", "v > 75").replace('value = "v"', 'value = "v + 1"')
    report = replayed(rules(OLD), rules(new), temp(0, 80), temp(60, 90))
    topics = {one["topic"]: one for one in report["topics"]}
    assert topics["out/b"] == {"topic": "out/b", "kind": "published", "changed": 1, "only_old": 0, "only_new": 1}
    assert (topics["plant/b/valve/set"]["kind"], topics["plant/b/valve/set"]["only_new"]) == ("written", 1)
    alarm = topics["alarm/hot/b"]
    assert (alarm["kind"], alarm["only_new"], alarm["only_old"]) == ("alarmed", 1, 1)  # raised a minute earlier
    assert report["new"]["published"] == 2
    first = report["first"][0]
    assert (first["time"], first["what"], first["old"]) == ("2025-11-24T16:00:00.000Z", "only_new", None)
    changed = next(one for one in report["first"] if one["what"] == "changed")
    assert (changed["old"]["payload"], changed["new"]["payload"], changed["time"][14:19]) == ("90", "91", "01:00")


def test_what_rules_had_published_is_left_out_and_made_anew(rules: Load) -> None:
    alarm = Recorded(BEGIN + 1, "out/b", b"90", source="rule:hot")
    unknown = Recorded(BEGIN + 1, "out/b", b"90")
    client = Recorded(BEGIN + 1, "out/b", b"90", source="client:x")
    echo = OLD + '[[action]]\nname = "e"\non = { topic = "out/+" }\ndo = [{ publish = { topic = "e", value = "v" } }]\n'
    report = replayed(rules(echo), rules(echo), temp(0, 90), alarm, unknown, client)
    assert (report["messages"], report["left_out"]) == (2, 2)
    assert report["old"]["published"] == 3  # out/b, its echo, and the echo of what the client said


def test_acknowledgements_of_alarms_are_fed(rules: Load) -> None:
    ack = Recorded(BEGIN + 1, "alarm/hot/b/ack", b'{"by":"me"}')
    report = replayed(rules(OLD), rules(OLD), temp(0, 90), ack)
    assert (report["left_out"], report["old"]["alarmed"]) == (0, 2)


def test_time_goes_on_between_messages(rules: Load) -> None:
    every = '[[action]]\nname = "t"\non = { every = "%s" }\ndo = [{ publish = { topic = "t", value = "now()" } }]\n'
    after = '{ after = "%s", do = [{ publish = { topic = "t" } }] }'
    late = f'[[action]]\nname = "t"\non = {{ topic = "plant/#" }}\ndo = [{after}]\n'
    do = "do = [{ publish = { topic = 't' } }]"
    at = f'[[action]]\nname = "t"\non = {{ at = {{ time = "06:00", zone = "UTC" }} }}\n{do}\n'
    hour = [temp(0, 1), temp(3600, 1)]
    assert replayed(rules(every % "1m"), rules(every % "2m"), *hour)["same"] == 30
    assert replayed(rules(every % "1m"), rules(every % "2m"), *hour)["topics"][0]["only_old"] == 30
    report = replayed(rules(late % "10s"), rules(late % "11s"), *hour)
    assert (report["topics"][0]["only_old"], report["topics"][0]["only_new"]) == (1, 1)
    assert [one["time"][14:19] for one in report["first"]] == ["00:10", "00:11"]
    assert replayed(rules(at), rules(at), temp(0, 1), temp(3 * 86400, 1))["same"] == 3


def test_a_recorded_clock_that_steps_back_does_no_harm(rules: Load) -> None:
    report = replayed(rules(OLD), rules(OLD), temp(10, 90), temp(0, 90), temp(20, 90))
    assert (report["messages"], report["to"][17:19]) == (3, "20")


def test_errors_of_both_are_counted(rules: Load) -> None:
    bad = OLD.replace('"out/{topic.2}"', '"out/{u}"')
    report = replayed(rules(OLD), rules(bad), temp(0, 90))
    assert (report["old"]["errors"], report["new"]["errors"]) == (0, 1)
    assert "is missing" in report["new"]["last_errors"]["hot"]


def test_memory_is_bounded_however_many_topics_differ(rules: Load) -> None:
    new = OLD.replace("v > 85", "v > 75")
    messages = [temp(n, 80, f"plant/{n}/temp") for n in range(MOST_TOPICS)]
    report = replayed(rules(OLD), rules(new), *messages)
    assert len(report["topics"]) <= MOST_TOPICS + 3
    assert any(one["topic"] == OTHERS for one in report["topics"])
    assert (len(report["first"]), report["different"]) == (20, 3 * MOST_TOPICS)


ENTRIES = [
    {"offset": n, "time": f"2026-01-01T00:00:{n:02}.000Z", "topic": "plant/b/temp", "payload": str(n)}
    for n in range(1, 31)
]


def test_a_stream_is_read_page_by_page_up_to_where_it_was() -> None:
    asked: list[dict[str, Any]] = []
    shown: list[tuple[int, int]] = []

    def ask(command: str, **arguments: Any) -> Any:
        asked.append(arguments)
        if command == "queue":
            return {"last": 25}
        after = arguments.get("after", 4)
        page = ENTRIES[after : after + 10]
        return {"entries": page, "next": page[-1]["offset"], "last": 30}

    found = list(of_stream(ask, "telemetry", 1_700_000_000.0, lambda *given: shown.append(given)))
    assert [one.payload for one in found] == [str(n).encode() for n in range(5, 26)]
    assert asked[1]["start"] == "time=1700000000.0"
    assert shown == [(10, 21), (20, 21)]


def test_the_outbox_is_read_with_what_the_cloud_has() -> None:
    def ask(command: str, **arguments: Any) -> Any:
        assert (command, arguments["all"]) == ("outbox-peek", True)
        row = {"time": "2026-01-01T00:00:00.000Z", "topic": "a", "payload_base64": "/w==", "qos": 1, "source": "rule:x"}
        return {"rows": [row] if arguments["after"] == 0 else [], "next": 7 if arguments["after"] == 0 else None}

    (one,) = of_outbox(ask, None, lambda *given: None)
    assert (one.payload, one.qos, one.source) == (b"\xff", 1, "rule:x")
    assert list(of_outbox(ask, 2e9, lambda *given: None)) == []


def test_a_file_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join([*map(json.dumps, ENTRIES), ""]))
    assert len(list(of_file(path, None, lambda *given: None))) == 30
    path.write_text('{"time": 5}\n')
    with pytest.raises(GatewayError, match="x.jsonl:1: is no message"):
        list(of_file(path, None, lambda *given: None))
    with pytest.raises(GatewayError, match="No such file"):
        list(of_file(tmp_path / "none", None, lambda *given: None))
