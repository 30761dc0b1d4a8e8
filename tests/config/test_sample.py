"""The committed sample is what the declarations say, and it works."""

from __future__ import annotations

import re
from pathlib import Path

import tomli

from gateway import kinds
from gateway.config.describe import sample
from gateway.config.load import read
from gateway.config.reader import Reader
from gateway.config.settings import Settings
from gateway.config.shape import Kinds

SAMPLE = Path(__file__).parents[2] / "docs" / "gateway.sample.toml"


def without_comments(text: str) -> str:
    return re.sub(r"^# ", "", text, flags=re.MULTILINE)


def test_the_committed_sample_is_up_to_date() -> None:
    assert SAMPLE.read_text() == sample(Settings, kinds), "run: gateway schema --sample > docs/gateway.sample.toml"


def test_the_sample_loads() -> None:
    loaded = read(SAMPLE, Settings, kinds)
    assert set(loaded.kinds.values()) == {kind for section in kinds.KINDS.values() for kind in section}


def test_every_option_behind_a_comment_mark_is_right(tmp_path: Path) -> None:
    reader = Reader(tmp_path, kinds)
    reader.section(Settings, tomli.loads(without_comments(SAMPLE.read_text())), ())
    missing = ("no such file", "no such folder")
    wrong = [
        (path, text)
        for path, text in reader.problems
        # The sample shows options side by side that exclude each other, files that are not there, and one profile.
        if not text.startswith((*missing, "has no effect", "a rule needs either allow or deny"))
        and "as in its profile" not in text
    ]
    assert wrong == []


def test_the_style_of_the_sample(kinds: Kinds) -> None:
    lines = sample(Settings, kinds).splitlines()
    assert max(map(len, lines)) <= 120
    point = lines.index("[[device.bus.point]]")
    assert lines[point - 2 : point + 5] == [
        "",
        "## Points.",
        "[[device.bus.point]]",
        "## Last level of its topic. Required.",
        'name = "temperature"',
        "## Number of the register. Between 0 and 65535. Required.",
        "address = 100",
    ]
    assert '## How the registers are read. One of "int16", "float32".' in lines
    assert '# type = "int16"' in lines
    assert '# class = "telemetry"' in lines
    assert "# [device.bus.point.write]" in lines
    assert "# min = 1.0" in lines
    assert '# password = { file = "secret" }' in lines
    assert "# options = { baud = 9600 }" in lines
