"""Node ids and browse paths as text."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.opcua.address import Address, Step, index_of, names_used, parse_node, parse_path, parse_place


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ns=2;s=Temp", Address(2, "Temp")),
        ("s=a;b=c", Address(0, "a;b=c")),
        ("i=2258", Address(0, 2258)),
        ("nsu=http://x/y;s=Temp", Address("http://x/y", "Temp")),
        (
            "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a",
            Address(1, uuid.UUID("09087e75-8e5e-499b-954f-f2a9603db28a")),
        ),
        ("ns=1;b=M/RbKBsRVkePCePcx24oRA==", Address(1, bytes.fromhex("33f45b281b1156478f09e3dcc76e2844"))),
        (" ns=3;i=4294967295 ", Address(3, 4_294_967_295)),
    ],
)
def test_node_ids(text: str, address: Address) -> None:
    assert parse_node(text) == address == parse_place(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ns=70000;i=1", "between 0 and 65535"),
        ("i=4294967296", "between 0 and 4294967295"),
        ("i=abc", "a number"),
        ("g=12", "must be a GUID"),
        ("b=***", "must be base64"),
        ("ns=1;x=1", "must be a node id"),
        ("s=", "must be a node id"),
        ("s=" + "x" * 5000, "must be a node id"),
    ],
)
def test_what_is_no_node_id(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_node(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Objects/2:Boiler/2:Temp", (Step(0, "Objects"), Step(2, "Boiler"), Step(2, "Temp"))),
        ("/Root/Objects/plc:A", (Step(0, "Objects"), Step("plc", "A"))),
        ("Objects/2:a&/b/2:c:d&&", (Step(0, "Objects"), Step(2, "a/b"), Step(2, "c:d&"))),
    ],
)
def test_paths(text: str, steps: tuple[Step, ...]) -> None:
    assert parse_path(text) == steps == parse_place(text)


@pytest.mark.parametrize("text", ["", "/", "a//b", "a&", "2:", "Root", "/".join("x" * 33)])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="must be a node id"):
        parse_path(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=1, max_size=5))
def test_any_name_can_be_written(names: list[str]) -> None:
    text = "/".join("7:" + name.replace("&", "&&").replace("/", "&/") for name in names)
    if text == text.strip():
        assert parse_path(text) == tuple(Step(7, name) for name in names)


def test_namespaces_are_found_by_uri_and_by_name() -> None:
    known = ["http://opcfoundation.org/UA/", "urn:server", "urn:plant"]
    assert index_of("urn:plant", known, {}) == 2
    assert index_of("plc", known, {"plc": "urn:plant"}) == 2
    assert index_of(5, known, {}) == 5
    with pytest.raises(LookupError, match='no namespace "urn:x"; it has urn:server, urn:plant'):
        index_of("urn:x", known, {})
    assert names_used(parse_path("Objects/plc:A/2:B")) == {"plc"}
