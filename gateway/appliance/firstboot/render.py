"""``network.toml`` as files of the services that act on it: systemd-networkd, iwd, sshd, and our own for the modem.

Pure: texts, no files.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from gateway.appliance.firstboot.settings import Cellular, Ethernet, Network, Wifi

NOTE: Final = "# From network.toml; written anew when that is taken over.\n"


class Written(NamedTuple):
    """A file below the root. ``mode``: its permissions."""

    path: str
    text: str
    mode: int = 0o644


KEYS: Final = "etc/ssh/keys/authorized_keys"

CELLULAR: Final = "data/system/cellular.toml"

FOLDERS: Final = ("etc/systemd/network", "etc/iwd", "var/lib/iwd", "data/system")
"""Folders in which nothing is left of an earlier file."""


def render(network: Network) -> list[Written]:
    """The files that a ``network.toml`` stands for, except host name, zone and password (``take``)."""
    files = [_ethernet(name, interface) for name, interface in sorted(network.ethernet.items())]
    files += [_wifi(one) for one in network.wifi]
    if network.country is not None:
        files.append(Written("etc/iwd/main.conf", f"{NOTE}[General]\nCountry={network.country}\n"))
    if network.cellular is not None:
        files.append(_cellular(network.cellular))
    if network.system.ssh_keys:
        files.append(Written(KEYS, "\n".join((*network.system.ssh_keys, "")), 0o600))
    return files


def _ethernet(name: str, interface: Ethernet) -> Written:
    lines = [NOTE + "[Match]", f"Name={name}", "", "[Network]", "MulticastDNS=yes"]
    lines.append("DHCP=yes" if interface.address is None else f"Address={interface.address}")
    if interface.gateway is not None:
        lines.append(f"Gateway={interface.gateway}")
    lines += [f"DNS={server}" for server in interface.dns]
    lines += [f"NTP={server}" for server in interface.ntp]
    lines += ["", "[DHCPv4]", "RouteMetric=100", ""]
    # Sorts before what the image has for every interface.
    return Written(f"etc/systemd/network/70-{name}.network", "\n".join(lines))


def _wifi(one: Wifi) -> Written:
    # iwd.network(5): a name of other characters stands in hexadecimal behind "=".
    plain = re.fullmatch(r"[A-Za-z0-9 _-]+", one.ssid)
    stem = one.ssid if plain else "=" + one.ssid.encode().hex()
    settings = f"[Settings]\nAutoConnect=true\n{'Hidden=true' if one.hidden else 'Hidden=false'}\n"
    if one.password is None:
        return Written(f"var/lib/iwd/{stem}.open", NOTE + settings, 0o600)
    secret = str(one.password).replace("\\", "\\\\")
    if secret.startswith(" "):
        secret = "\\s" + secret[1:]
    return Written(f"var/lib/iwd/{stem}.psk", f"{NOTE}[Security]\nPassphrase={secret}\n{settings}", 0o600)


def _cellular(modem: Cellular) -> Written:
    texts = {"apn": modem.apn, "user": modem.user, "password": modem.password, "pin": modem.pin}
    # A string of JSON is one of TOML.
    lines = [f"{key} = {json.dumps(str(text))}\n" for key, text in texts.items() if text is not None]
    return Written(CELLULAR, f"{NOTE}{''.join(lines)}roaming = {json.dumps(modem.roaming)}\n", 0o600)
