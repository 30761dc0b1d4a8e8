"""How one point is written: which function, in how many requests, whole or some bits. Asks the bus, decides no value.

The functions that write several registers and the one for bits are known to most devices and not to all. What is
used instead is named in the settings (``quirks``); by itself only 16 comes in for 6, and 15 for 5, because the
outcome is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from gateway.connectors.modbus.codec import Order, make_codec
from gateway.connectors.modbus.options import Quirks
from gateway.connectors.modbus.pdu import DeviceError
from gateway.connectors.modbus.planner import Item
from gateway.connectors.shape import Part
from gateway.errors import Rejected

_ILLEGAL_FUNCTION: Final = 1

_ALL: Final = 0xFFFF


class Line(Protocol):
    """What a writer needs of the bus; ``bus.Member`` is one."""

    async def write(self, table: str, address: int, values: Sequence[int], *, as_block: bool = False) -> None: ...
    async def mask(self, address: int, keep: int, put: int) -> None: ...
    async def change(self, address: int, keep: int, put: int, *, as_block: bool = False) -> None: ...


class Writer:
    """Writes points of one device."""

    def __init__(self, quirks: Quirks) -> None:
        self._ways = quirks.write_registers
        self._masks = quirks.bit_write == "mask"

    async def whole(self, line: Line, item: Item, words: Sequence[int]) -> None:
        """Write all registers or bits of a point. Raises DeviceError and what the line raises."""
        is_register = item.table == "holding"
        if is_register and self._ways == "single":
            for at, word in enumerate(words):
                await line.write(item.table, item.address + at, [word])
            return
        as_block = is_register and self._ways == "block"
        try:
            await line.write(item.table, item.address, words, as_block=as_block)
        except DeviceError as error:
            if error.code != _ILLEGAL_FUNCTION or len(words) > 1 or as_block:
                raise
            # Some devices know only the function that writes several.
            await line.write(item.table, item.address, words, as_block=True)

    async def part(self, line: Line, item: Item, order: Order, part: Part) -> None:
        """Write some bits of a point, register by register, only those that hold some of them. Raises Rejected when
        the device cannot, DeviceError and what the line raises."""
        codec = make_codec(f"uint{16 * item.width}", order)
        for at, (mask, bits) in enumerate(zip(codec.encode(part.mask), codec.encode(part.bits), strict=True)):
            if not mask:
                continue
            address, keep = item.address + at, _ALL & ~mask
            if not self._masks:
                await line.change(address, keep, bits, as_block=self._ways == "block")
                continue
            try:
                await line.mask(address, keep, bits)
            except DeviceError as error:
                if error.code != _ILLEGAL_FUNCTION:
                    raise
                raise Rejected(
                    "the device cannot write single bits (function 22); if nobody else writes the register, set "
                    'quirks = { bit_write = "read_modify_write" }'
                ) from None
