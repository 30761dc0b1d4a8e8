"""Settings of a BACnet/IP device, and where each of its points is."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gateway.config.declare import Duration, between, not_empty, setting
from gateway.connectors.bacnet.objects import (
    COMMANDABLE,
    KINDS,
    LAST_INSTANCE,
    PRESENT_VALUE,
    WRITTEN_AS,
    Object,
    parse_object,
    parse_property,
)
from gateway.connectors.bacnet.wire import PORT, Remote
from gateway.connectors.point_settings import parsed_by
from gateway.connectors.points import DeviceSettings, PointSettings

_MINIMUM_ON_OFF: Final = 6
"""The priority that the device uses itself, for minimum on and off times (clause 19.2)."""


class Endpoint(NamedTuple):
    """Where a device is, and its number when it is given.

    is_broadcast  ``remote`` is a broadcast address: only a device with this number is meant
    """

    remote: Remote
    instance: int | None
    is_broadcast: bool

    def __str__(self) -> str:
        return str(self.remote) if self.instance is None else f"device {self.instance} at {self.remote}"


def parse_url(text: str) -> Endpoint:
    """The endpoint behind ``bacnet://host:port?device=599``. Raises ValueError with what it must be."""
    problem = ValueError('must be like "bacnet://10.0.0.7:47808" or "bacnet://10.0.0.255?device=599"')
    try:
        url = urlsplit(text)
        port = PORT if url.port is None else url.port
        given = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
    except ValueError:
        raise problem from None
    if url.scheme != "bacnet" or not url.hostname or port == 0 or url.path.strip("/") or url.username or url.fragment:
        raise problem
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", url.hostname) or any(
        int(part) > 255 for part in url.hostname.split(".")
    ):
        raise ValueError("must have an IPv4 address: BACnet/IP has no names")
    if unknown := set(given) - {"device", "network", "address", "broadcast"}:
        raise ValueError(f"has device, network, address and broadcast behind the ?, not {min(unknown)}")
    instance = _number("device", given["device"], LAST_INSTANCE) if "device" in given else None
    if ("network" in given) != ("address" in given):
        raise ValueError("needs network and address together, for a device behind a router")
    network, mac = 0, b""
    if "network" in given:
        network = _number("network", given["network"], 65_534)
        if not network or not re.fullmatch(r"([0-9A-Fa-f]{2}){1,7}", given["address"]):
            raise ValueError("the network must be 1 to 65534, the address 1 to 7 bytes in hexadecimal digits, as in 0c")
        mac = bytes.fromhex(given["address"])
    if given.get("broadcast", "no") not in ("yes", "no"):
        raise ValueError(f"broadcast must be yes or no, not {given['broadcast']}")
    is_broadcast = given.get("broadcast", "yes" if url.hostname.endswith(".255") else "no") == "yes"
    if is_broadcast and instance is None:
        raise ValueError(f'needs the number of the device, for {url.hostname} is a broadcast address: "?device=599"')
    return Endpoint(Remote(url.hostname, port, network, mac), instance, is_broadcast)


