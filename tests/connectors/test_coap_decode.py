"""What CoAP resources answer -> readings, and the way back; SenML and TLV by the examples of their standards."""

from __future__ import annotations

import json
import math
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.coap import senml, tlv
from gateway.connectors.coap.config import CONTENTS, CoapPoint
from gateway.connectors.coap.decode import agree, at_pointer, encoded, readings
from gateway.errors import Rejected

NOW = 1_800_000_000.0


def point(name: str = "p", **more: Any) -> CoapPoint:
    return CoapPoint(name=name, path=more.pop("path", "/x"), **more)


def one(payload: bytes, number: int | None, **more: Any) -> Any:
    (found,) = readings([point(**more)], payload, number, NOW)
    return found.problem or found.value


@pytest.mark.parametrize(
    ("payload", "number", "more", "wanted"),
    [
        (b"21.5", 0, {}, 21.5),
        (b" 21 \n", None, {}, 21),
        (b"true", 0, {}, True),
        (b"open", 0, {}, "open"),
        (b"007", 0, {}, "007"),
        (b"NaN", 0, {}, "NaN"),
        (b"21.5", 0, {"type": "text"}, "21.5"),
        (b"1", 0, {"type": "bool"}, True),
        (b"21", 0, {"type": "float"}, 21.0),
        (b"open", 0, {"type": "number"}, "'open' is no number"),
        (b"2", 0, {"type": "bool"}, "2 is neither true nor false"),
        (b'{"air":{"t":[1,2.5]}}', 50, {"field": "/air/t/1"}, 2.5),
        (b'{"a/b":{"~":3}}', 50, {"field": "/a~1b/~0"}, 3),
        (b'{"a":1}', 50, {"field": "/b"}, "there is nothing at /b"),
        (b'{"a":"21.5"}', 50, {"field": "/a", "type": "number"}, 21.5),
        (b'{"a":"21.5"}', 50, {"field": "/a"}, "21.5"),
        (b'{"a":null}', 50, {"field": "/a"}, "it has no value"),
        (b'{"a":1}', 50, {}, {"a": 1}),
        (cbor2.dumps({"t": 21.5}), 60, {"field": "/t"}, 21.5),
        (cbor2.dumps({"t": b"\x01\xff"}), 60, {"field": "/t"}, "01ff"),
        (b"\xff\xff", 60, {}, "it is no CBOR"),
        (b"\x01\xff", 42, {}, "01ff"),
        (b'{"t":1}', None, {"content": "json", "field": "/t"}, 1),
    ],
)
def test_each_format_is_read(payload: bytes, number: int | None, more: dict[str, Any], wanted: Any) -> None:
    found = one(payload, number, **more)
    assert found == wanted and type(found) is type(wanted)


def test_nonsense_is_a_problem_of_every_point_of_the_answer() -> None:
    for payload, number in ((b"{", 50), (b"\xff", 0), (b"[" * 100_000, 50), (b"[1]", 110), (b"\xc3\x01", 11542)):
        found = readings([point("a"), point("b")], payload, number, NOW)
        assert [reading.point for reading in found] == ["a", "b"]
        assert all(reading.problem for reading in found), payload


def records(text: str) -> list[senml.Record]:
    return senml.resolve(json.loads(text), NOW)


def test_senml_resolves_the_examples_of_rfc_8428() -> None:
    """Sections 5.1.1 to 5.1.4."""
    (single,) = records('[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]')
    assert single == senml.Record("urn:dev:ow:10e2073a01080063", 23.1, "Cel", NOW)
    found = records(
        '[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]'
    )
    assert [(record.name[-8:], record.unit, record.value) for record in found] == [
        (":voltage"[-8:], "V", 120.1),
        ("current"[-8:].rjust(8, ":"), "A", 1.2),
    ]
    found = records(
        '[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":10,"n":"voltage","u":"V","v":120.1},'
        '{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","v":1.7}]'
    )
    assert [record.unit for record in found] == ["V", "A", "A", "A"]
    assert [round(record.time - 1.276020076001e9) for record in found] == [0, -5, -4, 0]
    found = records(
        '[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},{"u":"lon","v":24.30621}]'
    )
    assert [(record.unit, record.value) for record in found] == [("%RH", 20), ("lon", 24.30621)]


def test_senml_base_values_sums_and_relative_times() -> None:
    found = records('[{"bn":"a/","bv":100,"bs":5,"bt":-10,"n":"x","v":1.5,"s":2},{"n":"y","t":4}]')
    assert [(record.name, record.value, record.sum, record.time - NOW) for record in found] == [
        ("a/x", 101.5, 7.0, -10.0),
        ("a/y", 100, 5.0, -6.0),
    ]
    (data,) = records('[{"n":"d","vd":"aGkgCg"}]')
    assert data.value == b"hi \n".hex()
    assert [record.value for record in records('[{"bn":"a"},{"vb":true},{"vs":"on"}]')] == [True, "on"]


@pytest.mark.parametrize(
    "text",
    ["{}", "[1]", '[{"n":1,"v":1}]', '[{"n":"a","v":"1"}]', '[{"n":"a","v":true}]', '[{"bver":11,"n":"a","v":1}]',
     '[{"n":"a","v":1,"must_":1}]', '[{"n":"a","vb":1}]', '[{"n":"a","bt":null,"v":1}]'],
)  # fmt: skip
def test_what_is_no_senml_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        records(text)


