"""``gateway cellular``: the modem of the appliance: what it does, and the service that keeps it connected."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from gateway.cli.where import add_machine


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("cellular", help="the cellular modem of the appliance")
    words = parser.add_subparsers(metavar="WHAT", required=True)
    status = words.add_parser("status", help="what the modem does, and why it is not connected")
    status.add_argument("--json", action="store_true", help="JSON instead of text")
    add_machine(status)
    status.set_defaults(run=_status)
    keep = words.add_parser("keep", help="keep it connected, as network.toml says; gateway-cellular.service does that")
    add_machine(keep)
    keep.set_defaults(run=_keep)


def _status(args: argparse.Namespace) -> int:
    """0 when it is connected, 1 when not."""
    from gateway.appliance.cellular.keeper import STATUS
    from gateway.errors import GatewayError

    path: Path = args.machine / STATUS
    try:
        state = json.loads(path.read_text())
    except (OSError, ValueError):
        raise GatewayError(
            "nothing looks after a modem: is there a table [cellular] in network.toml? "
            "`systemctl status gateway-cellular` says whether the service runs (docs/network.md)"
        ) from None
    is_connected = state["state"] == "connected" and state["interface"] is not None
    if args.json:
        print(json.dumps(state))
        return 0 if is_connected else 1
    print(f"{state['state']}: {state['words']}")
    for name, key in (("network", "operator"), ("technology", "technology"), ("interface", "interface")):
        if state.get(key):
            print(f"{name:12}{state[key]}{' (roaming)' if key == 'operator' and state['roams'] else ''}")
    if state.get("signal") is not None:
        print(f"{'signal':12}{state['signal']} %")
    return 0 if is_connected else 1


def _keep(args: argparse.Namespace) -> int:
    from gateway.appliance.cellular.keeper import keep
    from gateway.appliance.firstboot.render import CELLULAR
    from gateway.appliance.firstboot.settings import Cellular
    from gateway.config.load import read
    from gateway.errors import GatewayError

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = read(args.machine / CELLULAR, Cellular).value
    try:
        keep(args.machine, settings)
    except OSError as error:
        raise GatewayError(f"{error.filename}: {error.strerror}") from error
    return 0
