"""Datagrams, tags, values and services of BACnet: known bytes, round trips, bytes that mean nothing."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.bacnet import answers, services, wire
from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.tags import Reader, application, parse
from gateway.connectors.bacnet.values import Atom, Flags, decode, decode_flags, encode
from gateway.connectors.bacnet.wire import Message, Remote
from gateway.errors import Malformed, Rejected

AV1 = Object(2, 1)
VALUE = Reference(AV1, 85)
NEAR = Remote("10.0.0.7", 47808)


def atom(body: str) -> tuple[Atom, ...]:
    return tuple(Atom(tag.number, tag.length, tag.data) for tag in parse(bytes.fromhex(body)))


def test_a_read_is_the_standard_s_own_example() -> None:
    """ASHRAE 135 annex F.3.5: analog-input 5, present value; and its answer, 72.3."""
    assert services.read(Reference(Object(0, 5), 85)).hex() == "0c000000051955"
    body = bytes.fromhex("0c0000000519553e444290999a3f")
    assert decode(services.parse_read(body, Reference(Object(0, 5), 85))) == 72.3


def test_a_batch_is_the_standard_s_own_example() -> None:
    """ASHRAE 135 annex F.3.7: present value and reliability of analog-input 16."""
    object = Object(0, 16)
    asked = (Reference(object, 85), Reference(object, 103))
    assert services.read_multiple(asked).hex() == "0c000000101e095509671f"
    body = bytes.fromhex("0c000000101e29554e444290999a4f29674e91004f1f")
    found = services.parse_read_multiple(body)
    assert {key: decode(value) for key, value in found.items() if isinstance(value, tuple)} == dict(
        zip(asked, (72.3, 0), strict=True)
    )


def test_a_write_is_the_standard_s_own_example() -> None:
    """ASHRAE 135 annex F.3.9: present value of analog-value 1 becomes 180, priority not given; and with priority."""
    assert services.write(VALUE, encode(180.0, "real"), None).hex() == "0c0080000119553e44433400003f"
    assert services.write(VALUE, encode(None, "real"), 8).hex() == "0c0080000119553e003f4908"


def test_a_subscription_is_the_standard_s_own_example() -> None:
    """ASHRAE 135 annex F.1.10: process 18, analog-input 10, confirmed, no end."""
    assert services.subscribe(18, Object(0, 10), 0, True).hex() == "09121c0000000a29013900"
    assert services.unsubscribe(18, Object(0, 10)).hex() == "09121c0000000a"


def test_datagrams() -> None:
    message = Message(wire.REQUEST, 7, 12, b"\x0c\x00\x80\x00\x01\x19\x55")
    assert wire.datagram(message, NEAR).hex() == "810a00110104" + "0005070c" + "0c008000011955"
    who = Message(wire.UNCONFIRMED, -1, 8)
    assert wire.datagram(who, NEAR, is_broadcast=True).hex() == "810b00080100" + "1008"
    behind = NEAR._replace(network=5, mac=b"\x0c")
    assert wire.datagram(who, behind).hex() == "810a000d0120" + "0005010cff" + "1008"


@given(st.sampled_from([0, 2, 3, 5]), st.integers(0, 255), st.integers(0, 40), st.binary(max_size=60))
def test_messages_round_trip(kind: int, number: int, service: int, body: bytes) -> None:
    message = Message(kind, number, service, body)
    assert wire.parse(wire.datagram(message, NEAR), *NEAR[:2]) == (NEAR, message)


def test_who_speaks_from_behind_a_router_is_known() -> None:
    content = bytes.fromhex("0108" + "0005010c" + "20070f")
    heard = wire.parse(b"\x81\x0a" + (len(content) + 4).to_bytes(2) + content, "10.0.0.7", 47808)
    assert heard == (NEAR._replace(network=5, mac=b"\x0c"), Message(wire.SIMPLE_ACK, 7, 15))


def test_what_was_forwarded_is_from_its_origin() -> None:
    content = bytes.fromhex("0a000009bac0" + "0100" + "1008")
    heard = wire.parse(b"\x81\x04" + (len(content) + 4).to_bytes(2) + content, "10.0.0.1", 47808)
    assert heard is not None and heard[0] == Remote("10.0.0.9", 47808)


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_a_message_or_malformed(received: bytes, is_framed: bool) -> None:
    if is_framed:
        received = b"\x81\x0a" + (len(received) + 4).to_bytes(2) + received
    try:
        wire.parse(received, "10.0.0.7", 47808)
    except Malformed:
        pass


@given(st.binary(max_size=40))
def test_any_body_is_an_answer_or_malformed(body: bytes) -> None:
    for read in (
        lambda: services.parse_read(body, VALUE),
        lambda: services.parse_read_multiple(body),
        lambda: services.parse_change(body),
        lambda: services.parse_i_am(body),
        lambda: services.parse_error(body),
        lambda: answers.read(body),
        lambda: answers.read_multiple(body),
        lambda: answers.write(body),
        lambda: answers.subscribe(body),
        lambda: answers.who_is(body),
    ):
        try:
            read()
        except Malformed:
            pass


ATOMS = st.one_of(
    st.booleans().map(lambda value: encode(value, "boolean")),
    st.integers(0, 2**32 - 1).map(lambda value: encode(value, "unsigned")),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: encode(value, "integer")),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda value: encode(value, "real")),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: encode(value, "double")),
    st.text(max_size=300).map(lambda value: encode(value, "text")),
    st.just(encode(None, "real")),
)


@given(st.lists(ATOMS, max_size=4))
def test_tags_round_trip(atoms: list[Atom]) -> None:
    body = b"".join(map(application, atoms))
    assert [
        Atom(tag.number, tag.length if tag.number == 1 else len(tag.data), tag.data) for tag in parse(body)
    ] == atoms


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([85, 111, 300]), ATOMS), min_size=1, max_size=8))
def test_answers_to_batches_round_trip(given_values: list[tuple[int, int, Atom]]) -> None:
    """What our simulator builds by hand is what bacpypes3 reads, and what we read."""
    from bacpypes3 import apdu

    wanted = {Reference(Object(2, instance), number): (one,) for instance, number, one in given_values}
    body = answers.read_multiple_answer(list(wanted.items()))
    found = services.parse_read_multiple(body)
    assert {key: services_shape(value) for key, value in found.items()} == {
        key: services_shape(value) for key, value in wanted.items()
    }
    theirs = services.as_structure(body, apdu.ReadPropertyMultipleACK)
    assert sum(len(result.listOfResults) for result in theirs.listOfReadAccessResults) == len(wanted)


def services_shape(value: Any) -> Any:
    return [(one.tag, one.data, one.length if one.tag == 1 else 0) for one in value]


@given(st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_reals_round_trip(value: float) -> None:
    back = decode((encode(value, "real"),))
    assert struct.pack(">f", back) == struct.pack(">f", value)


@pytest.mark.parametrize(
    ("kind", "value", "body"),
    [
        ("unsigned", 72, "2148"),
        ("unsigned", 65_536, "23010000"),
        ("integer", 72, "3148"),
        ("integer", -1, "31ff"),
        ("integer", 128, "320080"),
        ("integer", -128, "3180"),
        ("real", 72.0, "4442900000"),
        ("double", 72.0, "55084052000000000000"),
        ("text", "ü", "7300c3bc"),
        ("enumerated", 0, "9100"),
        ("binary", True, "9101"),
        ("boolean", True, "11"),
        ("boolean", False, "10"),
        ("real", None, "00"),
    ],
)
def test_known_bytes(kind: str, value: Any, body: str) -> None:
    """Clause 20.2's examples."""
    assert application(encode(value, kind)).hex() == body
    if value is None:
        with pytest.raises(ValueError, match="null"):
            decode(atom(body))
    else:
        back = decode(atom(body), kind == "binary")
        assert (back, back.__class__) == (value, value.__class__)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("8205a0", [True, False, True]),
        ("a47e0b1a04", "2026-11-26"),
        ("a4ff0bffff", "*-11-*"),
        ("b4071e000c", "07:30:00.12"),
        ("c400800001", "analog-value,1"),
        ("631234ff", "1234ff"),
        ("7404004100", None),
        ("75050500e900fc"[:12], None),
        ("2101" + "2102", [1, 2]),
        ("9105", 5),
    ],
)
def test_what_is_only_read(body: str, value: Any) -> None:
    if value is None:
        with pytest.raises((ValueError, Malformed)):
            decode(atom(body))
    else:
        assert decode(atom(body), True) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, value) for kind in ("real", "double", "unsigned", "integer") for value in (True, "1", math.nan)),
        *((kind, value) for kind in ("unsigned", "enumerated") for value in (-1, 2**32, 0.5)),
        *(("integer", value) for value in (2**31, 0.5)),
        ("real", 1e39),
        *((kind, value) for kind in ("binary", "boolean") for value in (2, 1.0, "on")),
        *(("text", value) for value in (1, True)),
    ],
)
def test_what_cannot_be_written(kind: str, value: Any) -> None:
    with pytest.raises(Rejected):
        encode(value, kind)


