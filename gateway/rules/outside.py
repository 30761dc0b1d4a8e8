"""What rules may know of the machine that they run on: variables of its environment, secrets, Python functions.

Nothing here reads an environment or a file: the shell gives what it has found. A name is a constant of the rule, so no
payload can choose what is looked at. Secrets are texts that a rule may use and nobody may see: errors of an action
that uses one are shown without the texts in them (``veiled``), and cases get a stand-in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from gateway.message import Value
from gateway.rules.language import RuleError

if TYPE_CHECKING:
    from gateway.rules.frame import Frame

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

SHORTEST_SECRET: Final = 4
"""Characters."""

_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


@dataclass(frozen=True, slots=True)
class Outside:
    """What the shell has found.

    variables  the environment
    secrets    by their names; None: nobody knows which there are, and a case may use any
    functions  Python functions that may be called, each with the names of its arguments; None: none may
    queues     those of the settings; None: nobody knows which there are, or any name makes one
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] | None = field(default_factory=dict)
    functions: Mapping[str, Arguments] | None = None
    queues: Collection[str] | None = None

    def without_secrets(self, line: Any) -> Any:
        """A line for a person in which the text of a secret, which some rule has kept or published, is ``secret NAME``.
        Texts below SHORTEST_SECRET stay: they may be there by chance."""
        for name, secret in (self.secrets or {}).items():
            if len(secret) >= SHORTEST_SECRET:
                line = _replaced(line, (str(secret), json.dumps(str(secret))[1:-1]), f"secret {name}")
        return line

    def for_cases(self, variables: Mapping[str, str]) -> Outside:
        """The same for a case: it says itself what the environment is, and each secret is ``secret NAME``."""
        return replace(self, variables=variables, secrets=_StandIns())


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a Python function takes by name. ``takes_more``: it has ``**others``."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    takes_more: bool = False


class _StandIns(dict[str, str]):
    """A text for every name that is asked for."""

    def get(self, name: str, default: Any = None) -> str:
        return f"secret {name}"


NOTHING: Final = Outside()


def _replaced(value: Any, texts: tuple[str, ...], by: str) -> Any:
    if isinstance(value, str):
        for text in texts:
            value = value.replace(text, by)
        return value
    if isinstance(value, list):
        return [_replaced(item, texts, by) for item in value]
    if isinstance(value, dict):
        return {_replaced(key, texts, by): _replaced(item, texts, by) for key, item in value.items()}
    return value


def veiled(text: str) -> str:
    """An error text without the texts that are quoted in it."""
    return _QUOTED.sub("'...'", text)


def variable_name(text: str) -> str:
    """Raises RuleError."""
    return _named(text, "variable")


def secret_name(text: str) -> str:
    """Raises RuleError."""
    return _named(text, "secret")


def _named(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        raise RuleError(f"{text[:80]!r} is no name of a {what}: letters, digits, '_', '.' and '-', at most 64")
    return text


def variable(frame: Frame, name: str) -> Value:
    return frame.world.outside.variables.get(name)


def secret(frame: Frame, name: str) -> Value:
    secrets = frame.world.outside.secrets
    return secrets.get(name) if secrets is not None else None
