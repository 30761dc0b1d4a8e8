"""Topics and properties, up and down."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.packets import PUBLISH
from gateway.mqtt.properties import pack_properties
from gateway.uplinks.mqtt.config import Forward
from gateway.uplinks.mqtt.mapping import Received, Topics, incoming_message, is_loop, outgoing_properties, with_expiry
from uplinks.bench import row, user

LEVEL = st.text("abc", min_size=1, max_size=2)
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join)
PROPS = st.lists(
    st.one_of(
        st.tuples(st.just(0x26), st.tuples(st.text("kv", max_size=3), st.text("kv", max_size=3))),
        st.tuples(st.just(0x0B), st.integers(1, 9)),
        st.tuples(st.just(0x23), st.integers(1, 9)),
    ),
    max_size=6,
).map(tuple)


def test_first_entry_decides() -> None:
    topics = Topics([Forward(filter="plant/+/alarm", to="alarm/+"), Forward(filter="plant/#")])
    assert topics("plant/boiler/alarm") == "alarm/boiler"
    assert topics("plant/boiler/t") == "plant/boiler/t"
    assert topics("other") is None


@given(TOPIC, TOPIC)
def test_prefix_rewrite_keeps_the_rest(prefix: str, topic: str) -> None:
    assert Topics([Forward(filter="#", to=f"{prefix}/#")])(topic) == f"{prefix}/{topic}"


@given(PROPS, st.none() | st.floats(1, 1e12))
def test_outgoing_properties_can_be_written_and_end_with_identity(props: Any, expires: float | None) -> None:
    sent = outgoing_properties(row(9, props=props), "gw1")
    if expires is not None:
        sent = with_expiry(sent, expires)
    pack_properties(sent, PUBLISH)
    assert user(sent)[-2:] == [("message-id", "7:9"), ("via", "gw1")]
    assert user(sent)[:-2] == user(props)
    assert not {0x0B, 0x23} & {identifier for identifier, _ in sent}, "they belong to one hop"


def test_expiry_is_what_is_left_rounded_up() -> None:
    assert with_expiry((), 10.5) == ((2, 11),)
    assert with_expiry(((3, "x/y"),), 0.001) == ((2, 1), (3, "x/y"))
    assert with_expiry((), 1e12) == ((2, 0xFFFFFFFF),)


def test_incoming_message_keeps_what_belongs_to_it() -> None:
    props = ((2, 30), (3, "text/plain"), (0x0B, 4), (0x26, ("a", "1")), (0x26, ("a", "1")))
    received = Received("site/cmd/x", b"1", 2, True, props)
    message = incoming_message(received, "cmd/x", "uplink:cloud", 1_000.0, 50.0)
    assert (message.topic, message.payload, message.qos, message.retain) == ("cmd/x", b"1", 2, True)
    assert (message.source, message.time, message.expires) == ("uplink:cloud", 1_000.0, 80.0)
    assert message.props == ((3, "text/plain"), (0x26, ("a", "1")), (0x26, ("a", "1")))


def test_loop_is_our_own_name_in_any_via() -> None:
    assert is_loop(((0x26, ("via", "gw1")), (0x26, ("via", "gw2"))), "gw1")
    assert not is_loop(((0x26, ("via", "gw10")), (0x26, ("name", "gw1")), (3, "gw1")), "gw1")
    assert is_loop(outgoing_properties(row(1), "gw1"), "gw1")
