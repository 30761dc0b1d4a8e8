"""Settings of an S7 controller, and where each of its points is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gateway.config.declare import Duration, between, not_empty, setting
from gateway.connectors.point_settings import parsed_by
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.s7.address import LAST_BYTE, WIDTHS, Place, parse_place
from gateway.connectors.s7.codec import FLOATS, INTEGERS, make_codec, parse_type
from gateway.connectors.shape import Whole, parse_bits

DEFAULT_PORT: Final = 102
"""The port of ISO transport over TCP (RFC 1006)."""

ROLES: Final = {"pg": 1, "op": 2, "basic": 3}
"""What a connection counts as in the controller: programmer, operator panel, S7 basic."""

_LOCAL_TSAP: Final = 0x0100
_DEFAULT_TYPES: Final = {"X": "bool", "B": "byte", "W": "word", "D": "dword"}
_SCALABLE: Final = (*INTEGERS, *FLOATS, "time", "ltime", "s5time", "tod", "ltod")


class Endpoint(NamedTuple):
    """Host, without brackets, and port of a controller, and the two ends of the transport connection."""

    host: str
    port: int
    local_tsap: int
    remote_tsap: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(text: str) -> Endpoint:
    """The endpoint behind ``s7://host:port?rack=0&slot=1``. Raises ValueError with what it must be."""
    problem = ValueError('must be like "s7://10.0.0.1:102?rack=0&slot=1"')
    try:
        url = urlsplit(text)
        port = DEFAULT_PORT if url.port is None else url.port
        given = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise problem from None
    if url.scheme != "s7" or not url.hostname or port == 0 or url.path.strip("/") or url.username or url.fragment:
        raise problem
    if unknown := set(given) - {"rack", "slot", "role", "local_tsap", "remote_tsap"}:
        raise ValueError(f"has rack, slot, role, local_tsap and remote_tsap behind the ?, not {min(unknown)}")
    local = _tsap("local_tsap", given.get("local_tsap", f"{_LOCAL_TSAP:04x}"))
    if "remote_tsap" in given:
        if len({"rack", "slot", "role"} & set(given)):
            raise ValueError("has either remote_tsap, or rack, slot and role")
        return Endpoint(url.hostname, port, local, _tsap("remote_tsap", given["remote_tsap"]))
    role = given.get("role", "pg")
    if role not in ROLES:
        raise ValueError(f"the role must be one of {', '.join(ROLES)}, not {role}")
    rack, slot = _small("rack", given.get("rack", "0"), 7), _small("slot", given.get("slot", "1"), 31)
    return Endpoint(url.hostname, port, local, ROLES[role] << 8 | rack << 5 | slot)


def _small(name: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > most:
        raise ValueError(f"the {name} must be between 0 and {most}, not {text!r}")
    return int(text)


def _tsap(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9A-Fa-f]{2}\.?[0-9A-Fa-f]{2}", text):
        raise ValueError(f'the {name} must be four hexadecimal digits such as "0200" or "02.00", not {text!r}')
    return int(text.replace(".", ""), 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class S7Point(PointSettings):
    """One value of an S7 controller."""

    address: str = setting(
        text="Where it is: DB1.DBX10.0 (a bit), DB1.DBB6 (a byte, or the first of many), DB1.DBW2, DB1.DBD4; M for "
        "flags, I or E for inputs, Q or A for outputs: M10.0, MW20, IW0, QB1.",
        check=parsed_by(parse_place),
        example='"DB1.DBD4"',
    )
    type: str | None = setting(
        None,
        text="What stands there: bool, byte, usint, sint, word, uint, int, dword, udint, dint, lword, ulint, lint, "
        "real, lreal, chars:<characters>, string:<characters>, wstring:<characters>, time, ltime, s5time, tod, ltod, "
        "date, date_and_time, dtl. Without it: bool, byte, word or dword, as the address says.",
        check=parsed_by(parse_type),
        example='"real"',
    )

    @property
    def place(self) -> Place:
        """``address`` taken apart."""
        return parse_place(self.address)

    @property
    def type_name(self) -> str:
        """The type with its length, given or by the address."""
        return self.type or _DEFAULT_TYPES[self.place.width]

    @property
    def size(self) -> int:
        """Bytes that the value takes."""
        return make_codec(self.type_name).size

    def whole(self) -> Whole | None:
        if self.type_name not in INTEGERS:
            return None
        size, is_signed = self.size, INTEGERS[self.type_name][1].islower()
        low, high = (-(1 << 8 * size - 1), 1 << 8 * size - 1) if is_signed else (0, 1 << 8 * size)
        return Whole(low, high - 1, self.type_name)

    def problems(self) -> Iterator[tuple[str, str]]:
        place, type, size = self.place, self.type_name, self.size
        if type == "bool" and place.bit is None:
            yield "type", f'"bool" is one bit: write "{_as_bit(place)}", or another type'
        elif type != "bool" and place.bit not in (None, 0):
            yield "type", f'must be "bool": {place} is a single bit'
        elif place.width in "WD" and size != WIDTHS[place.width]:
            fits = "B" if size == 1 else "W" if size == 2 else "D" if size == 4 else "B"
            yield "type", f"{type} takes {size} bytes and {place} is {WIDTHS[place.width]}: write {fits} in the address"
        if place.byte + size - 1 > LAST_BYTE:
            yield "address", f"{type} takes {size} bytes and runs over the last one, {LAST_BYTE}"
        if self.write is not None and place.area == "I":
            yield "write", f"{place} is an input and cannot be written"
        if (self.scale, self.offset) != (1, 0) and type not in _SCALABLE:
            yield "scale", f"has no effect on {type}"
        if self.bits is not None and type not in INTEGERS:
            yield "bits", f"has no effect on {type}, which has none; the types that have: {', '.join(INTEGERS)}"
        elif self.bits is not None and self.write is not None and not parse_bits(self.bits).is_single:
            yield "write", "has no effect on several bits: a controller writes one bit, or whole bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class S7Device(DeviceSettings):
    """A Siemens S7 controller, through Ethernet."""

    kind: Literal["s7"] = setting("s7", text="Siemens S7. Needs python-snap7: pip install 'edge-gateway[s7]'.")
    url: str = setting(
        text=f"Address of the controller. Port {DEFAULT_PORT} unless given. S7-300 has slot 2, S7-1200 and S7-1500 "
        "slot 1, S7-400 what the hardware configuration says. role=pg, op or basic says which of its connections is "
        "taken; "
        "LOGO! and S7-200: local_tsap and remote_tsap instead. Devices with the same url share one connection.",
        check=parsed_by(parse_url),
        example='"s7://10.0.0.1:102?rack=0&slot=1"',
    )
    timeout: Duration = setting(2.0, text="How long one answer, or the connection, may take.", check=between(0.01, 60))
    pdu: int = setting(
        480,
        text="Longest message to ask for, in bytes; the controller may agree to less (S7-1200: 240, S7-1500: 960).",
        check=between(240, 960),
    )
    gap: int = setting(
        16, text="Bytes that nobody wants, read along to save a variable. 0 reads only what points need.",
        check=between(0, 400),
    )  # fmt: skip
    point: tuple[S7Point, ...] = setting(text="", check=not_empty)

    @property
    def endpoint(self) -> Endpoint:
        """``url`` taken apart."""
        return parse_url(self.url)


def _as_bit(place: Place) -> str:
    return str(place._replace(width="X", bit=0))
