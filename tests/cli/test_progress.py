"""The line that says how far long work is."""

from __future__ import annotations

import io

import pytest

from gateway.cli.progress import Progress
from gateway.cli.queue_words import shown


def test_it_writes_over_itself_and_leaves_nothing() -> None:
    out = io.StringIO()
    progress = Progress("purged", out, True)
    progress.show(2000, 5000)
    progress.show(5003, 5000)
    progress.end()
    steps = [step.rstrip() for step in out.getvalue().split("\r")]
    assert steps == ["", "2000 of 5000 purged", "5003 of 5003 purged", "", ""]


@pytest.mark.parametrize("is_shown", [None, False])
def test_nobody_looks_and_nothing_is_written(is_shown: bool | None) -> None:
    out = io.StringIO()
    progress = Progress("purged", out, is_shown)
    progress.show(1, 2)
    progress.end()
    assert out.getvalue() == ""


def test_a_long_payload_is_cut_in_a_table() -> None:
    row = shown({"payload": "x" * 100, "groups": {"g@#": {"state": "ready", "deliveries": 2}}})
    assert (row["payload"], row["state"]) == ("x" * 57 + "...", "g@#: ready, 2x")
    assert shown({"payload_base64": "/w=="})["payload"] == "base64:/w=="
