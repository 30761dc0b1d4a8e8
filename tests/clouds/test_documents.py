"""The settings in docs/clouds.md are whole files that ``gateway check`` accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import kinds
from gateway.check import cross_check
from gateway.config.load import read
from gateway.config.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs" / "clouds.md").read_text()
FILES = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", FILES)
def test_the_file_is_accepted(tmp_path: Path, text: str) -> None:
    for name in re.findall(r'"([a-z.]+\.(?:pem|key|password))"', text):
        (tmp_path / name).write_text("AAEC\n")
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    loaded = read(file, Settings, kinds)
    assert cross_check(loaded) == []


def test_each_cloud_has_one() -> None:
    assert len(FILES) == 4
    assert [word for word in ("aws-iot", "azure-iot-hub", "sparkplug") if f'"{word}"' not in "".join(FILES)] == []