def test_status_flags() -> None:
    assert decode_flags(atom("820460")) == Flags(False, True, True, False)
    with pytest.raises(ValueError, match="status flags"):
        decode_flags(atom("2101"))


def test_one_value_that_is_built_of_several_spoils_only_itself() -> None:
    body = bytes.fromhex("0c000000101e" + "2955" + "4e0e21010f4f" + "2967" + "4e91004f" + "1f")
    first, second = services.parse_read_multiple(body).values()
    assert isinstance(first, Malformed) and "several parts" in str(first)
    assert second == (Atom(9, 1, b"\0"),)


def test_an_answer_about_another_property_is_none() -> None:
    body = answers.read_answer(Reference(AV1, 111), [encode(1, "unsigned")])
    with pytest.raises(Malformed, match="an answer about analog-value,1 property 111"):
        services.parse_read(body, VALUE)


def test_refusals_have_the_standard_s_words() -> None:
    error = DeviceError("property", "unknown-property")
    assert str(services.parse_error(answers.error(error))) == str(error) == "property: unknown-property"
    assert str(services.rejected(9)) == "reject: unrecognized-service"
    assert str(services.aborted(4)) == "abort: segmentation-not-supported"


def test_a_reader_knows_the_order() -> None:
    with pytest.raises(Malformed, match="tag 3 was expected"):
        Reader(bytes.fromhex("0c00800001")).take(1, 3)
    with pytest.raises(Malformed, match="never closed"):
        Reader(bytes.fromhex("3e2101")).values(3)
