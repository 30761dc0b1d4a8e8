"""Observe (RFC 7641) at the listener: what is sent, what is confirmed, and when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import aiocoap
from aiocoap import ACK, CON, NON, RST

from gateway.broker.access import Access
from gateway.broker.access_rules import Rule, RuleSet
from gateway.broker.identity import Identity
from gateway.message import Message
from listeners.coap_stage import Bare, Stage, on_stage

GET = 1


async def watching(it: Stage, topic: str = "a", token: bytes = b"t", **options: Any) -> tuple[Bare, int]:
    """A bare client that observes, and the first Observe number."""
    bare = it.open()
    bare.ask(GET, topic, token=token, observe=0, **options)
    answer = await bare.next()
    assert answer.opt.observe is not None
    return bare, answer.opt.observe


def test_each_message_is_a_notification_in_order() -> None:
    async def play(it: Stage) -> None:
        it.broker.publish(Message("a", b"first", retain=True))
        bare = it.open()
        bare.ask(GET, "a", observe=0)
        seen = [await bare.next()]
        for number in range(5):
            it.broker.publish(Message("a", str(number).encode()))
        seen += [await bare.next() for _ in range(5)]
        assert [one.payload for one in seen] == [b"first", b"0", b"1", b"2", b"3", b"4"]
        numbers = [one.opt.observe for one in seen]
        assert numbers == sorted(set(numbers))
        assert [one.mtype for one in seen[1:]] == [NON] * 5
        assert all(one.token == b"t" for one in seen)

    on_stage(play, confirm=10)


def test_an_observer_waits_for_the_first_value() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it, "nothing/yet")
        it.broker.publish(Message("nothing/yet", b"now"))
        assert (await bare.next()).payload == b"now"

    on_stage(play)


def test_every_so_many_are_confirmed_and_the_next_wait_for_it() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        for number in range(5):
            it.broker.publish(Message("a", str(number).encode()))
        first, second = await bare.next(), await bare.next()
        assert (first.mtype, second.mtype) == (NON, CON)
        assert await bare.is_quiet(0.05)
        bare.empty(ACK, second.mid)
        third, fourth = await bare.next(), await bare.next()
        assert [(one.payload, one.mtype) for one in (third, fourth)] == [(b"2", NON), (b"3", CON)]

    on_stage(play, confirm=2, ack_timeout=5.0)


def test_an_observer_may_ask_for_each_to_be_confirmed() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it, uri_query=("qos=1",))
        for number in range(3):
            it.broker.publish(Message("a", str(number).encode()))
            one = await bare.next()
            assert (one.payload, one.mtype) == (str(number).encode(), CON)
            bare.empty(ACK, one.mid)

    on_stage(play, confirm=10)


def test_what_waits_is_bounded_and_the_newest_stays() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        it.broker.publish(Message("a", b"0"))
        first = await bare.next()
        for number in range(1, 11):
            it.broker.publish(Message("a", str(number).encode()))
        payloads = []
        for _ in range(3):
            bare.empty(ACK, first.mid)
            first = await bare.next()
            payloads.append(first.payload)
        assert payloads == [b"8", b"9", b"10"]
        assert it.metrics.drops["coap_observer_full"] == 7

    on_stage(play, confirm=1, queue=3, ack_timeout=5.0)


def test_one_that_confirms_nothing_is_sent_again_and_then_forgotten() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        it.broker.publish(Message("a", b"0"))
        seen = [await bare.next() for _ in range(3)]
        assert len({one.mid for one in seen}) == 1
        await it.until(lambda: not it.service.watches)
        assert it.service.places.count == 0

    on_stage(play, confirm=1, ack_timeout=0.05, retries=2)


def test_reset_ends_it_whether_it_was_to_be_confirmed_or_not() -> None:
    for confirm in (1, 10):

        async def play(it: Stage) -> None:
            bare, _ = await watching(it)
            it.broker.publish(Message("a", b"0"))
            one = await bare.next()
            bare.empty(RST, one.mid)
            await it.until(lambda: not it.service.watches)
            it.broker.publish(Message("a", b"1"))
            assert await bare.is_quiet(0.05)

        on_stage(play, confirm=confirm)


def test_asking_again_with_observe_1_ends_it() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        bare.ask(GET, "a", observe=1)
        assert (await bare.next()).opt.observe is None
        await it.until(lambda: not it.service.watches)

    on_stage(play)


def test_asking_again_with_the_same_token_is_one_observation() -> None:
    async def play(it: Stage) -> None:
        bare, first = await watching(it)
        bare.ask(GET, "a", observe=0)
        assert (await bare.next()).opt.observe > first
        await it.until(lambda: len(it.service.watches) == 1)
        it.broker.publish(Message("a", b"0"))
        assert (await bare.next()).payload == b"0"
        assert await bare.is_quiet(0.05)

    on_stage(play)


def test_beyond_the_bounds_it_is_a_plain_get() -> None:
    for bounds in ({"observers_per_client": 1}, {"max_observers": 1}):

        async def play(it: Stage) -> None:
            await watching(it)
            bare = it.open()
            bare.ask(GET, "b", token=b"2", observe=0)
            assert (await bare.next()).opt.observe is None
            assert it.metrics.counts["coap_observers_refused"] == 1

        on_stage(play, None, **bounds)


def test_one_that_has_confirmed_nothing_for_long_is_asked() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        it.broker.publish(Message("a", b"0"))
        assert (await bare.next()).mtype == NON
        (watch,) = it.service.watches
        watch.observation._confirmed -= 300
        it.service.tick()
        again = await bare.next()
        assert (again.payload, again.mtype) == (b"0", CON)

    on_stage(play, confirm=10, confirm_after=300.0)


def test_a_large_notification_comes_in_blocks() -> None:
    async def play(it: Stage) -> None:
        async with asyncio.timeout(5):
            request = it.request(aiocoap.GET, "a", observe=0)
            await request.response
            content = bytes(range(256)) * 12
            notifications = request.observation.__aiter__()
            it.broker.publish(Message("a", content))
            assert (await notifications.__anext__()).payload == content
            request.observation.cancel()

    on_stage(play, confirm=10)


def test_notifications_have_the_form_that_was_asked_for() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it, accept=60)
        it.broker.publish(Message("a", value={"v": 1}))
        assert int((await bare.next()).opt.content_format) == 60
        it.broker.publish(Message("a", b"\xff\xfe"))
        last = await bare.next()
        assert last.code == aiocoap.NOT_ACCEPTABLE
        bare.empty(ACK, last.mid)
        await it.until(lambda: not it.service.watches)

    on_stage(play)


def test_a_right_that_is_taken_away_ends_it() -> None:
    access = Access()

    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        access.rules = RuleSet([Rule(1, "deny", frozenset(("subscribe",)), "a", None, None, None, "test")])
        it.service.tick()
        last = await bare.next()
        assert (last.code, last.opt.observe) == (aiocoap.FORBIDDEN, None)
        bare.empty(ACK, last.mid)
        await it.until(lambda: not it.service.watches)

    on_stage(play, access)


def test_a_token_that_expires_ends_it() -> None:
    class Brief:
        def authenticate(self, login: object, answer: object) -> None:
            self.who = Identity("m", "m", expires=1e12)
            answer(self.who)  # type: ignore[operator]

    access = Access()
    access.authenticator = brief = Brief()

    async def play(it: Stage) -> None:
        bare, _ = await watching(it, uri_query=("token=x",))
        brief.who.expires = 0.0
        it.service.tick()
        last = await bare.next()
        assert last.code == aiocoap.FORBIDDEN
        bare.empty(ACK, last.mid)

    on_stage(play, access)


def test_a_stop_tells_observers() -> None:
    async def play(it: Stage) -> None:
        bare, _ = await watching(it)
        it.server.shutdown()
        it.service.tick()
        assert (await bare.next()).code == aiocoap.SERVICE_UNAVAILABLE

    on_stage(play)


def test_a_thousand_observers_of_one_topic_all_hear_it() -> None:
    async def play(it: Stage) -> None:
        bare = it.open()
        for number in range(1000):
            bare.ask(GET, "a", token=number.to_bytes(2, "big"), observe=0)
            await bare.next()
        it.broker.publish(Message("a", b"x"))
        tokens = {(await bare.next()).token for _ in range(200)}
        assert len(tokens) == 200

    on_stage(play, max_observers=1000, observers_per_client=1000)
