"""Files that would fill the memory are not read, by a start or reload either, which keep what stands in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.document import LARGEST
from gateway.errors import ConfigError
from gateway.rules.look_outside import MAX_SOURCE
from gateway.starting import read_checked


def grown(path: Path, size: int) -> None:
    """A file of that size that takes no room on the disk."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_checked(path, {})
    return caught.value.problems


def test_a_start_with_endless_settings() -> None:
    assert problems(Path("/dev/zero")) == [
        "/dev/zero: is larger than 16 MiB, the most that is read; is it the right file?"
    ]


@pytest.mark.parametrize(
    ("name", "size", "text"),
    [
        ("gateway.toml", LARGEST + 1, "gateway.toml: is larger than 16 MiB"),
        ("rules/a.toml", LARGEST + 1, "rules/a.toml: is larger than 16 MiB"),
        ("rules/functions/a.py", LARGEST + 1, "rules/functions/a.py: is larger than 16 MiB"),
        ("rules/functions/a.py", MAX_SOURCE + 1, "functions/a.py: cannot be read: it has more than 1048576 bytes"),
    ],
)
def test_a_large_file_is_named(tmp_path: Path, name: str, size: int, text: str) -> None:
    settings = tmp_path / "gateway.toml"
    settings.write_text("[rules]\nfunctions = true\n")
    (tmp_path / "rules/functions").mkdir(parents=True)
    read_checked(settings, {})
    grown(tmp_path / name, size)
    (problem,) = problems(settings)
    assert text in problem
