"""Who reads the outbox: the readers by name, their bits on rows that gather, their positions in the table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.store.heirs import Heirs
from gateway.store.position import Position, in_common
from gateway.store.reader import Reader
from gateway.store.switch import Switch

MakeReader = Callable[[str, Position], Reader]


class Roster:
    """See the module's docstring. The dicts stay the same objects.

    readers  in the order of the settings
    bits     of each on rows in memory; a new one never gets a bit that another has had
    kept     positions in the table
    heirs    see ``heirs.py``
    """

    __slots__ = ("_highest", "_make", "_rest", "bits", "heirs", "kept", "readers")

    def __init__(self, make: MakeReader) -> None:
        self._make = make
        self._rest = Position()
        self._highest = 1
        self.readers: dict[str, Reader] = {}
        self.bits: dict[str, int] = {}
        self.kept: dict[str, Position] = {}
        self.heirs: Heirs = {}

    def load(self, positions: Mapping[str, Position], rest: Position, heirs: Heirs) -> None:
        """As the table has it; ``rest``: where an uplink begins that comes while there is none."""
        self._rest = rest
        self.heirs = heirs
        self.kept.update(positions)
        for name, position in positions.items():
            self.readers[name] = self._make(name, position)
            self.bits[name] = self._highest
            self._highest <<= 1

    def switch(self, uplinks: Collection[str], renamed: Mapping[str, str], last: int) -> Switch:
        """Other uplinks behind the row ``last``; see ``Outbox.change``."""
        before = {name: reader.position for name, reader in self.readers.items()}
        if not uplinks:
            self._rest = in_common(before.values()) or self._rest
        switch = Switch(before, uplinks, renamed, self.heirs, self._rest, last)
        self.heirs = switch.heirs
        for new, old in switch.renamed.items():
            self.bits[new] = self.bits[old]  # rows that gather are his
        for name, position in switch.positions.items():
            self.readers[name] = self._make(name, position)
            self.kept[name] = position
            if name not in self.bits:
                self.bits[name] = self._highest
                self._highest <<= 1
        _keep(self.readers, switch.uplinks)
        _keep(self.bits, switch.uplinks)
        _keep(self.kept, switch.uplinks)
        return switch


def _keep(entries: dict[str, Any], names: Collection[str]) -> None:
    """These, in this order."""
    found = {name: entries[name] for name in names}
    entries.clear()
    entries.update(found)
