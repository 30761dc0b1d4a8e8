"""Rows that are sent once more: as they were, beside the others, and with an answer that says what is gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.message import USER_PROPERTY, Properties
from gateway.mqtt.packets import ConnAck, Publish, Subscribe
from gateway.outbound import LEDGER_TOPIC, RESEND_TOPIC, Found, Row, Wanted
from gateway.uplinks.ledger import Ledger
from gateway.uplinks.mqtt.config import Forward
from gateway.uplinks.mqtt.window import PACKET_IDS, RESEND_IDS
from gateway.uplinks.resend import KEPT_ANSWERS, MAX_REQUESTS, Resend
from gateway.uplinks.resend_desk import ResendDesk
from gateway.uplinks.resend_request import Request, read_request
from uplinks.bench import Bench, Cloud, play, row, until, user

PAGE = 3


class ListArchive:
    """The contract of ``Archive`` over a list; ``after`` is an index."""

    def __init__(self, rows: Iterable[Row], waiting: tuple[int, ...] = (), others: tuple[int, ...] = ()) -> None:
        self.rows = list(rows)
        self.waiting = list(waiting)
        self.others = list(others)
        self.posted: list[dict[str, Any]] = []
        self.looks = 0

    async def find(self, wanted: Wanted, after: int) -> Found:
        await asyncio.sleep(0)
        self.looks += 1
        there = [
            one
            for one in self.rows
            if wanted.first <= one.seq <= wanted.last
            and wanted.boot in (None, one.boot)
            and wanted.since <= one.time <= wanted.until
        ]
        rows = there[after : after + PAGE]
        more = after + PAGE if after + PAGE < len(there) else None
        waiting, others = (self.waiting, self.others) if more is None else ([], [])
        return Found(rows, waiting, others, more)

    def post(self, topic: str, payload: bytes, props: Properties) -> None:
        assert topic == RESEND_TOPIC
        assert props == ((0x03, "application/json"),)
        self.posted.append(json.loads(payload))


def asking(cloud: Cloud, archive: ListArchive, rows: Iterable[Row] = (), **settings: Any) -> Bench:
    return Bench(
        cloud.port, rows, archive=archive, ledger=Ledger(topic="site/ledger", resend="site/resend"), **settings
    )


def ask(cloud: Cloud, content: Any) -> None:
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    cloud.send(Publish("site/resend", payload, 1, False, False, 9))


def test_a_range_comes_again_as_it_was() -> None:
    async def main() -> None:
        props = ((0x03, "text/plain"), (USER_PROPERTY, ("a", "b")))
        rows = [row(seq, retain=True, expires=1.0, props=props if seq == 11 else ()) for seq in (10, 11, 13, 14, 15)]
        archive = ListArchive(rows, waiting=(16,), others=(17,))
        async with Cloud() as cloud:
            bench = asking(cloud, archive)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                ask(cloud, {"id": "r1", "from": "7:9", "to": "7:18"})
                await until(lambda: archive.posted)

            await bench.during(work())
            sent = cloud.publishes()
            assert [one.payload for one in sent] == [b"10", b"11", b"13", b"14", b"15"]
            assert [one.topic for one in sent] == ["site/plant/t"] * 5
            assert not any(one.retain or one.dup for one in sent)
            assert user(sent[1].props) == [("a", "b"), ("message-id", "7:11"), ("via", "gw1"), ("resend", "r1")]
            assert [name for name, _ in sent[1].props] == [0x03, 0x26, 0x26, 0x26, 0x26]
            assert all(one.packet_id in RESEND_IDS for one in sent)
            assert archive.posted == [
                {
                    "id": "r1",
                    "state": "done",
                    "sent": 5,
                    "bytes": 10,
                    "refused": 0,
                    "waiting": 1,
                    "gone": 3,
                    "gaps": [["7:9", "7:9"], ["7:12", "7:12"], ["7:18", "7:18"]],
                }
            ]
            assert bench.reader.cursor == 0
            assert bench.publisher.messages == []

    play(main())


def test_what_is_live_does_not_wait_for_it() -> None:
    async def main() -> None:
        archive = ListArchive(row(seq) for seq in range(1000, 1020))
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None if packet.packet_id in RESEND_IDS else 0
            bench = asking(cloud, archive, window=8)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                ask(cloud, {"id": "r1", "from": "7:1000", "to": "7:1019"})
                await cloud.published(1)
                bench.reader.add(*(row(seq) for seq in range(1, 31)))
                await bench.settled(30)

            await bench.during(work())
            # An eighth of the window is its own, and no more.
            assert sum(one.packet_id in RESEND_IDS for one in cloud.publishes()) == 1

    play(main())


def test_a_window_of_one_is_never_exceeded() -> None:
    async def main() -> None:
        archive = ListArchive(row(seq) for seq in range(1000, 1010))
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((0x21, 1),))
            bench = asking(cloud, archive, [row(seq) for seq in range(1, 11)])
            under_way = 0
            most = 0

            def answer(packet: Publish) -> int:
                nonlocal under_way, most
                most = max(most, len(cloud.publishes()) - answered)
                return 0

            answered = 0
            cloud.on_publish = answer

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                ask(cloud, {"id": "r1", "from": "7:1000", "to": "7:1009"})
                await until(lambda: archive.posted)
                await bench.settled(10)

            await bench.during(work())
            assert len(cloud.publishes()) == 20

    play(main())


def test_what_had_no_answer_is_sent_again_on_the_next_connection() -> None:
    async def main() -> None:
        archive = ListArchive([row(10), row(11)])
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: None
            bench = asking(cloud, archive)

            async def first() -> None:
                await until(lambda: cloud.of(Subscribe))
                ask(cloud, {"id": "r1", "from": "7:10", "to": "7:11"})
                await cloud.published(2)

            await bench.during(first())
            cloud.connack = ConnAck(True, 0)
            cloud.on_publish = lambda packet: 0
            await bench.during(until(lambda: archive.posted))
            sent = cloud.publishes()
            assert [(one.payload, one.dup) for one in sent] == [
                (b"10", False),
                (b"11", False),
                (b"10", True),
                (b"11", True),
            ]
            assert sent[0].packet_id == sent[2].packet_id
            assert archive.posted[0]["sent"] == 2

    play(main())


def test_rows_that_the_cloud_refuses_or_that_are_not_forwarded_are_told() -> None:
    async def main() -> None:
        archive = ListArchive([row(10), row(11, "elsewhere"), row(12)])
        async with Cloud() as cloud:
            cloud.on_publish = lambda packet: 0x87 if packet.payload == b"10" else 0
            bench = asking(cloud, archive)

            async def work() -> None:
                await until(lambda: cloud.of(Subscribe))
                ask(cloud, {"id": "r1", "from": "7:10", "to": "7:12"})
                await until(lambda: archive.posted)

            await bench.during(work())
            assert (archive.posted[0]["sent"], archive.posted[0]["refused"]) == (1, 2)
            assert bench.reader.dropped == []

    play(main())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"nonsense", "a request must be "),
        (b"[" * 4000, "a request must be "),
        (b" " * 5000, "a request has 4096 bytes at most, not 5000"),
        ({"from": "1:2", "to": "1:3"}, "id must be a text of 1 to 64 characters"),
        ({"id": "", "from": "1:2", "to": "1:3"}, "id must be a text of 1 to 64 characters"),
        ({"id": "a", "from": "1:2"}, "to must be a message id such as 3:100"),
        ({"id": "a", "from": "1:2", "to": "2:3"}, "from and to must be of one start of the gateway, not of 1 and 2"),
        ({"id": "a", "from": "1:5", "to": "1:3"}, "to must not be before from"),
        ({"id": "a", "from": "1:-5", "to": "1:3"}, "from must be a message id such as 3:100"),
        ({"id": "a", "from": "1:5", "to": "1:" + "9" * 30}, "to must be a message id such as 3:100"),
        ({"id": "a"}, "a request must be "),
        ({"id": "a", "from": "1:1", "since": 5}, "a request must be "),
        ({"id": "a", "since": "yesterday"}, "since must be a time such as 2026-11-25T10:00:00Z"),
        ({"id": "a", "since": True}, "since must be a time such as 2026-11-25T10:00:00Z"),
        ({"id": "a", "since": 5, "until": 4}, "until must not be before since"),
        ({"id": "a", "since": 5, "rows": 4}, "unknown key 'rows'"),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(content: Any, reason: str) -> None:
    archive = ListArchive([])
    resend = Resend(archive, RESEND_IDS, lambda topic: topic, lambda row: (), lambda: None)
    resend.ask(content if isinstance(content, bytes) else json.dumps(content).encode())
    (answer,) = archive.posted
    assert answer["state"] == "refused"
    assert answer["reason"].startswith(reason)
    assert answer["id"] == (content.get("id") if isinstance(content, dict) else None)


def test_requests_by_time() -> None:
    wanted = read_request(b'{"id":"a","since":"2026-11-25T10:00:00Z","until":"2026-11-25T12:00:00+02:00"}').wanted
    assert wanted.boot is None
    assert wanted.until == wanted.since == 1_795_600_800.0
    assert read_request(b'{"id":"a","since":5}').wanted.until == float("inf")
    assert read_request(b'{"id":"a","until":"2026-11-25T10:00:00"}').wanted.until == 1_795_600_800.0


def test_only_so_many_requests_wait() -> None:
    resend = Resend(ListArchive([]), RESEND_IDS, lambda topic: topic, lambda row: (), lambda: None)
    for n in range(MAX_REQUESTS):
        resend.begin(Request(str(n), Wanted(1, 1, 2, 0, 1)))
    with pytest.raises(GatewayError, match="8 requests wait already"):
        resend.begin(Request("x", Wanted(1, 1, 2, 0, 1)))


def test_answers_can_be_asked_for_here_for_a_while() -> None:
    async def main() -> None:
        resend = Resend(ListArchive([]), RESEND_IDS, lambda topic: topic, lambda row: (), lambda: None)
        desk = ResendDesk({"cloud": Holder(resend), "old": Holder(None)})
        first = desk.begin({"uplink": "cloud", "from": "1:1", "to": "1:2"})["id"]
        assert desk.state({"uplink": "cloud", "id": first})["state"] == "waiting"
        while await resend.fill():
            pass
        state = desk.state({"uplink": "cloud", "id": first})
        assert (state["state"], state["gone"]) == ("done", 2)
        for _ in range(KEPT_ANSWERS):
            desk.begin({"uplink": "cloud", "since": "2026-11-25T10:00:00Z"})
            while await resend.fill():
                pass
        with pytest.raises(GatewayError, match="no request 'local-1' is known"):
            desk.state({"uplink": "cloud", "id": first})
        with pytest.raises(GatewayError, match="there is no uplink 'x'; there are: cloud, old"):
            desk.begin({"uplink": "x"})
        with pytest.raises(GatewayError, match="nothing is sent again"):
            desk.begin({"uplink": "old"})

    play(main())


class Holder:
    def __init__(self, resend: Resend | None) -> None:
        self.resend = resend


def test_the_ledger_goes_to_its_own_topic_whatever_is_forwarded() -> None:
    async def main() -> None:
        rows = [row(1, LEDGER_TOPIC, uplinks=("cloud",)), row(2, RESEND_TOPIC, uplinks=("cloud",)), row(3)]
        async with Cloud() as cloud:
            bench = asking(cloud, ListArchive([]), rows)
            await bench.during(bench.settled(3))
            assert [one.topic for one in cloud.publishes()] == ["site/ledger", "site/resend/result", "site/plant/t"]
        async with Cloud() as cloud:
            bench = Bench(cloud.port, rows, ledger=Ledger())
            await bench.during(bench.settled(3))
            assert [one.topic for one in cloud.publishes()] == ["gateway/gw1/ledger", "site/plant/t"]
            assert bench.reader.dropped == [(2, "not_forwarded")]

    play(main())


def test_rows_for_another_uplink_are_passed_by_and_those_for_this_one_are_given_up_when_nobody_forwards_them() -> None:
    async def main() -> None:
        rows = [row(1, uplinks=("else",)), row(2, "old/t", uplinks=("cloud", "else")), row(3, uplinks=("cloud",))]
        async with Cloud() as cloud:
            bench = Bench(cloud.port, rows)
            await bench.during(bench.settled(3))
            assert [one.payload for one in cloud.publishes()] == [b"3"]
            assert bench.reader.dropped == [(2, "not_forwarded")]

    play(main())


def test_nobody_else_uses_its_packet_identifiers() -> None:
    assert RESEND_IDS[0] == PACKET_IDS + 1
    assert RESEND_IDS[-1] == 65_534


def test_with_version_3_1_1_nothing_is_sent_again() -> None:
    config = Bench(1, version="3.1.1").config
    assert not list(config.problems())
    bad = type(config)(url="mqtt://b", version="3.1.1", ledger=Ledger(resend="r"), forward=(Forward(filter="a"),))
    assert [key for key, _ in bad.problems()] == ["ledger.resend"]
    assert Bench(1, version="3.1.1", archive=ListArchive([])).uplink.resend is None
