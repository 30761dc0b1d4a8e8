"""What `make demo` installs must come as wheels: a new machine has no compiler and no autoconf."""

from __future__ import annotations

import re
from pathlib import Path

import tomli

ROOT = Path(__file__).parents[2]


def left_out() -> set[str]:
    """The packages of the extras that .ci/venv does not install."""
    extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = re.findall(r"--no-extra (\w+)", (ROOT / ".ci/venv").read_text())
    return {re.split(r"[~=<> ]", line)[0].lower() for name in names for line in extras[name]}


def test_only_what_is_left_out_is_built_from_source() -> None:
    locked = tomli.loads((ROOT / "uv.lock").read_text())["package"]
    assert {package["name"] for package in locked if not package.get("wheels")} - {"edge-gateway"} == left_out()
