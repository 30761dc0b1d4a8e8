"""Settings of the board that the gateway runs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, between, setting
from gateway.connectors.board.address import WHOLE, Place, parse_place
from gateway.connectors.point_settings import DAY, parsed_by
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.shape import Whole


def _whole_path(value: str) -> str | None:
    return None if value.startswith("/") else "must be a whole path, such as /"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardPoint(PointSettings):
    """One thing that the board tells of itself."""

    address: str = setting(
        text="What it is: temperature (Cel; temperature:cpu-thermal for one of several), under_voltage (true or "
        "false), throttled (a Raspberry's own number, bit 0 under-voltage, 1 slowed, 2 throttled, 3 hot, 16 to 19 the "
        "same since it was switched on), free:/data (bytes), free_percent:/data, wear (percent of an eMMC's life), "
        "written (bytes since it was switched on; written:mmcblk0), memory (bytes that are available), memory_percent "
        "(in use), load (of 1 minute; load:5, load:15), uptime (seconds), led:ACT (brightness; can be written).",
        check=parsed_by(parse_place),
        example='"free:/data"',
    )

    @property
    def place(self) -> Place:
        """``address`` taken apart."""
        return parse_place(self.address)

    def whole(self) -> Whole | None:
        quantity = self.place.quantity
        if quantity not in WHOLE:
            return None
        return Whole(0, 255 if quantity == "led" else (1 << 64) - 1, quantity)

    def problems(self) -> Iterator[tuple[str, str]]:
        quantity = self.place.quantity
        if self.write is not None and quantity != "led":
            yield "write", f"{quantity} cannot be written"
        if self.bits is not None and quantity not in WHOLE:
            yield "bits", f"has no effect on {quantity}, which has none"
        if self.bits is not None and self.write is not None:
            yield "write", "has no effect on some bits of a brightness"
        if quantity == "under_voltage" and (self.scale, self.offset) != (1, 0):
            yield "scale", "has no effect on under_voltage"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardDevice(DeviceSettings):
    """The board that the gateway runs on."""

    kind: Literal["board"] = setting("board", text="The board that the gateway runs on.")
    poll: Duration = setting(30.0, text="How often the board is read.", check=between(0.01, DAY))
    root: str = setting(
        "/", text="Folder in which sys and proc are looked for; another one for trials.", check=_whole_path
    )
    hot: float | None = setting(
        80.0,
        text="Degrees Celsius from which on the alarm over_temperature stands, until it is 5 below. A Raspberry slows "
        "down at 80 to 85.",
        check=between(-40, 150),
        example="75",
    )
    low_space: float | None = setting(
        10.0,
        text="Percent of a file system: with less than that free at a point free_percent the alarm low_space stands, "
        "until it is a fifth more.",
        check=between(0, 100),
        example="5",
    )
    worn: float | None = setting(
        80.0,
        text="Percent of the life of the flash from which on the alarm flash_wear stands.",
        check=between(1, 100),
        example="70",
    )
    point: tuple[BoardPoint, ...] = setting((), text="")
