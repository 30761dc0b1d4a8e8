"""``network.toml``: what the machine is called, how it reaches the network, and who may log in."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config.declare import Secret, setting

ZONES: Final = Path("/usr/share/zoneinfo")
KEY_TYPES: Final = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_INTERFACE = re.compile(r"[a-z][a-z0-9.]{0,14}")
_COUNTRY = re.compile(r"[A-Z]{2}")


def _host_problem(name: str) -> str | None:
    if not _HOST.fullmatch(name):
        return "must be 1 to 63 lower-case letters, digits and '-', and not begin or end with '-' (RFC 1123)"
    return None


def _zone_problem(name: str) -> str | None:
    is_plain = re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", name) is not None
    if not is_plain or (ZONES.is_dir() and not (ZONES / name).is_file()):
        return 'must be a time zone such as "Europe/Berlin" or "UTC"'
    return None


def _keys_problem(keys: tuple[str, ...] | None) -> str | None:
    for key in keys or ():
        parts = key.split()
        try:
            blob = base64.b64decode(parts[1], validate=True)
        except (IndexError, binascii.Error):
            blob = b""
        name = parts[0].encode() if parts else b""
        # RFC 4253, section 6.6: the blob begins with the length and the name of the type.
        if "\n" in key or not parts or parts[0] not in KEY_TYPES or not blob.startswith(len(name).to_bytes(4) + name):
            return 'must hold public keys as ssh-keygen writes them: "ssh-ed25519 AAAA... name"'
    return None


def _addresses_problem(texts: tuple[str, ...]) -> str | None:
    return next((problem for text in texts if (problem := _address_problem(text))), None)


def _address_problem(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f'must be an IP address such as "192.168.1.1", not "{text}"'
    return None


def _servers_problem(texts: tuple[str, ...]) -> str | None:
    bad = next((text for text in texts if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", text)), None)
    return None if bad is None else f'must hold host names or addresses, not "{bad}"'


def _interface_problem(text: str) -> str | None:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return 'must be an address with the length of its network, such as "192.168.1.5/24"'
    return None if "/" in text else 'must have the length of its network behind the address: "192.168.1.5/24"'


def _ssid_problem(text: str) -> str | None:
    return None if 1 <= len(text.encode()) <= 32 else "must have 1 to 32 bytes (IEEE 802.11)"


def _psk_problem(text: str) -> str | None:
    if 8 <= len(text) <= 63 and text.isascii() and text.isprintable():
        return None
    return "must have 8 to 63 ASCII characters (IEEE 802.11, WPA passphrase)"


def _country_problem(text: str) -> str | None:
    return None if _COUNTRY.fullmatch(text) else 'must be a country of two letters such as "DE" (ISO 3166)'


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The machine."""

    hostname: str | None = setting(None, text="Host name. It is NAME.local too, by mDNS.", check=_host_problem)
    timezone: str | None = setting(None, text="Time zone of logs and of rules at a time of day.", check=_zone_problem)
    ssh_keys: tuple[str, ...] | None = setting(
        None,
        text="Public keys of those who may log in as root by ssh, and nobody else; [] is nobody, and ssh is off. "
        "Without this key those who may stay as they are; on a new machine that is nobody.",
        check=_keys_problem,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """The user admin of the gateway."""

    password: Secret | None = setting(
        None, text="Password. Without it: a random one at the first start, see docs/access.md."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.password is not None and not 8 <= len(self.password.encode()) <= 1024:
            yield "password", "must have 8 to 1024 bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ethernet:
    """An Ethernet interface; without a table it asks DHCP."""

    address: str | None = setting(
        None, text="Fixed address with its network. Without it: DHCP.", check=_interface_problem
    )
    gateway: str | None = setting(None, text="Router, with a fixed address.", check=_address_problem)
    dns: tuple[str, ...] = setting((), text="Name servers, beside those of DHCP.", check=_addresses_problem)
    ntp: tuple[str, ...] = setting((), text="Time servers, beside those of DHCP.", check=_servers_problem)

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.gateway is None:
            return
        if self.address is None:
            yield "gateway", "needs an address: with DHCP the router comes by itself"
        elif ipaddress.ip_address(self.gateway) not in ipaddress.ip_interface(self.address).network:
            yield "gateway", f"must be in the network of {self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wifi:
    """A wireless network."""

    ssid: str = setting(text="Its name.", check=_ssid_problem)
    password: Secret | None = setting(None, text="WPA passphrase. Without it: an open network.")
    hidden: bool = setting(False, text="It does not tell its name.")

    def problems(self) -> Iterator[tuple[str, str]]:
        problem = None if self.password is None else _psk_problem(str(self.password))
        if problem:
            yield "password", problem


def _apn_problem(text: str) -> str | None:
    # 3GPP TS 23.003, section 9.1: as a name of DNS.
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,98}[A-Za-z0-9])?", text):
        return None
    return 'must be a name such as "internet" or "iot.example.com": letters, digits, "." and "-"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Cellular:
    """A cellular modem, by ModemManager."""

    apn: str = setting(text="Access point name, from the operator of the SIM card.", check=_apn_problem)
    user: str | None = setting(None, text="User of the access point, where the operator gives one.")
    password: Secret | None = setting(None, text="Password of that user.")
    pin: Secret | None = setting(
        None, text="PIN of the SIM card. It is tried once, and only while the card has three attempts left."
    )
    roaming: bool = setting(
        True, text="Whether a network of another operator may be used; IoT SIM cards mostly need it."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        for key, text in (("user", self.user), ("password", self.password)):
            # What mmcli takes between quotation marks.
            if text is not None and not re.fullmatch(r"[ !#-&(-+\--\[\]-~]{1,100}", str(text)):
                yield key, "must have 1 to 100 ASCII characters without quotation marks, comma and backslash"
        if self.password is not None and self.user is None:
            yield "user", "is needed with a password"
        if self.pin is not None and not re.fullmatch(r"[0-9]{4,8}", str(self.pin)):
            yield "pin", "must have 4 to 8 digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The whole file."""

    system: System = setting(factory=System, text="The machine.")
    admin: Admin = setting(factory=Admin, text="The user admin.")
    ethernet: dict[str, Ethernet] = setting(factory=dict, text="Ethernet interfaces by name: eth0 ...")
    wifi: tuple[Wifi, ...] = setting((), text="Wireless networks.")
    cellular: Cellular | None = setting(None, text="A cellular modem.")
    country: str | None = setting(
        None, text="Where it stands: which radio channels are allowed.", check=_country_problem
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        for name in self.ethernet:
            if not _INTERFACE.fullmatch(name):
                yield f"ethernet.{name}", "must be the name of an interface such as eth0"
        if self.wifi and self.country is None:
            yield "country", 'is needed for wifi: which channels may be used differs; for example "DE"'
        seen: set[str] = set()
        for index, one in enumerate(self.wifi):
            if one.ssid in seen:
                yield f"wifi[{index}].ssid", "is there twice"
            seen.add(one.ssid)
