"""Codecs: what comes of CSV, key=value, binary, CBOR and Sparkplug messages, shown with cases as a user writes them."""

# ruff: noqa: E501 - a table of a case stands in one line, as TOML wants it

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FixedClock
from gateway.errors import ConfigError
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.rules.decoders.binary import Part, binary_decoder
from gateway.rules.decoders.concise import cbor_decoder
from gateway.rules.decoders.record import MAX_RECORDS, bounded
from gateway.rules.decoders.sparkplug import SparkplugDecoder
from gateway.rules.decoders.text import Values, csv_decoder, json_decoder, json_lines_decoder, key_value_decoder
from gateway.rules.engine import RuleEngine
from gateway.sparkplug.datatypes import DataType
from gateway.sparkplug.payload import Metric, encode

Passes = Callable[[str], None]


def test_csv_with_named_columns_and_decimal_comma(passes: Passes) -> None:
    passes("""
[[codec]]
name = "scale"
topic = "raw/scale/+"
format = "csv"
columns = ["serial", "weight", "unit"]
separator = ";"
decimal = ","
numbers = ["weight"]
to = "plant/scale/{topic.3}"
dead = "dead/{topic.3}"

[[case]]
name = "the good lines go on, the bad ones are told with their reason"
errors = 2
given = [{ topic = "raw/scale/a", payload = "007;12,5;kg\\r\\n008;heavy;kg\\n009;1\\n010;;kg\\n", qos = 1 }]
expect = [
  { topic = "plant/scale/a", value = { serial = "007", weight = 12.5, unit = "kg" }, qos = 1 },
  { topic = "dead/a", value = { codec = "scale", topic = "raw/scale/a", record = 1, reason = "weight: 'heavy' is no number", time = "2026-01-01T00:00:00.000Z", text = "008;heavy;kg" }, qos = 1 },
  { topic = "dead/a", value = { codec = "scale", topic = "raw/scale/a", record = 2, reason = "has 2 values, not 3", time = "2026-01-01T00:00:00.000Z", text = "009;1" } },
  { topic = "plant/scale/a", payload = '{"serial":"010","weight":null,"unit":"kg"}' },
]
""")


def test_csv_with_a_header(passes: Passes) -> None:
    passes(
        """
[[codec]]
name = "log"
topic = "raw/log"
format = "csv"
texts = ["b"]
to = "log/{record['a']}"

[[case]]
name = "names from the first line; quotes; a text that stays one"
given = [{ topic = "raw/log", payload = 'a,b,"c d"' + "\\n" + 'x,5,"1,2"' }]
expect = [{ topic = "log/x", value = { a = "x", b = "5", "c d" = "1,2" } }]
""".replace('\'a,b,"c d"\' + "\\n" + \'x,5,"1,2"\'', "'''a,b,\"c d\"\nx,5,\"1,2\"'''")
    )


def test_key_value(passes: Passes) -> None:
    passes("""
[[codec]]
name = "kv"
topic = "raw"
format = "key_value"
to = "out"

[[case]]
name = "numbers, words, quotes; and a line that is none"
errors = 1
given = [{ topic = "raw", payload = "t=21.5 on=true name=\\"A\\"\\nnonsense\\nt=-3;hum=" }]
expect = [
  { topic = "out", value = { t = 21.5, on = true, name = "A" } },
  { topic = "out", payload = '{"t":-3,"hum":null}' },
]
""")


def test_json_and_json_lines(passes: Passes) -> None:
    passes("""
[[codec]]
name = "array"
topic = "array"
format = "json"
to = "out/{record['id']}"

[[codec]]
name = "lines"
topic = "lines"
format = "json_lines"
to = "line"
dead = "dead"

[[case]]
name = "the items of a list, and the lines; one of each without what its topic needs"
errors = 2
given = [
  { topic = "array", value = [{ id = 1 }, { noid = 2 }, { id = 3 }] },
  { topic = "lines", payload = "{\\"a\\":1}\\n{\\"a\\":\\n5" },
]
expect = [
  { topic = "out/1", value = { id = 1 } }, { topic = "out/3", value = { id = 3 } },
  { topic = "line", value = { a = 1 } },
  { topic = "dead", value = { codec = "lines", topic = "lines", record = 1, reason = "is not JSON: Expecting value (column 6)", time = "2026-01-01T00:00:00.000Z", text = '{"a":' } },
  { topic = "line", value = 5 },
]
""")


