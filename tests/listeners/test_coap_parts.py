"""The pure parts of the CoAP listener, each alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.listeners.coap.blocks import LIFETIME, Snapshots, Uploads, cut
from gateway.listeners.coap.exchange import CONTENT, CONTINUE, Answer, Block, Response, code_text
from gateway.listeners.coap.formats import CBOR, JSON, OCTETS, TEXT, etag_of, format_of
from gateway.listeners.coap.observing import Observation, Places, Sequence
from gateway.listeners.coap.paths import path_of, topic_of, wishes_of
from gateway.message import Message


def code_of(act: object, *arguments: object) -> str:
    with pytest.raises(Answer) as caught:
        act(*arguments)  # type: ignore[operator]
    return code_text(caught.value.response.code)


def uploads(**bounds: int) -> tuple[Uploads, list[int]]:
    dropped: list[int] = []
    terms = {"max_size": 1000, "max_count": 3, "max_bytes": 2000, **bounds}
    return Uploads(**terms, on_drop=lambda: dropped.append(1)), dropped


def send(store: Uploads, content: bytes, exponent: int, key: object = "k", now: float = 0.0) -> bytes:
    """All blocks of an upload, in order."""
    size = 1 << (exponent + 4)
    pieces = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
    for number, piece in enumerate(pieces[:-1]):
        with pytest.raises(Answer) as caught:
            store.take(key, Block(number, True, exponent), piece, None, now)
        assert caught.value.response.code == CONTINUE
        assert caught.value.response.block1 == Block(number, True, exponent)
    return store.take(key, Block(len(pieces) - 1, False, exponent), pieces[-1], None, now)


@given(st.binary(max_size=5000), st.integers(0, 6))
def test_what_is_cut_is_put_together_again(content: bytes, exponent: int) -> None:
    store, dropped = uploads(max_size=5000, max_bytes=5000)
    assert send(store, content, exponent) == content
    assert (len(store), store.bytes, dropped) == (0, 0, [])
    whole, number, got = Response(code=CONTENT, payload=content), 0, b""
    while True:
        first = cut(Response(code=whole.code, payload=whole.payload), Block(number, False, exponent))
        got += first.payload
        if first.block2 is None or not first.block2.more:
            break
        assert len(first.payload) == first.block2.size
        number += 1
    assert got == content


def test_blocks_that_do_not_fit_are_refused() -> None:
    store, _ = uploads()
    assert code_of(store.take, "k", Block(1, True, 0), b"x" * 16, None, 0.0) == "4.08"
    assert code_of(store.take, "k", Block(0, True, 0), b"x" * 15, None, 0.0) == "4.00"
    assert code_of(store.take, "k", Block(0, False, 0), b"x" * 17, None, 0.0) == "4.00"
    assert code_of(store.take, "k", Block(0, True, 7), b"x" * 2048, None, 0.0) == "4.00"
    assert code_of(store.take, "k", Block(0, True, 0), b"x" * 16, None, 0.0) == "2.31"
    assert code_of(store.take, "k", Block(2, True, 0), b"x" * 16, None, 0.0) == "4.08"
    assert code_of(store.take, "k", Block(1, True, 0), b"x" * 16, None, 0.0) == "4.08", "its beginning is forgotten"
    assert code_of(store.take, "k", Block(0, True, 0), b"x" * 16, None, 0.0) == "2.31"
    assert code_of(store.take, "k", Block(1, True, 0), b"x" * 16, 50, 0.0) == "4.08", "another format"
    assert store.bytes == 0


def test_uploads_are_bounded_in_size_count_bytes_and_time() -> None:
    store, dropped = uploads(max_size=32)
    assert code_of(store.take, "k", Block(0, True, 0), b"x" * 16, None, 0.0) == "2.31"
    assert code_of(store.take, "k", Block(1, True, 0), b"x" * 16, None, 0.0) == "4.13"
    assert send(store, b"x" * 32, 0) == b"x" * 32
    store, dropped = uploads(max_count=2)
    for key in "abc":
        assert code_of(store.take, key, Block(0, True, 0), b"x" * 16, None, 0.0) == "2.31"
    assert (len(store), len(dropped)) == (2, 1)
    assert code_of(store.take, "a", Block(1, True, 0), b"x" * 16, None, 0.0) == "4.08"
    assert code_of(store.take, "b", Block(1, True, 0), b"x" * 16, None, LIFETIME + 1) == "4.08"
    assert (len(store), store.bytes) == (0, 0)
    store, dropped = uploads(max_bytes=40)
    for key in "abc":
        assert code_of(store.take, key, Block(0, True, 0), b"x" * 16, None, 0.0) == "2.31"
    assert (store.bytes, len(dropped)) == (32, 1)


def test_a_block_behind_the_end_is_4_02() -> None:
    assert code_of(cut, Response(code=CONTENT, payload=b"x" * 20), Block(2, False, 0)) == "4.02"
    assert code_of(cut, Response(code=CONTENT, payload=b""), Block(1, False, 0)) == "4.02"


def test_snapshots_are_bounded_and_expire() -> None:
    store = Snapshots(max_count=2, max_bytes=100)
    for key in "abc":
        store.keep(key, Response(code=CONTENT, payload=b"x" * 30), 0.0)
    assert (len(store), store.bytes) == (2, 60)
    assert store.find("a", 1.0) is None
    found = store.find("b", 1.0)
    assert found is not None and found.payload == b"x" * 30
    assert store.find("b", LIFETIME + 1) is None
    store.keep("d", Response(code=CONTENT, payload=b"x" * 101), 0.0)
    assert store.find("d", 0.0) is None
    store.keep("c", Response(code=CONTENT, payload=b"x" * 90), 0.0)
    store.keep("e", Response(code=CONTENT, payload=b"x" * 90), 0.0)
    assert (len(store), store.bytes) == (1, 90)


levels = st.text(st.characters(blacklist_characters="/+#\0", blacklist_categories=["Cs"]), max_size=8)


@given(
    st.lists(levels, min_size=1, max_size=5).filter(lambda found: found != [""]), st.sampled_from(["", "/ps", "/a/b"])
)
def test_a_topic_has_one_path(found: list[str], prefix: str) -> None:
    topic = "/".join(found)
    path = tuple(path_of(topic, prefix)[1:].split("/"))
    assert topic_of(path, prefix) == topic


def test_what_a_query_may_say() -> None:
    wishes = wishes_of(("qos=1", "retain=0", "expires=60", "client=c", "user=u", "token=a=b"), None)
    assert (wishes.qos, wishes.retain, wishes.expires) == (1, False, 60)
    assert (wishes.client, wishes.user, wishes.token) == ("c", "u", "a=b")
    assert wishes_of((), b"u:t:x").user == "u" and wishes_of((), b"u:t:x").token == "t:x"
    assert wishes_of(("user=u",), b"t").user == "u" and wishes_of(("user=u",), b"t").token == "t"
    for bad in (
        "qos=2",
        "qos=",
        "retain=yes",
        "expires=-1",
        "expires=99999999999",
        "client=" + "x" * 65,
        "x",
        "client=\n",
    ):
        assert code_of(wishes_of, (bad,), None) == "4.00"
    assert code_of(wishes_of, (), b"\xff") == "4.00"


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [(b"21.5", TEXT), (b'{"a":1}', JSON), (b"[1]", JSON), (b"\xff", OCTETS), (b"null", TEXT), (b"", TEXT)],
)
def test_what_a_payload_looks_like(payload: bytes, wanted: int) -> None:
    assert format_of(Message("t", payload)) == wanted
    assert format_of(Message("t", payload, props=((3, "Application/CBOR"),))) == CBOR


def test_an_etag_is_of_content_and_format() -> None:
    assert etag_of(b"x", TEXT) == etag_of(b"x", TEXT)
    assert len({etag_of(b"x", TEXT), etag_of(b"x", JSON), etag_of(b"y", TEXT)}) == 3
    assert len(etag_of(b"x", TEXT)) == 8


def test_an_observation_knows_what_is_due() -> None:
    dropped: list[int] = []
    one = Observation("t", 2, 3, 60.0, lambda: dropped.append(1), 0.0)
    woken: list[int] = []
    one.wake = lambda: woken.append(1)
    for number in range(3):
        one.deliver(Message("t", str(number).encode(), expires=5.0 if number == 1 else None), None)
    assert (len(woken), len(dropped)) == (3, 1)
    found = one.next(10.0)
    assert found is not None and found.payload == b"2", "0 had no room, 1 has expired"
    assert one.next(10.0) is None
    assert [one.begins(1.0) for _ in range(3)] == [False, False, True]
    one.confirmed(1.0)
    assert not one.begins(60.0)
    assert one.begins(61.0) and one.is_due(61.0) and one.due() == 61.0


def test_numbers_grow_and_wrap() -> None:
    sequence = Sequence((1 << 24) - 2)
    assert [sequence.next() for _ in range(3)] == [(1 << 24) - 1, 0, 1]


def test_places_are_counted_for_all_and_for_each() -> None:
    places = Places(3, 2)
    assert [places.take("a"), places.take("a"), places.take("a"), places.take("b"), places.take("c")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    places.give("a")
    assert places.take("c") and places.count == 3
