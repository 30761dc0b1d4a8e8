"""Whatever the file holds, reading it gives settings or a ConfigError with lines that can be printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.keys import quote
from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.config.shape import Kinds, is_section, keys
from gateway.errors import ConfigError


def _below(kind: Any) -> tuple[Any, ...]:
    return keys(kind) if is_section(kind) else ()


WORDS = ["kind", "mqtt", "bus", "sim", "device", "listener", "a", "b c", "", "point", "name", "address", "file", "tls"]
SECTIONS = [key.name for key in keys(Settings)]
KEYS = st.sampled_from(WORDS + SECTIONS + [key.name for section in keys(Settings) for key in _below(section.type)])


SCALARS = (
    st.sampled_from(['"mqtt"', '"bus"', '"sim"', '"127.0.0.1:1883"', '"1s"', '"1MiB"', "true", "1", "2024-01-01"])
    | st.integers().map(str)
    | st.integers(0).map(hex)
    | st.floats().map(lambda number: str(number) if "e" not in str(number) else "1e9")
    | st.text(st.characters(codec="utf-8")).map(quote)
)


def _table(entries: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{quote(name)} = {value}" for name, value in entries.items()) + " }"


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{', '.join(values)}]")
        | st.dictionaries(KEYS, inner, max_size=5).map(_table)
    ),
    max_leaves=20,
)

DOCUMENTS = st.dictionaries(st.sampled_from(SECTIONS) | KEYS, VALUES, max_size=6).map(
    lambda entries: "\n".join(f"{quote(name)} = {value}" for name, value in entries.items())
)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "gateway.toml"


def assert_settings_or_problems(file: Path, content: bytes, kinds: Kinds) -> None:
    file.write_bytes(content)
    try:
        read(file, Settings, kinds)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.startswith("gateway.toml")
            assert problem.splitlines() == [problem]
            assert problem.isprintable()


FUZZ = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(DOCUMENTS)
def test_random_documents(file: Path, kinds: Kinds, text: str) -> None:
    assert_settings_or_problems(file, text.encode(), kinds)


@FUZZ
@given(st.text("[]{}=,.\n\"'#ab\\ 1-:") | st.text(st.characters(codec="utf-8")))
def test_random_text(file: Path, kinds: Kinds, text: str) -> None:
    assert_settings_or_problems(file, text.encode(), kinds)


@FUZZ
@given(st.binary())
def test_random_bytes(file: Path, kinds: Kinds, content: bytes) -> None:
    assert_settings_or_problems(file, content, kinds)
