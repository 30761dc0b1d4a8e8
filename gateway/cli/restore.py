"""``gateway restore``: what ``gateway backup`` has taken, put back while no gateway runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gateway.cli.where import finish
from gateway.control import NotRunning, ask
from gateway.errors import GatewayError


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("restore", help="put a backup back; no gateway may run")
    parser.add_argument("file", type=Path, help="archive of gateway backup")
    parser.add_argument(
        "--replace", action="store_true", help="what is there goes, and is kept beside as NAME.replaced"
    )
    finish(parser, run)


def run(args: argparse.Namespace) -> int:
    """0 when settings and state are those of the backup."""
    from gateway.appliance.backup import restore
    from gateway.config.find import SYSTEM
    from gateway.state import SYSTEM as STATE

    settings = Path(args.config) if args.config else SYSTEM
    # The settings that are there may be what is to be replaced: they are not asked where the state is.
    state = Path(args.state) if args.state else STATE
    try:
        ask(state, "status")
    except NotRunning:
        pass
    else:
        raise GatewayError(f"a gateway runs with the state in {state}; stop it first: systemctl stop gateway")
    note = restore(args.file, settings, state, args.replace)
    print(
        json.dumps(note)
        if args.json
        else f"restored: {note['time']}, gateway {note['version']}; look at it with gateway check"
    )
    return 0
