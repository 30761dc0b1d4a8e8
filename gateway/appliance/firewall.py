"""What the network may reach of this machine: exactly what the settings say others shall reach. Pure: texts only.

nftables rules (nft(8)) that drop all that comes in but answers, ICMP, DHCP, mDNS, ssh when somebody may log in, and the
listeners that are not bound to this machine itself. And the names under which mDNS announces them
(systemd.dnssd(5), RFC 6763).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from gateway.config.settings import Device, Listener

TABLE: Final = "gateway"

SERVICES: Final = {"mqtt": "_mqtt._tcp", "coap": "_coap._udp", "opcua": "_opcua-tcp._tcp"}
"""Names of kinds of listeners at IANA. With TLS: ``_secure-mqtt._tcp``."""

SECURE: Final = {"mqtt": "_secure-mqtt._tcp", "coap": "_coaps._udp"}

UNASKED: Final = ("bacnet", "coap", "coaps")
"""Kinds of devices that notify by UDP."""

_RULES: Final = """\
# Written by gateway firewall from the settings of the gateway; not by hand.
table inet {table}
delete table inet {table}
table inet {table} {{
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        iif "lo" accept
        icmp type echo-request limit rate 10/second accept
        icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
        icmpv6 type echo-request limit rate 10/second accept
        icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
        icmpv6 type {{ nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query }} accept
        meta l4proto igmp accept comment "membership: mDNS behind switches that look at it"
        udp dport {{ 68, 546 }} accept comment "DHCP"
        udp dport 5353 accept comment "mDNS"
{openings}    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
    }}
}}
"""


class Opening(NamedTuple):
    """A port that others may reach. ``host``: the address that it is bound to; "" for all, or for a name."""

    name: str
    kind: str
    protocol: str
    host: str
    port: int
    secure: bool


def openings(listeners: Mapping[str, Listener], kinds: Mapping[str, str]) -> list[Opening]:
    """Those of the listeners; ``kinds``: the kind of each, by its name. A port chosen at start is not opened."""
    found = []
    for name, listener in listeners.items():
        address = listener.address
        if address.path or address.is_loopback or not address.port:
            continue
        protocol = "udp" if listener.is_datagram else "tcp"
        secure = listener.tls is not None or bool(getattr(listener, "psk", None))
        found.append(Opening(name, kinds.get(name, ""), protocol, _one_address(address.host), address.port, secure))
    return found


def _one_address(host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if ip.is_unspecified else str(ip)


def _family(address: str) -> str:
    """The word of nft for the protocol of this address."""
    return "ip6" if ":" in address else "ip"


def _comment(section: str, name: str) -> str:
    """Names may hold what ends a text of nft, which takes 128 bytes."""
    return f"{section}.{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:60]}"


def talkers(devices: Mapping[str, Device]) -> list[tuple[str, str]]:
    """Devices that send by UDP without having been asked just now, by name, with their addresses: what they notify of
    comes after longer silences than the kernel remembers, and the answer to a broadcast is no answer in its eyes. One
    that is known by a host name is not among them."""
    found = []
    for name, device in devices.items():
        url = urlsplit(str(getattr(device, "url", "")))
        if url.scheme in UNASKED and url.hostname is not None and (host := _one_address(url.hostname)):
            found.append((name, host))
    return found


def rules(opened: Iterable[Opening], ssh: bool, devices: Iterable[tuple[str, str]] = ()) -> str:
    """Input of ``nft -f``: all of the table anew, in one transaction. ``devices``: see ``talkers``."""
    lines = ['tcp dport 22 accept comment "ssh"'] if ssh else []
    for one in opened:
        to = f"{_family(one.host)} daddr {one.host} " if one.host else ""
        lines.append(f'{to}{one.protocol} dport {one.port} accept comment "{_comment("listener", one.name)}"')
    for name, host in devices:
        lines.append(f'{_family(host)} saddr {host} meta l4proto udp accept comment "{_comment("device", name)}"')
    return _RULES.format(table=TABLE, openings="".join(f"        {line}\n" for line in lines))


def announcements(opened: Iterable[Opening]) -> dict[str, str]:
    """Files of a folder ``dnssd`` by name. ``%H`` is the host name there."""
    files = {}
    for one in opened:
        kind = (SECURE if one.secure else SERVICES).get(one.kind)
        if kind is not None:
            text = f"[Service]\nName=%H {one.name}\nType={kind}\nPort={one.port}\n"
            files[f"gateway-{one.name}.dnssd"] = text
    return files
