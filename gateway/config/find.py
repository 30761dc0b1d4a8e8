"""Which files belong to a gateway: its settings file, and the rule files next to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.files import SYSTEM_CREDENTIALS
from gateway.config.settings import Rules
from gateway.config.source import Source

SYSTEM: Final = Path("/etc/gateway/gateway.toml")

EMBEDDED: Final = Path(__file__).with_name("default.toml")
"""Settings for a first look: MQTT for this machine only."""


def find_settings(given: str | None, environ: Mapping[str, str], system: Path = SYSTEM) -> Path:
    """The settings file to read: ``given`` on the command line, else ``$GATEWAY_CONFIG``, else the system's, else
    the embedded one. A file that is named and missing is not passed over: reading it fails."""
    named = given or environ.get("GATEWAY_CONFIG")
    if named:
        return Path(named)
    return system if system.exists() else EMBEDDED


def credentials_folder(environ: Mapping[str, str]) -> Path:
    """Where systemd lays the secrets that the unit is given: ``$CREDENTIALS_DIRECTORY``, which only the unit itself
    has; other commands look where those of ``gateway.service`` are."""
    named = environ.get("CREDENTIALS_DIRECTORY")
    return Path(named) if named else SYSTEM_CREDENTIALS


def rule_files(rules: Rules, source: Source) -> list[Path]:
    """The rule files in the order of their names; none when there is no folder of rules."""
    folder = Path(rules.path) if rules.path is not None else source.folder / "rules"
    return sorted(path for path in folder.glob("*.toml") if path.is_file()) if folder.is_dir() else []
