"""Every folder in ``cases`` is a settings file and the words it is answered with. A bug report becomes a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.load import read
from gateway.config.settings import Settings
from gateway.config.shape import Kinds
from gateway.errors import ConfigError

CASES = sorted(path for path in Path(__file__).with_name("cases").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_every_problem_on_its_line_in_these_words(folder: Path, kinds: Kinds) -> None:
    expected = (folder / "expected.txt").read_text().replace("{folder}", str(folder))
    with pytest.raises(ConfigError) as caught:
        read(folder / "gateway.toml", Settings, kinds)
    assert "\n".join(caught.value.problems) + "\n" == expected
