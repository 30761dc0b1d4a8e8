"""What ModemManager knows of a modem, read from what its ``mmcli --output-json`` prints. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.errors import GatewayError

NONE: Final = "--"
"""What mmcli prints for what is not there."""


class Modem(NamedTuple):
    """path        in ModemManager, for its commands
    state       as ``MMModemState``: failed, locked, disabled, enabled, searching, registered, connecting, connected ...
    failure     why it is ``failed``, as ``MMModemStateFailedReason``
    lock        what must be unlocked, as ``MMModemLock``: sim-pin, sim-puk ...
    pin_tries   attempts at the PIN that are left; None when the modem does not say
    sim         path of the SIM card
    bearers     paths of its connections
    operator    name of the network, or its number
    technology  lte, umts ...
    signal      0 to 100; None when it does not say
    roams       whether the network is not that of the SIM card
    """

    path: str
    state: str
    failure: str = ""
    lock: str = ""
    pin_tries: int | None = None
    sim: str = ""
    bearers: tuple[str, ...] = ()
    operator: str = ""
    technology: str = ""
    signal: int | None = None
    roams: bool = False


class Address(NamedTuple):
    """How one version of IP is to be set up. ``method``: static, dhcp, ppp; "" for not at all. ``address`` has the
    length of its network behind it."""

    method: str
    address: str = ""
    gateway: str = ""
    dns: tuple[str, ...] = ()
    mtu: int | None = None


class Bearer(NamedTuple):
    """A connection to the network of the operator. ``interface``: of this machine, such as wwan0."""

    connected: bool
    interface: str
    ipv4: Address
    ipv6: Address


def modems(text: str) -> list[str]:
    """Paths of the modems, of ``mmcli --list-modems``. Raises GatewayError when it is no such output."""
    return _texts(_read(text, "modem-list"))


def modem(path: str, text: str) -> Modem:
    """Of ``mmcli --modem``. Raises GatewayError when it is no such output."""
    found = _table(_read(text, "modem"))
    generic, cell = _table(found.get("generic")), _table(found.get("3gpp"))
    tries = re.search(r"sim-pin \((\d+)\)", " ".join(_texts(generic.get("unlock-retries"))))
    signal = _text(_table(generic.get("signal-quality")).get("value"))
    return Modem(
        path,
        _text(generic.get("state")),
        _text(generic.get("state-failed-reason")),
        _text(generic.get("unlock-required")),
        int(tries[1]) if tries else None,
        _text(generic.get("sim")),
        tuple(_texts(generic.get("bearers"))),
        _text(cell.get("operator-name")) or _text(cell.get("operator-code")),
        ", ".join(_texts(generic.get("access-technologies"))),
        int(signal) if signal.isdecimal() else None,
        _text(cell.get("registration-state")) == "roaming",
    )


def bearer(text: str) -> Bearer:
    """Of ``mmcli --bearer``. Raises GatewayError when it is no such output."""
    found = _table(_read(text, "bearer"))
    status = _table(found.get("status"))
    return Bearer(
        _text(status.get("connected")) == "yes",
        _text(status.get("interface")),
        _address(_table(found.get("ipv4-config"))),
        _address(_table(found.get("ipv6-config"))),
    )


def _address(config: Mapping[str, Any]) -> Address:
    method, address, prefix, mtu = (_text(config.get(key)) for key in ("method", "address", "prefix", "mtu"))
    if method in ("", "unknown"):
        return Address("")
    whole = f"{address}/{prefix}" if address and prefix else address
    dns = tuple(server for server in _texts(config.get("dns")) if server)
    return Address(method, whole, _text(config.get("gateway")), dns, int(mtu) if mtu.isdecimal() and int(mtu) else None)


def _read(text: str, key: str) -> Any:
    try:
        return json.loads(text)[key]
    except (ValueError, KeyError, TypeError):
        raise GatewayError(f"mmcli printed no {key}: {text[:200]!r}") from None


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value != NONE else ""


def _texts(value: Any) -> list[str]:
    return [text for one in value if (text := _text(one))] if isinstance(value, list) else []
