"""Byte code for the gateways that are measured, as an installed one has it; see ``docs/install.md``.

A checkout whose environment forbids to write byte code (PYTHONDONTWRITEBYTECODE) compiles at each start: that doubles
the time to READY and adds two megabytes that are never given back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent.parent / "build" / "pycache"

PARTS: Final = "gateway.app, gateway.cli.run, gateway.connectors.modbus.connector, gateway.uplinks.mqtt.uplink"


def keep(*trees: Path) -> None:
    """Keep byte code of what these checkouts run, for this process and those it starts."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(FOLDER)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for tree in trees:
        subprocess.run([sys.executable, "-c", f"import {PARTS}"], cwd=tree, env=environment, check=True)