def test_binary_record(passes: Passes) -> None:
    passes("""
[[codec]]
name = "meter"
topic = "raw/meter"
format = "binary"
repeat = true
to = "meter"
dead = "dead"
field = [
  { name = "status", type = "uint16", bits = { running = 0, mode = "4-7" } },
  { type = "skip", length = 1 },
  { name = "temperature", type = "int16", order = "little", scale = 0.1, offset = -40 },
  { name = "phases", type = "uint8", repeat = 3 },
  { name = "tag", type = "text", length = 4 },
  { name = "raw", type = "hex", length = 2 },
]

[[case]]
name = "two records and a rest"
errors = 1
given = [{ topic = "raw/meter", bytes = "0051 ff c902 010203 41420000 beef  0000 ff 0000 000000 00000000 0000  01" }]
expect = [
  { topic = "meter", value = { status = 81, running = true, mode = 5, temperature = 31.3, phases = [1, 2, 3], tag = "AB", raw = "beef" } },
  { topic = "meter", value = { status = 0, running = false, mode = 0, temperature = -40, phases = [0, 0, 0], tag = "", raw = "0000" } },
  { topic = "dead", value = { codec = "meter", topic = "raw/meter", record = 2, reason = "1 bytes are left over; a record has 14", time = "2026-01-01T00:00:00.000Z", text = "\\u0001" } },
]
""")


def test_cbor_and_bytes_back(passes: Passes) -> None:
    passes("""
[[codec]]
name = "cbor"
topic = "raw"
format = "cbor"
to = "out"

[[action]]
name = "back"
on = { topic = "out" }
do = [{ publish = { topic = "device", bytes = "pack('>Bh', 7, v)" } }]

[[case]]
name = "a map; and binary again for the device"
given = [{ topic = "raw", bytes = "a1 6176 39 012b" }]
expect = [{ topic = "out", value = { v = -300 } }, { topic = "device", bytes = "07 fed4" }]
""")


def test_a_bad_message_without_dead_is_counted(rules: Any, bench: Any) -> None:
    loaded = rules('[[codec]]\nname = "c"\ntopic = "in"\nformat = "json"\nto = "out"\n')
    metrics = Metrics()
    engine = RuleEngine(bench, FixedClock(), metrics)
    engine.swap(loaded.actions, loaded.models, loaded.codecs, loaded.schemas)
    subscriber = bench.the("in")
    assert subscriber.deliver(Message("in", b"{", 1, source="x"), lambda error: None) is False
    assert metrics.drops == {"codec_bad": 1}
    done: list[Any] = []
    assert subscriber.deliver(Message("in", b"[1,2]", 1, source="x"), done.append) is True
    assert [message.value for message in bench.published] == [1, 2]
    bench.waiting[0](None)
    assert done == []
    bench.waiting[1](None)
    assert done == [None], "the cause is safe when all its records are"
    assert engine.status()[0]["fired"] == 2
    engine.swap((), ())
    assert bench.subscriptions["in"] == []


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('format = "csv"\nto = "{x}"', "rule0.toml:5: codec[0].to: in {x}: column 1: unknown name 'x'"),
        ('format = "xml"\nto = "o"', 'rule0.toml:4: codec[0].format: must be one of "json"'),
        ('format = "json"\nto = "o"\ncolumns = ["a"]', "rule0.toml:6: codec[0].columns: belongs to csv, not to json"),
        ('format = "csv"\nto = "o"\nseparator = ";;"', "codec[0].separator: must be one character"),
        ('format = "csv"\nto = "o"\nheader = true', "codec[0].header: without columns"),
        ('format = "binary"\nto = "o"', "codec[0].field: binary needs fields"),
        ('format = "binary"\nto = "o"\nfield = [{ type = "int8" }]', "codec[0].field[0].name: every field but skip"),
        (
            'format = "binary"\nto = "o"\nfield = [{ name = "a", type = "uint8", bits = { b = 8 } }]',
            "codec[0].field[0].bits.b: must be a bit from 0 to 7",
        ),
        (
            'format = "binary"\nto = "o"\nfield = [{ name = "a", type = "float32", bits = { b = 1 } }]',
            "codec[0].field[0].bits: only one whole number",
        ),
        (
            'format = "binary"\nto = "o"\nfield = [{ name = "a", type = "int8" }, { name = "a", type = "int8" }]',
            'codec[0].field: has the name "a" twice',
        ),
        ('format = "json"\nto = "in"', '"codec:c" publishes in and runs "codec:c"'),
        ('format = "json"\nto = "o"\ndead = "in"', '"codec:c" publishes o, in and runs "codec:c"'),
    ],
)
def test_mistake_with_its_line(rules: Any, keys: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f'[[codec]]\nname = "c"\ntopic = "in"\n{keys}\n')
    assert problem in str(caught.value)


# -- the decoders by themselves


