"""Lines of a dump in the formats of mosquitto_sub, of our own command, and unpacked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.sub import _line
from gateway.message import USER_PROPERTY
from gateway.mqtt.packets import Publish
from gateway.verify.lines import Id, Line, id_of, read_line

LEDGER: dict[str, Any] = {
    "ledger": 1,
    "time": "2026-11-25T10:00:00Z",
    "ids": [{"boot": 1, "first": 1, "last": 2, "n": 2}],
    "total": {"produced": 2, "delivered": 2, "thinned": 0, "dropped": 0, "waiting": 0},
    "interval": {"produced": 2, "delivered": 2, "thinned": 0, "dropped": 0},
}

MOSQUITTO = {
    "tst": "2026-11-25T10:00:00.000000Z+0000",
    "topic": "site-7/plant/t",
    "qos": 1,
    "retain": 0,
    "payloadlen": 2,
    "mid": 1,
    "properties": {"user-properties": {"message-id": "3:100", "via": "site-7"}},
    "payload": "71",
}


def test_a_line_of_mosquitto_sub() -> None:
    assert read_line(json.dumps(MOSQUITTO)) == Line(Id(3, 100), False, None)


def test_a_line_of_gateway_sub() -> None:
    user = tuple((USER_PROPERTY, pair) for pair in (("message-id", "forged"), ("resend", "x"), ("message-id", "3:7")))
    text = _line(Publish("t", b"71", 1, False, False, 1, user), as_json=True)
    assert read_line(text) == Line(Id(3, 7), True, None)


def test_a_line_that_was_unpacked() -> None:
    assert read_line('{"topic":"b/t","time":"2026-11-21T05:29:06.123Z","id":"7:41","payload":{"v":1}}') == Line(
        Id(7, 41), False, None
    )


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**MOSQUITTO, "payload": json.dumps(LEDGER)}),
        json.dumps({"topic": "x", "value": LEDGER, "user": [["message-id", "3:100"]]}),
        json.dumps({"topic": "x", "id": "3:100", "payload": LEDGER}),
    ],
)
def test_a_ledger_in_each_format(text: str) -> None:
    assert read_line(text) == Line(Id(3, 100), False, LEDGER)


@pytest.mark.parametrize("key", ["total", "interval", "ids", "time"])
def test_a_ledger_with_something_missing_is_a_message(key: str) -> None:
    cut = {name: value for name, value in LEDGER.items() if name != key}
    assert read_line(json.dumps({"topic": "x", "value": cut})) == Line(None, False, None)


@pytest.mark.parametrize("text", ['{"topic": "a", "va', "", "[]", '{"no": 1}', "1", '{"topic": 3}', "[" * 100_000])
def test_what_is_no_message(text: str) -> None:
    assert read_line(text) is None


@pytest.mark.parametrize("text", ["3", "3:", ":3", "a:b", "3:4:5", "-3:4", "3:4 ", "²:1", "1:" + "9" * 50, 3, None])
def test_what_is_no_message_id(text: Any) -> None:
    assert id_of(text) is None


@given(st.text())
def test_any_line_is_read_or_is_none(text: str) -> None:
    read_line(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["properties", "user-properties", "user", "payload", "value", "ledger", "ids", "total", "interval"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read(content: Any) -> None:
    line = {**content, "topic": "t"} if isinstance(content, dict) else content
    found = read_line(json.dumps(line))
    assert (found is not None) == isinstance(content, dict)
