"""A node whose birth is missing is asked for it, seldom, and its data is read when it has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.clock import FixedClock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.rules.decoders import rebirth
from gateway.rules.decoders.rebirth import Rebirths
from gateway.rules.engine import RuleEngine
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, encode
from sparkplug.proto import Payload

CODEC = '[[codec]]\nname = "sp"\ntopic = "spBv1.0/#"\nformat = "sparkplug"\nto = "plant/{record[\'name\']}"\n'
BIRTH = encode([(Metric("temp", -5, DataType.INT8, 7), DataType.INT8)], 1000, 0)
DATA = encode([(Metric(None, -3, None, 7), DataType.INT8)], 2000, 1)


class Site:
    """Rules with one codec, and a clock that is moved by hand."""

    def __init__(self, rules: Callable[[str], Any], bench: Any, more: str = "") -> None:
        self.bench = bench
        self.clock = FixedClock()
        self.metrics = Metrics()
        self.engine = RuleEngine(bench, self.clock, self.metrics)
        self.load(rules, more)

    def load(self, rules: Callable[[str], Any], more: str = "") -> None:
        loaded = rules(CODEC + more)
        self.engine.swap(loaded.actions, loaded.models, loaded.codecs, loaded.schemas)

    def come(self, kind: str, payload: bytes, node: str = "n") -> list[Message]:
        """What is published in answer to a message."""
        before = len(self.bench.published)
        self.bench.the("spBv1.0/#").deliver(Message(f"spBv1.0/g/{kind}/{node}", payload, source="client:x"), None)
        return list(self.bench.published[before:])


def test_data_with_an_alias_that_nobody_knows_asks_for_a_birth(rules: Any, bench: Any) -> None:
    site = Site(rules, bench)
    (question,) = site.come("NDATA", DATA)
    assert (question.topic, question.qos, question.retain) == ("spBv1.0/g/NCMD/n", 0, False)
    read = Payload.FromString(question.payload)
    assert [(one.name, one.datatype, one.boolean_value) for one in read.metrics] == [("Node Control/Rebirth", 11, True)]
    assert not read.HasField("seq")
    assert site.metrics.counts["sparkplug_rebirths_asked"] == 1
    assert site.come("NCMD", question.payload) != [question]
    assert [one.value["v"] for one in site.come("NBIRTH", BIRTH)] == [-5]
    assert [one.value["v"] for one in site.come("NDATA", DATA)] == [-3]


def test_a_reload_that_forgets_asks_again(rules: Any, bench: Any) -> None:
    site = Site(rules, bench)
    site.come("NBIRTH", BIRTH)
    assert site.come("NDATA", DATA)[0].topic == "plant/temp"
    site.load(rules, "qos = 0\n")
    assert [one.topic for one in site.come("NDATA", DATA)] == ["spBv1.0/g/NCMD/n"]


def test_a_node_that_does_not_answer_is_asked_seldom(rules: Any, bench: Any) -> None:
    site = Site(rules, bench)
    asked = 0
    for _ in range(3600):
        asked += len(site.come("NDATA", DATA))
        site.clock.advance(1)
    # After 0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030 seconds.
    assert asked == 11
    assert len(site.come("NDATA", DATA, "another")) == 1, "another node has its own time"
    site.come("NBIRTH", BIRTH)
    site.load(rules, "qos = 0\n")
    assert len(site.come("NDATA", DATA)) == 1, "who answers is asked at once the next time"


def test_only_what_cannot_be_read_asks(rules: Any, bench: Any) -> None:
    site = Site(rules, bench)
    whole = encode([(Metric("x", 1, DataType.INT8), DataType.INT8)], 1, 1)
    assert [one.topic for one in site.come("NDATA", whole)] == ["plant/x"]
    typeless = encode([(Metric("x", 1.5, None), DataType.DOUBLE)], 1, 1)
    assert {one.topic for one in site.come("NDATA", typeless)} == {"plant/x", "spBv1.0/g/NCMD/n"}
    assert site.come("NDEATH", encode([(Metric(None, 1, None, 3), DataType.INT8)], 1, None), "dead") == []
    assert site.come("NCMD", encode([(Metric(None, 1, None, 3), DataType.INT8)], 1, None), "told") == []


def test_a_listener_that_asks_nobody(rules: Any, bench: Any) -> None:
    site = Site(rules, bench, "rebirth = false\n")
    assert site.come("NDATA", DATA) == []
    assert site.metrics.drops == {"codec_bad": 1}


def test_types_that_only_the_birth_has_said(rules: Any, bench: Any) -> None:
    """Data has no types: without that of the birth a negative number is one of four thousand millions."""
    site = Site(rules, bench)
    data = encode([(Metric("temp", -3, None), DataType.INT8)], 2000, 1)
    (question,) = site.come("NDATA", data)
    assert question.topic == "spBv1.0/g/NCMD/n"
    assert "no birth has said what type temp has: 4294967293 may be negative" in site.engine.status()[0]["last_error"]
    site.come("NBIRTH", BIRTH)
    assert [one.value["v"] for one in site.come("NDATA", data)] == [-3]
    site.come("DBIRTH", encode([(Metric("temp", 9, DataType.UINT32), DataType.UINT32)], 1, 1), "n/d")
    (record,) = site.come("DDATA", data, "n/d")
    assert record.value["v"] == 4294967293, "a device has types of its own"


def test_it_remembers_a_bounded_number_of_nodes() -> None:
    rebirths = Rebirths()
    for number in range(rebirth.MAX_NODES + 5):
        rebirths.miss("spBv1.0", "g", str(number))
    assert len(rebirths.take(0.0, 0.0)) == rebirth.MAX_NODES + 5
    assert len(rebirths._asked) == rebirth.MAX_NODES
    assert rebirths.take(0.0, 0.0) == []