def values_of(decoder: Any, payload: bytes, topic: str = "t") -> list[Any]:
    return [record.problem or record.value for record in decoder(Message(topic, payload))]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def _finite(value: Any) -> Any:
    """What JSON can say of it."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value


@given(_JSON)
def test_cbor_of_another_library_is_read(value: Any) -> None:
    assert values_of(cbor_decoder, cbor2.dumps({"x": value})) == [{"x": _finite(value)}]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("01", 1),
        ("f97e00", None),
        ("f93c00", 1.0),
        ("5f42010243030405ff", "0102030405"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
        ("c249 00ffffffffffffffff", 2**64 - 1),
        ("c4822119 6ab3", 273.15),
        ("c11a514b67b0", 1363896240),
        ("a10102", {"1": 2}),
        ("f7", None),
    ],
)
def test_cbor_examples_of_the_standard(data: str, value: Any) -> None:
    """Mostly of RFC 8949, appendix A."""
    (found,) = values_of(cbor_decoder, bytes.fromhex(data))
    assert found == (pytest.approx(value) if isinstance(value, float) else value)


def test_cbor_sequence_and_array_are_records() -> None:
    assert values_of(cbor_decoder, bytes.fromhex("01 820203")) == [1, 2, 3]


@given(st.binary(max_size=300))
def test_any_bytes_are_records_for_every_decoder(data: bytes) -> None:
    values = Values(",", ("a",), ("b",))
    decoders: list[Any] = [
        json_decoder,
        json_lines_decoder,
        csv_decoder((), False, ";", "utf-8", values),
        csv_decoder(("a", "b"), True, ",", "latin-1", values),
        key_value_decoder("", "=", "utf-8", values),
        binary_decoder([Part("a", "float32", "big"), Part("t", "text", "big", 3)], True),
        cbor_decoder,
        SparkplugDecoder(),
    ]
    for decoder in decoders:
        for topic in ("t", "spBv1.0/g/NBIRTH/n", "spBv1.0/g/DDATA/n/d"):
            for record in decoder(Message(topic, data)):
                json.dumps(record.value)


@pytest.mark.parametrize(
    "data",
    [
        "9b7fffffffffffffff",
        "5b7fffffffffffffff00",
        "81" * 5000,
        "9f" * 5000,
        "bb00000000ffffffff00",
        "ff",
        "1c",
        "c1ff",
        "a1ff",
    ],
)
def test_hostile_cbor(data: str) -> None:
    (problem,) = values_of(cbor_decoder, bytes.fromhex(data))
    assert problem.startswith("is not CBOR")


def test_cbor_that_is_too_long_for_the_loop() -> None:
    assert values_of(cbor_decoder, b"\x01" * 65_537) == ["has 65537 bytes; CBOR is read up to 65536"]


def test_no_more_records_than_a_message_may_have() -> None:
    found = values_of(bounded(json_lines_decoder), b"1\n" * (MAX_RECORDS + 500))
    assert len(found) == MAX_RECORDS + 1
    assert found[-1] == f"the message has more than {MAX_RECORDS} records"


@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=1
    )
)
def test_binary_reads_what_struct_writes(rows: list[tuple[int, float]]) -> None:
    decoder = binary_decoder([Part("a", "uint32", "little"), Part("b", "float32", "big")], True)
    data = b"".join(struct.pack("<I", a) + struct.pack(">f", b) for a, b in rows)
    assert values_of(decoder, data) == [{"a": a, "b": b} for a, b in rows]


def test_sparkplug_aliases_are_known_from_the_birth() -> None:
    decoder = SparkplugDecoder()
    birth = encode([(Metric("temp", -5, DataType.INT8, 7, 1000), DataType.INT8)], 1000, 0)
    data = encode(
        [(Metric(None, 300, None, 7, 2000), DataType.INT16), (Metric(None, 1, None, 9), DataType.INT8)], 3000, 1
    )
    assert values_of(decoder, data, "spBv1.0/g/DDATA/n/d")[0] == "no birth has said what alias 7 is"
    assert values_of(decoder, birth, "spBv1.0/g/NBIRTH/n") == [
        {"name": "temp", "v": -5, "t": "1970-01-01T00:00:01.000Z", "group": "g", "node": "n"}
    ]
    low = encode([(Metric(None, -3, None, 7, 2000, True), DataType.INT8)], 3000, 1)
    assert values_of(decoder, low, "spBv1.0/g/DDATA/n/d") == [
        {
            "name": "temp",
            "v": -3,
            "t": "1970-01-01T00:00:02.000Z",
            "historical": True,
            "group": "g",
            "node": "n",
            "device": "d",
        }
    ]
    assert "no birth" in values_of(decoder, data, "spBv1.0/g/DDATA/n/d")[1]
    assert "no birth" in values_of(decoder, low, "spBv1.0/g/DDATA/other/d")[0]
    assert "none of Sparkplug" in values_of(decoder, low, "plant/a")[0]
