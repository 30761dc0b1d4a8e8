"""A connection of the modem as a file of systemd-networkd, which sets it up like any other interface. Pure."""

from __future__ import annotations

from typing import Final

from gateway.appliance.cellular.modem import Address, Bearer

METRIC: Final = 700
"""Of its routes: Ethernet (100) and Wi-Fi (600) go first while they have a carrier."""

DOWN: Final = "[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\n[Link]\nActivationPolicy=down\n"


def problem(bearer: Bearer) -> str | None:
    """Why a connection cannot be used here."""
    if not bearer.interface:
        return "the modem says no network interface"
    methods = {bearer.ipv4.method, bearer.ipv6.method}
    if methods <= {"", "ppp"}:
        return (
            "the modem speaks only PPP, which is not supported: it needs a mode of its own interface (QMI, MBIM, NCM)"
        )
    return None


def network(bearer: Bearer) -> str:
    """Text of its ``.network`` file, see systemd.network(5)."""
    v4, v6 = bearer.ipv4, bearer.ipv6
    lines = ["LinkLocalAddressing=ipv6" if v6.method else "LinkLocalAddressing=no"]
    lines.append(f"IPv6AcceptRA={'yes' if v6.method == 'dhcp' else 'no'}")
    lines += ["DHCP=ipv4"] if v4.method == "dhcp" else []
    for one in (v4, v6):
        if one.method == "static":
            lines.append(f"Address={one.address}")
        lines += [f"DNS={server}" for server in one.dns]
    routes = [route for one in (v4, v6) for route in _route(one)]
    mtu = [f"MTUBytes={size}" for size in sorted({one.mtu for one in (v4, v6) if one.mtu})[:1]]
    parts = (
        ["[Match]", f"Name={bearer.interface}", "", "[Network]"], lines, routes,
        *((["", "[Link]", *mtu],) if mtu else ()),
        ["", "[DHCPv4]", f"RouteMetric={METRIC}", "", "[IPv6AcceptRA]", f"RouteMetric={METRIC}", ""],
    )  # fmt: skip
    return "\n".join(line for part in parts for line in part)


def down(interface: str) -> str:
    """Text of the file of an interface that has no connection: it keeps no address and no route."""
    return f"[Match]\nName={interface}\n\n{DOWN}"


def _route(one: Address) -> list[str]:
    if one.method != "static":
        return []
    lines = ["", "[Route]", f"Metric={METRIC}"]
    if one.gateway:
        # Operators give addresses whose gateway is in no network of theirs.
        return [*lines, f"Gateway={one.gateway}", "GatewayOnLink=yes"]
    return [*lines, f"Destination={'::/0' if ':' in one.address else '0.0.0.0/0'}"]
