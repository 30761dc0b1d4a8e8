"""Idempotent publish: repeats are answered and not routed, wait for the first, and take its place when it failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.port import Done
from gateway.errors import Refused
from gateway.message import USER_PROPERTY
from gateway.metrics import Metrics
from gateway.mqtt.dedup import EXPIRE_STEP, LONGEST_ID, Dedup, KnownId
from gateway.mqtt.packets import PubAck, PubRec, PubRel
from mqtt.pair import Client, Keeper, World, publishes


class Paper:
    """Ids on paper, committed when the test says so."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[str, str]] = {}
        self.gathering: dict[int, tuple[str, str, Done]] = {}
        self.committing: dict[int, tuple[str, str, Done]] = {}
        self.removed: list[int] = []
        self.behind = False

    def add(self, number: int, client: str, id: str, done: Done) -> None:
        if self.behind:
            raise Refused("behind", 0x97)
        self.gathering[number] = client, id, done

    def remove(self, number: int) -> None:
        if self.gathering.pop(number, None) is None:
            self.removed.append(number)

    def hand_over(self) -> None:
        """From here on nothing can be taken out of what gathered."""
        self.committing, self.gathering = self.gathering, {}

    def commit(self, error: BaseException | None = None) -> None:
        """The end of what was handed over, or of all there is."""
        if not self.committing:
            self.hand_over()
        committing, self.committing = self.committing, {}
        for number, (client, id, done) in committing.items():
            if error is None:
                self.rows[number] = client, id
            done(error)
        for number in self.removed:
            self.rows.pop(number, None)
        self.removed.clear()

    @property
    def ids(self) -> list[str]:
        return [id for _, id in self.rows.values()]


class Bench:
    """Dedup with routes and answers that are lists."""

    def __init__(self, window: float = 100, max_ids: int = 10, max_total: int = 100, **more: Any) -> None:
        self.paper = Paper()
        self.metrics = Metrics()
        self.dedup = Dedup(self.paper, self.metrics, window, max_ids, max_total, **more)
        self.routed: list[str] = []
        self.dones: list[Done] = []
        self.answers: list[tuple[str, str | None]] = []
        self.fail_at_once: set[str] = set()

    def publish(self, name: str, id: str, client: str = "c", now: float = 0.0) -> None:
        def route(done: Done) -> None:
            self.routed.append(name)
            if name in self.fail_at_once:
                done(Refused("no", 0x97))
            else:
                self.dones.append(done)

        def answer(error: BaseException | None) -> None:
            self.answers.append((name, None if error is None else str(error)))

        self.dedup.publish(client, id, now, route, answer)

    def settle(self, error: BaseException | None = None) -> None:
        """The transaction of everything so far."""
        self.paper.hand_over()
        dones, self.dones = self.dones, []
        for done in dones:
            done(error)
        self.paper.commit(error)

    def once(self, name: str, id: str, client: str = "c", now: float = 0.0) -> bool:
        """Publish and commit: was it routed?"""
        before = len(self.routed)
        self.publish(name, id, client, now)
        self.settle()
        assert self.answers[-1] == (name, None)
        return len(self.routed) > before


def test_a_repeat_is_answered_and_not_routed() -> None:
    bench = Bench()
    assert bench.once("a", "1")
    assert not bench.once("b", "1")
    assert bench.once("c", "2")
    assert bench.once("d", "1", client="other")
    assert bench.routed == ["a", "c", "d"]
    assert bench.metrics.counts == {"dedup_repeats": 1}
    assert bench.dedup.status() == {"ids": 3, "clients": 2, "under_way": 0}


@pytest.mark.parametrize("order", ["message first", "id first"])
def test_the_answer_waits_for_the_message_and_for_the_id(order: str) -> None:
    bench = Bench()
    bench.publish("a", "1")
    steps: list[Callable[[], None]] = [partial(bench.dones[0], None), bench.paper.commit]
    if order == "id first":
        steps.reverse()
    steps[0]()
    assert bench.answers == []
    steps[1]()
    assert bench.answers == [("a", None)]


def test_a_repeat_waits_for_the_first_and_shares_its_success() -> None:
    bench = Bench()
    for name in "abc":
        bench.publish(name, "1")
    assert (bench.routed, bench.answers) == (["a"], [])
    bench.settle()
    assert bench.answers == [("a", None), ("b", None), ("c", None)]
    assert bench.routed == ["a"]