def _number(name: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > most:
        raise ValueError(f"the {name} must be between 0 and {most}, not {text!r}")
    return int(text)


def parse_local(text: str) -> tuple[str, int]:
    """Address and port of this machine. Raises ValueError with what they must be."""
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3})(?::([0-9]{1,5}))?", text)
    if found is None or int(found[2] or PORT) > 65_535 or any(int(part) > 255 for part in found[1].split(".")):
        raise ValueError('must be an IPv4 address of this machine and a port, such as "0.0.0.0:47808"')
    return found[1], int(found[2] or PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacnetPoint(PointSettings):
    """One property of an object of a BACnet device."""

    object: str = setting(
        text="Type and number of the object: analog-input,1; ai ao av bi bo bv mi mo mv are short names; a type of a "
        "vendor is its number.",
        check=parsed_by(parse_object),
        example='"analog-value,1"',
    )
    property: str = setting(PRESENT_VALUE, text="Name or number of the property.", check=parsed_by(parse_property))
    index: int | None = setting(
        None,
        text="Which element of a property that is an array, counted from 1; 0 is their number.",
        check=between(0, 1_000_000),
        example="8",
    )
    mode: Literal["poll", "cov"] = setting(
        "poll",
        text="cov lets the device say when the value changes; it is then read only now and then, to see that the "
        "device is still there. A device that cannot is polled.",
    )
    type: str | None = setting(
        None,
        text="What the value is written as: real, double, unsigned, integer, enumerated, binary, boolean or text. "
        "Without it: as the object's present value is, or as the property was read.",
        check=lambda value: None if value in KINDS else "must be one of " + ", ".join(KINDS),
        example='"real"',
    )
    priority: int | None = setting(
        None,
        text="Priority of commands to the object, 1 (first) to 16; 6 is the device's own. Without it: 16 for objects "
        "that can be commanded.",
        check=between(1, 16),
        example="8",
    )
    held: bool = setting(
        False,
        text="The value is whether somebody commands the object at priority; writing false gives it back (relinquish, "
        "null), and the object goes on with the next lower priority or its default.",
    )

    @builtins.property
    def place(self) -> Object:
        """``object`` taken apart."""
        return parse_object(self.object)

    def problems(self) -> Iterator[tuple[str, str]]:
        place, is_value = self.place, self.property == PRESENT_VALUE
        if self.mode == "cov" and (not is_value or self.index is not None or self.held):
            yield "mode", "has no effect: only the present value of an object is subscribed"
        if self.priority == _MINIMUM_ON_OFF:
            yield "priority", f"must not be {_MINIMUM_ON_OFF}, which the device keeps for minimum on and off times"
        if self.priority is not None and (not is_value or place.type_name not in (*COMMANDABLE, str(place.type))):
            yield "priority", f"has no effect on the {self.property} of {place}: it has no priorities"
        if self.held and not is_value:
            yield "held", "has no effect: only the present value of an object is commanded"
        if self.write is not None and not self.held and place.type_name.endswith("-input") and is_value:
            # It can be written only while the object is out of service, for tests.
            yield "write", f"has no effect on {place}: an input is written by nobody"
        kind = self.kind
        if (self.scale, self.offset) != (1, 0) and (kind in ("binary", "boolean", "text") or self.held):
            yield "scale", f"has no effect on {'held' if self.held else kind}"

    @builtins.property
    def kind(self) -> str | None:
        """What the value is written as; None when only the device knows."""
        if self.type is not None or self.property != PRESENT_VALUE:
            return self.type
        return WRITTEN_AS.get(self.place.type_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacnetDevice(DeviceSettings):
    """A device that speaks BACnet/IP, or one behind a BACnet router."""

    kind: Literal["bacnet"] = setting("bacnet", text="BACnet/IP. Needs bacpypes3: pip install 'edge-gateway[bacnet]'.")
    url: str = setting(
        text=f"Where the device is. Port {PORT} unless given. ?device=599 looks for the device with this number at the "
        "address, which may be that of a broadcast (ends with .255, or broadcast=yes). Behind a router: "
        "?network=5&address=0c.",
        check=parsed_by(parse_url),
        example='"bacnet://10.0.0.7:47808"',
    )
    local: str = setting(
        f"0.0.0.0:{PORT}",
        text="Address and port of this machine. Devices with the same one share a socket. Port 0 is a free one; then "
        "answers to a broadcast are seen only from devices that send them to who asked.",
        check=parsed_by(parse_local),
    )
    timeout: Duration = setting(1.0, text="How long one answer may take.", check=between(0.01, 60))
    retries: int = setting(
        2, text="How often a question is repeated that was not answered: datagrams get lost.", check=between(0, 10)
    )
    batch: bool = setting(
        True, text="Read many properties in one question; false for devices that say they can and cannot."
    )
    max_apdu: int = setting(1476, text="Longest message, in bytes; the device may say less.", check=between(50, 1476))
    lifetime: Duration = setting(
        300.0, text="How long a subscription lives; it is renewed at half of it.", check=between(2, 86_400)
    )
    confirmed: bool = setting(True, text="Changes of value are acknowledged, and so sent again when they get lost.")
    point: tuple[BacnetPoint, ...] = setting(text="", check=not_empty)

    @property
    def endpoint(self) -> Endpoint:
        """``url`` taken apart."""
        return parse_url(self.url)
