"""What is different between two settings."""

from __future__ import annotations

from pathlib import Path

from gateway import kinds
from gateway.config.diff import Change, Difference, difference
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings

BASE = """
[listener.a]
kind = "mqtt"
bind = "127.0.0.1:1883"
[device.d]
kind = "modbus"
url = "tcp://10.0.0.5"
point = [{ name = "x", address = 0 }]
[uplink.u]
kind = "mqtt"
url = "mqtt://10.0.0.9"
forward = [{ filter = "plant/#" }]
[queue.q]
topics = ["q/#"]
"""


def loaded(tmp_path: Path, text: str) -> Loaded[Settings]:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return read(path, Settings, kinds)


def between(tmp_path: Path, before: str, after: str) -> Difference:
    old, new = loaded(tmp_path, before), loaded(tmp_path, after)
    return difference(old.value, new.value, old.kinds, new.kinds)


def test_nothing(tmp_path: Path) -> None:
    assert between(tmp_path, BASE, BASE) == Difference(Change(), Change(), Change(), ())
    assert not Change()


def test_entries_by_name(tmp_path: Path) -> None:
    after = BASE.replace("address = 0", "address = 1").replace("listener.a", "listener.b")
    found = between(tmp_path, BASE, after)
    assert found.device == Change(changed=("d",))
    assert found.listener == Change(removed=("a",), added=("b",))
    assert not found.uplink
    assert found.restart == ()


def test_another_kind_is_a_change(tmp_path: Path) -> None:
    assert between(
        tmp_path, BASE, BASE.replace('kind = "mqtt"\nbind', 'kind = "websocket"\nbind')
    ).listener.changed == ("a",)


def test_the_rest_needs_a_new_start_and_is_named_by_its_keys(tmp_path: Path) -> None:
    after = BASE.replace('["q/#"]', '["r/#"]') + '[store]\nmax_bytes = "1GiB"\n[queue.r]\ntopics = ["s/#"]\n'
    assert between(tmp_path, BASE, after).restart == ("queue.q.topics", "queue.r", "store.max_bytes")


def test_what_is_taken_anew_as_a_whole_needs_nothing(tmp_path: Path) -> None:
    after = BASE + '[access]\nanonymous = true\n[rules]\npath = "."\n'
    assert between(tmp_path, BASE, after) == Difference(Change(), Change(), Change(), ())
