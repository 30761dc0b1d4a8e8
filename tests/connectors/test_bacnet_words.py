"""Words about BACnet messages for the trace: any message has some, those of the standard's examples the right ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.bacnet import answers, services, wire
from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.services import DeviceError, Reference
from gateway.connectors.bacnet.tags import application, context, parse
from gateway.connectors.bacnet.values import Atom, decode, encode
from gateway.connectors.bacnet.wire import Message
from gateway.connectors.bacnet.words import MOST, message_words
from gateway.errors import Malformed

INPUT = Object(0, 5)
PRESENT: int = 85
KINDS = (wire.REQUEST, wire.UNCONFIRMED, wire.SIMPLE_ACK, wire.COMPLEX_ACK, wire.ERROR, wire.REJECT, wire.ABORT)
REAL = (Atom(4, 4, bytes.fromhex("4290999a")),)  # 72.3, ASHRAE 135 annex F.3.5


def words(kind: int, service: int, body: bytes = b"", number: int = 1) -> str:
    return message_words(Message(kind, number, service, body))


def test_questions_of_the_standard() -> None:
    # Annex F.3.5 and F.3.7: Analog Input 5, Present_Value.
    assert words(wire.REQUEST, services.READ, bytes.fromhex("0c000000051955")) == (
        "read analog-input 5 present-value (invoke id 1)"
    )
    assert "read several, 19 bytes that name them, first analog-input 33" in words(
        wire.REQUEST, services.READ_MULTIPLE, bytes.fromhex("0c000000211e0955096f1f0c000000321e09551f")[:19]
    )
    # Annex F.3.9: Analog Value 1, Present_Value = 180.0.
    assert words(wire.REQUEST, services.WRITE, bytes.fromhex("0c0080000119553e44433400003f")) == (
        "write analog-value 1 present-value = 180.0 (invoke id 1)"
    )
    # Annex F.1.10: Analog Input 10.
    assert "subscribe to changes of analog-input 10" in words(
        wire.REQUEST, services.SUBSCRIBE, bytes.fromhex("09121c0000000a29013900")
    )
    assert words(wire.UNCONFIRMED, services.WHO_IS, number=-1) == "who is there"


def test_answers_of_the_standard() -> None:
    assert "read: analog-input 5 present-value = 72.3" in words(
        wire.COMPLEX_ACK, services.READ, bytes.fromhex("0c0000000519553e444290999a3f")
    )
    assert words(wire.SIMPLE_ACK, services.WRITE) == "write: done (invoke id 1)"
    # Annex F.1.3: Analog Input 10 of device 4, 65.0, flags all false.
    change = bytes.fromhex("09121c020000042c0000000a39004e09552e44428200002f096f2e8204002f4f")
    assert "analog-input 10 present-value = 65.0" in words(wire.UNCONFIRMED, services.UNCONFIRMED_COV, change)
    # Annex F.4.8: device 3, 1024 bytes, no segmentation, vendor 99.
    assert "I am device 3" in words(wire.UNCONFIRMED, services.I_AM, bytes.fromhex("c4020000032204009103 2163"))


def test_refusals_have_names() -> None:
    refused = answers.error(DeviceError("property", "unknown-property"))
    assert "refused to read: property: unknown-property" in words(wire.ERROR, services.READ, refused)
    assert "refused to write: error: without a reason" in words(wire.ERROR, services.WRITE, b"\x91")
    assert words(wire.REJECT, 9).startswith("rejected: reject: unrecognized-service")
    assert words(wire.ABORT, 4).startswith("aborted: abort: segmentation-not-supported")


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 4_194_302), st.integers(0, 500), st.booleans()),
        min_size=1, max_size=20, unique_by=lambda one: one[:3],
    )
)  # fmt: skip
def test_an_answer_about_many_names_the_first_and_counts_the_rest(given: list[tuple[int, int, int, bool]]) -> None:
    given = sorted(given)
    found = [
        (Reference(Object(a, b), c), REAL if is_good else DeviceError("property", "unknown-property"))
        for a, b, c, is_good in given
    ]
    body = answers.read_multiple_answer(found)
    back = services.parse_read_multiple(body)
    assert list(back) == [reference for reference, _ in found]
    text = words(wire.COMPLEX_ACK, services.READ_MULTIPLE, body)
    assert text.count("= ") == min(MOST, len(found))
    assert (f"... {len(found) - MOST} more" in text) == (len(found) > MOST)


@given(st.sampled_from(KINDS), st.integers(-1, 255), st.integers(0, 255), st.binary(max_size=60))
def test_any_message_has_words(kind: int, number: int, service: int, body: bytes) -> None:
    assert words(kind, service, body, number)


@given(st.data())
def test_a_message_that_was_cut_or_spoilt_has_words(data: st.DataObject) -> None:
    kind, service, body = data.draw(
        st.sampled_from(
            [
                (wire.REQUEST, services.READ, services.read(Reference(INPUT, PRESENT))),
                (wire.REQUEST, services.READ_MULTIPLE, services.read_multiple((Reference(INPUT, PRESENT, 3),))),
                (wire.REQUEST, services.WRITE, services.write(Reference(INPUT, PRESENT), REAL[0], 8)),
                (wire.REQUEST, services.SUBSCRIBE, services.subscribe(1, INPUT, 60, True)),
                (wire.COMPLEX_ACK, services.READ, answers.read_answer(Reference(INPUT, PRESENT), REAL)),
                (wire.ERROR, services.READ, answers.error(DeviceError("object", "unknown-object"))),
            ]
        )
    )
    at = data.draw(st.integers(0, len(body) - 1))
    spoilt = body[:at] + bytes((data.draw(st.integers(0, 255)),)) + body[at + 1 :]
    assert words(kind, service, body[:at]) and words(kind, service, spoilt)


@pytest.mark.parametrize("size", [0, 4, 5, 253, 254, 65_535, 65_536])
def test_lengths_of_tags_at_their_edges(size: int) -> None:
    """Clause 20.2.1.3.1: in the tag to 4, one byte to 253, two behind 254, four behind 255."""
    data = bytes(size)
    (tag,) = parse(context(3, data))
    assert (tag.number, tag.data) == (3, data)
    (plain,) = parse(application(Atom(6, size, data)))
    assert plain.data == data


@given(st.binary(max_size=30))
def test_any_application_tags_are_a_value_or_say_why(body: bytes) -> None:
    try:
        tags = parse(body)
    except Malformed:
        return
    try:
        decode(tuple(Atom(tag.number, tag.length, tag.data) for tag in tags))
    except ValueError as error:
        assert str(error)


@given(st.sampled_from(["unsigned", "integer", "enumerated"]), st.integers(-(2**31), 2**32 - 1))
def test_whole_numbers_round_trip(kind: str, value: int) -> None:
    try:
        atom = encode(value, kind)
    except Exception as error:
        assert type(error).__name__ == "Rejected" and (value < 0 or value >= 2**31)
        return
    assert decode((atom,)) == value