def test_senml_cbor_has_the_same_records() -> None:
    """RFC 8428 section 6, table 4."""
    pack = [
        {-2: "urn:dev:1:", -3: 1.276020076e9, -4: "A", -1: 10, 0: "voltage", 1: "V", 2: 120.1},
        {0: "current", 6: -5, 2: 1.2},
    ]
    found = readings(
        [point("v", field="urn:dev:1:voltage"), point("c", field="urn:dev:1:current")], cbor2.dumps(pack), 112, NOW
    )
    assert [(reading.point, reading.value, round(reading.time - 1.276020076e9)) for reading in found] == [
        ("v", 120.1, 0),
        ("c", 1.2, -5),
    ]


def test_what_a_node_gathered_comes_in_the_order_of_time_and_not_from_the_future() -> None:
    pack = json.dumps([{"bn": "t", "t": -10, "v": 2}, {"t": -20, "v": 1}, {"v": 3}, {"t": 1e6, "v": 4}]).encode()
    found = readings([point(content="senml-json")], pack, 110, NOW)
    assert [(reading.value, reading.time - NOW) for reading in found] == [(1, -20), (2, -10), (3, 0), (4, 0)]


def test_senml_with_several_names_needs_one() -> None:
    pack = b'[{"n":"a","v":1},{"n":"b","v":2}]'
    assert one(pack, 110) == "field must be one of a, b"
    assert one(pack, 110, field="c") == "no SenML record is called c"
    assert one(pack, 110, field="b") == 2


def test_tlv_decodes_the_example_of_the_standard() -> None:
    """OMA LwM2M Core 1.1.1 section 7.4.3.1: the device object, shortened."""
    data = bytes.fromhex(
        "c800144f70656e204d6f62696c6520416c6c69616e6365c801164c69676874776569676874204d324d20436c69656e74"
        "c80209333435303030313233c303312e30860641000141010588070842000ed842011388c10964c10d00"
    )
    found = tlv.decode(data)
    assert found["0"] == b"Open Mobile Alliance"
    assert found["3"] == b"1.0"
    assert (found["6/0"], found["6/1"]) == (b"\x01", b"\x05")
    assert tlv.value_of(found["7/0"], "int") == 3800 and tlv.value_of(found["7/1"], "int") == 5000
    assert tlv.value_of(found["9"], "int") == 100
    assert one(data, 11542, field="7/1", type="int", content="tlv") == 5000
    assert one(data, 11542, field="0", type="text", content="tlv") == "Open Mobile Alliance"
    assert str(one(data, 11542, field="99", type="int", content="tlv")).startswith("there is no 99")


@given(
    st.one_of(
        st.tuples(st.just("int"), st.integers(-(2**63), 2**63 - 1)),
        st.tuples(st.just("float"), st.floats(allow_nan=False, allow_infinity=False)),
        st.tuples(st.just("bool"), st.booleans()),
        st.tuples(st.just("text"), st.text(max_size=400)),
    ),
    st.integers(0, 65_535),
)
def test_tlv_round_trip(typed: Any, identifier: int) -> None:
    kind, value = typed
    ((name, content),) = tlv.decode(tlv.encode(identifier, value, kind)).items()
    assert name == str(identifier)
    assert tlv.value_of(content, kind) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_tlv_or_refused(data: bytes) -> None:
    try:
        tlv.decode(data)
    except ValueError:
        pass


@given(
    st.one_of(
        st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text("abc°")
    ),
    st.sampled_from(["json", "cbor", "senml-json", "senml-cbor"]),
)
def test_what_is_written_is_what_is_read(value: Any, content: str) -> None:
    settings = point(content=content, field="/a/b" if "senml" not in content else "a")
    payload, number = encoded(settings, value, None)
    assert number == CONTENTS[content]
    (found,) = readings([settings], payload, number, NOW)
    assert found.value == value and agree(value, found.value)


def test_text_is_written_as_it_is_read() -> None:
    for value, payload in ((21.5, b"21.5"), (True, b"true"), ("open", b"open")):
        assert encoded(point(), value, None) == (payload, 0)
        assert one(payload, 0) == value
    assert encoded(point(), 1, 50) == (b"1", 50), "as the resource answers"
    assert encoded(point(content="octets"), "01ff", None) == (b"\x01\xff", 42)
    assert encoded(point(content="tlv", type="int", path="/3/0/13"), 5, None) == (bytes.fromhex("c10d05"), 11542)


@pytest.mark.parametrize(
    ("more", "value"),
    [({}, None), ({}, math.nan), ({"type": "int"}, 1.5), ({"type": "number"}, True), ({"type": "bool"}, 1),
     ({"type": "text"}, 1), ({"content": "octets"}, "xyz"), ({"content": "senml-json"}, [1])],
)  # fmt: skip
def test_what_cannot_be_written_is_rejected(more: dict[str, Any], value: Any) -> None:
    with pytest.raises(Rejected):
        encoded(point(**more), value, None)


def test_floats_of_32_bits_agree() -> None:
    assert agree(21.7, 21.700000762939453) and agree(1, 1.0) and agree(True, 1)
    assert not agree(21.7, 21.71) and not agree(True, 0) and not agree("a", "b") and not agree(True, 2)


def test_a_pointer_may_be_empty_parts() -> None:
    assert at_pointer({"": {"a": 1}}, "//a") == 1