def test_a_repeat_takes_the_place_of_a_first_that_failed() -> None:
    bench = Bench()
    for name in "abc":
        bench.publish(name, "1")
    bench.settle(Refused("disk full", 0x97))
    assert bench.answers == [("a", "disk full")]
    assert bench.routed == ["a", "b"]
    bench.settle()
    assert bench.answers[1:] == [("b", None), ("c", None)]
    assert bench.paper.ids == ["1"]


def test_an_id_whose_message_was_refused_is_never_written() -> None:
    bench = Bench()
    bench.fail_at_once = {"a"}
    bench.publish("a", "1")
    assert bench.answers == [("a", "no")]
    assert (bench.paper.gathering, bench.dedup.status()["under_way"]) == ({}, 0)
    assert bench.once("b", "1")


def test_an_id_that_was_committed_without_its_message_is_deleted() -> None:
    bench = Bench()
    bench.publish("a", "1")
    bench.paper.commit()
    assert bench.paper.ids == ["1"]
    bench.dones.pop()(Refused("no", 0x97))
    bench.paper.commit()
    assert bench.paper.ids == []
    assert bench.once("b", "1")


def test_many_that_wait_and_fail_at_once_need_no_deep_stack() -> None:
    bench = Bench()
    bench.publish("first", "1")
    names = [f"n{n}" for n in range(5000)]
    bench.fail_at_once = set(names)
    for name in names:
        bench.publish(name, "1")
    bench.settle(Refused("no", 0x97))
    assert [name for name, error in bench.answers if error] == ["first", *names]
    assert bench.once("last", "1")


def test_without_room_for_the_id_nothing_is_routed() -> None:
    bench = Bench()
    bench.paper.behind = True
    bench.publish("a", "1")
    assert (bench.answers, bench.routed) == ([("a", "behind")], [])
    bench.paper.behind = False
    assert bench.once("b", "1")


def test_a_message_that_nobody_stores_is_safe_though_its_id_is_not() -> None:
    bench = Bench()
    bench.publish("a", "1")
    bench.dones.pop()(None)
    bench.paper.commit(Refused("disk full", 0x97))
    assert bench.answers == [("a", None)]
    assert not bench.once("b", "1")
    assert bench.metrics.counts == {"dedup_unsaved": 1, "dedup_repeats": 1}


def test_an_id_is_forgotten_after_the_window() -> None:
    bench = Bench(window=100)
    assert bench.once("a", "1", now=0)
    assert not bench.once("b", "1", now=99.9)
    assert bench.once("c", "1", now=100)
    assert not bench.once("d", "1", now=199)
    assert bench.paper.ids == ["1"]


def test_old_ids_go_with_new_ones_a_few_at_a_time() -> None:
    bench = Bench(window=100)
    for n in range(10):
        bench.once("a", str(n), now=0)
    bench.once("a", "new", now=100)
    assert bench.paper.ids == [*map(str, range(EXPIRE_STEP, 10)), "new"]


def test_the_oldest_of_a_client_goes_when_it_has_too_many() -> None:
    bench = Bench(max_ids=2)
    for n in range(3):
        assert bench.once("a", str(n))
    assert bench.once("x", "0", client="other")
    assert not bench.once("a", "2")
    assert not bench.once("a", "1")
    assert bench.once("a", "0")


def test_the_oldest_of_all_goes_when_there_are_too_many() -> None:
    bench = Bench(max_total=3)
    for n in range(4):
        assert bench.once("a", "1", client=f"c{n}")
    assert bench.dedup.status() == {"ids": 3, "clients": 3, "under_way": 0}
    assert bench.once("a", "1", client="c0")
    assert not bench.once("a", "1", client="c3")


def test_ids_from_before_a_restart() -> None:
    bench = Bench(window=100, known=[KnownId(7, "c", "1", -50.0), KnownId(8, "c", "2", -10.0)])
    assert not bench.once("a", "1", now=49)
    assert bench.once("b", "1", now=50)
    assert not bench.once("c", "2", now=50)
    assert list(bench.paper.rows) == [9]


def test_an_id_that_is_there_twice_counts_once() -> None:
    bench = Bench(known=[KnownId(7, "c", "1", 0.0), KnownId(8, "c", "1", 0.0)], max_ids=1)
    assert bench.dedup.status() == {"ids": 1, "clients": 1, "under_way": 0}
    assert bench.once("a", "2")
    assert bench.once("b", "1")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("123")),
        st.tuples(st.just("settle"), st.booleans()),
    ),
    max_size=40,
)


