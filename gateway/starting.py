"""What a start runs: the settings as they stand in the files, unless those were never confirmed (``confirmed.py``)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway import kinds
from gateway.check import Staying, checked
from gateway.config.document import read_bytes
from gateway.config.find import SYSTEM, credentials_folder
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.confirmed import Back, Confirmed, Contents, contents_of
from gateway.errors import ConfigError
from gateway.rules.load import RuleSet
from gateway.rules.look_outside import functions_folder
from gateway.state import state_folder

log = logging.getLogger("gateway.reload")

TRIES: Final = 3
"""How often settings are read that are written at the same time."""


@dataclass(frozen=True, slots=True)
class Start:
    """What runs from the start on.

    contents  of the files it was read from; None: of what is kept, since the files have what was not confirmed
    back      what the start went back from
    """

    loaded: Loaded[Settings]
    rules: RuleSet
    contents: Contents | None = None
    back: Back | None = None


def read_checked(
    path: Path, environ: Mapping[str, str], staying: Staying = nullcontext
) -> tuple[Loaded[Settings], RuleSet, Contents]:
    """Settings and rules without a problem, and exactly what stood in their files. ``staying``: see ``checked``.

    Raises ConfigError.
    """
    for _ in range(TRIES):
        try:
            text = read_bytes(path) if path.exists() else b""
            with staying():
                loaded = read(path, Settings, kinds, credentials=credentials_folder(environ))
            contents = contents_of(loaded)
            rules = checked(loaded, staying=staying)
            if contents[path.absolute()] == text and contents_of(loaded) == contents:
                return loaded, rules, contents
        except OSError as error:
            raise ConfigError([f"{error.filename}: cannot be read: {error.strerror}"]) from None
    raise ConfigError([f"{path.name}: it or a rule file is written while it is read; do it once more"])


def begin(path: Path, option: str | None, environ: Mapping[str, str]) -> tuple[Start, Path]:
    """What to run, and the state folder; ``option`` is --state. Raises ConfigError."""
    try:
        loaded: Loaded[Settings] | None = read(path, Settings, kinds, credentials=credentials_folder(environ))
    except ConfigError:
        loaded = None  # what was not confirmed may be wrong by now: the kept ones are not
    setting = loaded.value.gateway.state if loaded is not None else None
    state = state_folder(option, setting, environ, path == SYSTEM)
    confirmed = Confirmed(state)
    try:
        back = confirmed.go_back()
        kept = confirmed.in_stead(path) if back is not None and back.problem is not None else None
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}; what was confirmed cannot be taken"]) from None
    if kept is None:
        loaded, rules, contents = read_checked(path, environ)
        return Start(loaded, rules, contents, back), state
    text, folder = kept
    overrides = {"rules.path": str(folder)}
    loaded = read(path, Settings, kinds, overrides, credentials_folder(environ), text)
    return Start(loaded, checked(loaded), None, back), state


def rules_folder(loaded: Loaded[Settings]) -> Path:
    """Where the rule files are, or would be."""
    return functions_folder(loaded.value.rules, loaded.source).parent
