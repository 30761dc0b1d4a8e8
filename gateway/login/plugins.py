"""Authenticators of other packages, found by entry point: see ``docs/access.md`` for how to write one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, Final

from gateway.broker.identity import Authenticator, EnhancedAuthenticator
from gateway.errors import GatewayError

GROUP: Final = "gateway.authenticators"
ENHANCED_GROUP: Final = "gateway.enhanced_authenticators"


class Unusable(GatewayError):
    """Something that the settings ask for is not there. ``key``: the setting that asks for it."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


def authenticators(names: Sequence[str]) -> list[Authenticator]:
    """Those that the settings name, made by calling their entry points. Raises Unusable for one that is not there."""
    return [_load(GROUP, name, f"access.authenticators[{index}]")() for index, name in enumerate(names)]


def enhanced(names: Sequence[str]) -> dict[str, EnhancedAuthenticator]:
    """Methods of enhanced authentication that the settings name; the name is the method. Raises Unusable."""
    return {name: _load(ENHANCED_GROUP, name, f"access.enhanced[{index}]")() for index, name in enumerate(names)}


def _load(group: str, name: str, key: str) -> Any:
    known = {point.name: point for point in entry_points(group=group)}
    if name not in known:
        there = f"installed: {', '.join(sorted(known))}" if known else "none is installed"
        raise Unusable(key, f'no entry point "{name}" in the group {group}; {there}')
    try:
        return known[name].load()
    except (ImportError, AttributeError) as error:
        raise Unusable(key, f'the entry point "{name}" cannot be loaded: {error}') from None