@given(STEPS)
def test_each_id_succeeds_once_and_every_publish_is_answered_once(steps: list[tuple[str, Any]]) -> None:
    bench = Bench()
    stored: list[str] = []
    ids: dict[str, str] = {}
    for what, value in [*steps, *[("settle", True)] * (len(steps) + 1)]:
        if what == "publish":
            name = f"p{len(ids)}"
            ids[name] = value
            bench.publish(name, value)
        else:
            under_way = bench.routed[len(bench.routed) - len(bench.dones) :]
            if value:
                stored += [ids[name] for name in under_way]
            bench.settle(None if value else Refused("no", 0x97))
    assert len(stored) == len(set(stored))
    assert sorted(name for name, _ in bench.answers) == sorted(ids)
    for name, error in bench.answers:
        assert error or ids[name] in stored
    assert sorted(bench.paper.ids) == sorted(stored)


# -- on the wire


def with_dedup(**bounds: Any) -> tuple[World, Paper, Client, Client]:
    world = World()
    paper = Paper()
    settings = {"window": 100.0, "max_ids": 10, "max_total": 100, **bounds}
    world.server.extras.dedup = Dedup(paper, world.broker.metrics, **settings)
    watcher = world.client("watcher")
    watcher.subscribe("#", 2)
    return world, paper, watcher, world.client("c")


def tagged(id: str) -> dict[str, Any]:
    return {"props": ((USER_PROPERTY, ("x", "1")), (USER_PROPERTY, ("dedup-id", id)))}


def test_puback_of_a_repeat_is_0x00_and_the_property_is_passed_on() -> None:
    _, paper, watcher, client = with_dedup()
    assert client.publish("t", b"1", 1, 1, **tagged("a")) == []
    paper.commit()
    assert client.received() == [PubAck(1)]
    assert client.publish("t", b"2", 1, 2, **tagged("a")) == [PubAck(2)]
    (packet,) = publishes(watcher.received())
    assert (packet.payload, packet.props) == (b"1", tagged("a")["props"])


def test_qos_2_and_qos_1_share_their_ids() -> None:
    _, paper, watcher, client = with_dedup()
    assert client.publish("t", b"1", 2, 1, **tagged("a")) == []
    assert client.publish("t", b"1", 2, 1, dup=True, **tagged("a")) == []
    assert client.publish("t", b"2", 1, 2, **tagged("a")) == []
    paper.commit()
    assert client.received() == [PubRec(1), PubRec(1), PubAck(2)]
    client.exchange(PubRel(1))
    assert client.publish("t", b"3", 2, 1, **tagged("a")) == [PubRec(1)]
    assert [packet.payload for packet in publishes(watcher.received())] == [b"1"]


def test_the_id_outlives_the_connection_and_the_session() -> None:
    world, paper, watcher, client = with_dedup()
    client.publish("t", b"1", 1, 1, **tagged("a"))
    client.lose()
    again = world.client("c")
    assert again.publish("t", b"1", 1, 1, **tagged("a")) == []
    paper.commit()
    assert again.received() == [PubAck(1)]
    assert len(publishes(watcher.received())) == 1


def test_a_store_that_fails_is_told_to_each_and_tried_for_each() -> None:
    world, paper, _, client = with_dedup()
    keeper = Keeper()
    world.broker.subscribe("t", keeper)
    client.publish("t", b"1", 1, 1, **tagged("a"))
    client.publish("t", b"1", 1, 2, **tagged("a"))
    assert len(keeper.messages) == 1
    keeper.waiting.pop()(Refused("disk full", 0x97))
    assert client.received() == [PubAck(1, 0x97)]
    keeper.waiting.pop()(None)
    paper.commit()
    assert client.received() == [PubAck(2)]


def test_qos_0_and_other_versions_are_not_asked() -> None:
    world, paper, watcher, client = with_dedup()
    for _ in range(2):
        client.publish("t", b"0", 0, 0, **tagged("a"))
        assert world.client("old", 4).publish("t", b"4", 1, 1) == [PubAck(1)]
    assert len(publishes(watcher.received())) == 4
    assert paper.gathering == {}


@pytest.mark.parametrize("id", ["", "x" * (LONGEST_ID + 1)])
def test_an_id_must_be_short_and_not_empty(id: str) -> None:
    world, _, watcher, client = with_dedup()
    assert client.publish("t", b"1", 1, 1, **tagged(id)) == [PubAck(1, 0x83)]
    assert publishes(watcher.received()) == []
    assert world.broker.metrics.drops == {"dedup_id_invalid": 1}


def test_what_may_not_be_published_leaves_no_id() -> None:
    _, paper, _, client = with_dedup()
    assert client.publish("$SYS/x", b"1", 1, 1, **tagged("a")) == [PubAck(1, 0x87)]
    assert paper.gathering == {}
