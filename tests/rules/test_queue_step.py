"""The step ``queue``: what it appends, who works it off, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.check import outside_of
from gateway.clock import FixedClock
from gateway.config.load import read
from gateway.config.queue import Queue
from gateway.config.settings import Settings
from gateway.errors import ConfigError
from gateway.rules.cases import run_cases
from gateway.rules.engine import RuleEngine
from gateway.rules.load import load
from gateway.rules.outside import Outside
from mqtt.pair import publishes
from mqtt.queue_world import QueueWorld, said, settle

RULE = """
[[action]]
name = "repair"
on = { topic = "plant/+/fault" }
do = [{ queue = { name = "jobs", key = "line/{topic.2}", value = { fault = "v" } } }]

[[case]]
name = "a fault is a job"
given = [{ topic = "plant/3/fault", value = "belt" }]
expect = [{ topic = "$queue/jobs/line/3", value = { fault = "belt" }, qos = 1 }]
"""


def rule_file(folder: Path, text: str) -> Path:
    path = folder / "rule.toml"
    path.write_text(text)
    return path


def world_with(path: Path, terms: Queue) -> QueueWorld:
    world = QueueWorld({"jobs": terms})
    engine = RuleEngine(world.broker, FixedClock())
    engine.take(load([path], Outside(queues={"jobs"})))
    return world


def test_it_is_worked_off_by_one_consumer(tmp_path: Path) -> None:
    world = world_with(rule_file(tmp_path, RULE), Queue())
    worker = world.client("worker")
    worker.subscribe("$queue/jobs/line/+", 1)
    (answer,) = world.client("plc").publish("plant/3/fault", b'"belt"', 1, 7)
    assert getattr(answer, "reason", None) == 0
    (job,) = publishes(worker.received())
    assert (job.topic, job.payload) == ("$queue/jobs/line/3", b'{"fault":"belt"}')
    assert said(job)["queue"] == "jobs"
    assert settle(worker, "ack", job) == 0


def test_a_full_queue_is_told_to_the_publisher(tmp_path: Path) -> None:
    world = world_with(rule_file(tmp_path, RULE), Queue(max_depth=1, when_full="reject"))
    plc = world.client("plc")
    reasons = [answer.reason for n in (1, 2) for answer in plc.publish("plant/3/fault", b"1", 1, n)]  # type: ignore[union-attr]
    assert reasons == [0, 0x97]


def test_a_case_shows_what_is_appended(tmp_path: Path) -> None:
    assert [result.passed for result in run_cases(load([rule_file(tmp_path, RULE)]))] == [True]


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ('name = "job", key = "a"', 'there is no queue "job"; the settings need [queue.job]; known: jobs'),
        ('name = "jobs", key = "a/$ack"', "begins with '$'"),
        ('name = "jobs", key = "a/{nothing}"', "queue.key"),
        ('name = "a/b", key = "a"', "queue.name"),
        ('name = "jobs", key = "a", payload = "x", value = 1', "queue.payload"),
    ],
)
def test_what_is_wrong_has_its_place(tmp_path: Path, step: str, text: str) -> None:
    path = rule_file(tmp_path, f'[[action]]\nname = "x"\non = {{ topic = "t" }}\ndo = [{{ queue = {{ {step} }} }}]\n')
    with pytest.raises(ConfigError) as caught:
        load([path], Outside(queues={"jobs"}))
    assert text in str(caught.value)


def test_the_settings_say_which_queues_there_are(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"

    def known(text: str) -> Any:
        path.write_text(text)
        loaded = read(path, Settings)
        return outside_of(loaded.value, loaded.source, {}).queues

    assert list(known("[queue.jobs]\n")) == ["jobs"]
    assert known("[queues]\nauto_create = true\n") is None, "any name makes one"
