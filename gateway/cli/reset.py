"""``gateway reset``: the appliance forgets its settings and state."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gateway.cli.where import add_machine


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("reset", help="factory reset of the appliance: forget settings, state and keys")
    parser.add_argument("--factory", action="store_true", required=True, help="what there is to reset to")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_machine(parser)
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when the machine restarts to forget, 1 when it must not."""
    from gateway.appliance.firstboot.reset import mark
    from gateway.appliance.restart import restart
    from gateway.errors import GatewayError

    machine: Path = args.machine
    if not (machine / "data").is_dir():
        raise GatewayError(
            f"{machine / 'data'}: is no folder; only the appliance has a factory reset (docs/first-boot.md)"
        )
    if not args.yes:
        if not sys.stdin.isatty():
            raise GatewayError("everything this gateway keeps would be gone; say --yes")
        if input("Settings, state and keys of this gateway will be gone. Type yes: ") != "yes":
            print("nothing was done")
            return 1
    try:
        mark(machine)
    except OSError as error:
        raise GatewayError(f"{error.filename or machine}: {error.strerror}") from error
    restart(machine)
    print(json.dumps({"reset": "at the next start"}) if args.json else "settings and state go at the next start")
    return 0
