"""Kinds of device that nobody has configured cost nothing: neither they nor their libraries are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway import kinds

pytestmark = pytest.mark.slow

LIBRARIES = {"pymodbus", "asyncua", "aiocoap", "snap7", "bacpypes3", "serial"}


def _imported(folder: Path) -> set[str]:
    """What a gateway has imported when it is ready and has been told to end."""
    settings = folder / "gateway.toml"
    settings.write_text(f'[gateway]\nname = "g"\nstate = "{folder}"\n')
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "gateway", "run", "--config", str(settings)],
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if " ready " in line:
                break
    finally:
        process.terminate()
        rest = process.communicate(timeout=20)[1]
    lines += rest.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


def _of_kinds(imported: set[str]) -> set[str]:
    """The packages of kinds, and the libraries, of which something was imported."""
    own = {f"gateway.connectors.{kind}" for kind in kinds.names("device")}
    return (own & {".".join(name.split(".")[:3]) for name in imported}) | (
        LIBRARIES & {name.partition(".")[0] for name in imported}
    )


def test_a_gateway_without_devices_imports_no_kind(tmp_path: Path) -> None:
    imported = _imported(tmp_path)
    assert "gateway.connectors.base" in imported, "what is looked at are the imports of a gateway that ran"
    assert not _of_kinds(imported)
