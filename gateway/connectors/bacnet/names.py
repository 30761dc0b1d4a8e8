"""Names of properties, units and reliabilities, from bacpypes3's tables of the standard. No I/O."""

from __future__ import annotations

from typing import Final

from bacpypes3.basetypes import EngineeringUnits, PropertyIdentifier, Reliability

from gateway.connectors.bacnet.objects import parse_property

UCUM: Final = {
    "degrees-celsius": "Cel", "degrees-fahrenheit": "[degF]", "kelvin": "K", "percent": "%",
    "percent-relative-humidity": "%", "parts-per-million": "[ppm]", "volts": "V", "millivolts": "mV", "kilovolts": "kV",
    "amperes": "A", "milliamperes": "mA", "watts": "W", "kilowatts": "kW", "megawatts": "MW", "watt-hours": "W.h",
    "kilowatt-hours": "kW.h", "megawatt-hours": "MW.h", "volt-amperes": "V.A", "kilovolt-amperes": "kV.A",
    "hertz": "Hz", "pascals": "Pa", "hectopascals": "hPa", "kilopascals": "kPa", "bars": "bar", "millibars": "mbar",
    "liters": "L", "cubic-meters": "m3", "liters-per-second": "L/s", "liters-per-hour": "L/h",
    "cubic-meters-per-hour": "m3/h", "meters-per-second": "m/s", "luxes": "lx", "seconds": "s", "minutes": "min",
    "hours": "h", "revolutions-per-minute": "/min", "meters": "m", "millimeters": "mm", "kilograms": "kg",
}  # fmt: skip
"""Units of the standard as the gateway's other kinds write them (UCUM)."""


def property_number(text: str) -> int:
    """The number of a property by its name or number. Raises ValueError for a name that the standard does not have."""
    parsed = parse_property(text)
    if isinstance(parsed, int):
        return parsed
    try:
        return int(PropertyIdentifier(parsed))
    except ValueError:
        raise ValueError(f'the standard has no property "{text}"; one of a vendor is a number') from None


def reliability_name(number: int) -> str:
    """Words for a reliability: ``no-sensor``."""
    return str(Reliability(number))


def unit_name(number: int) -> str:
    """The unit: ``Cel``; the standard's own word where UCUM's is not known."""
    name = str(EngineeringUnits(number))
    return "" if name == "no-units" else UCUM.get(name, name)
