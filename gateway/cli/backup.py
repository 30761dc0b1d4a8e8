"""``gateway backup``: settings and state in one file, while the gateway runs."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from gateway.cli.where import finish, state_of
from gateway.config.find import EMBEDDED, find_settings
from gateway.errors import GatewayError


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("backup", help="settings and state in one file, while the gateway runs")
    parser.add_argument("file", type=Path, help="archive to write (.tar.gz); it holds secrets")
    finish(parser, run)


def run(args: argparse.Namespace) -> int:
    """0 when the archive is there."""
    from gateway.appliance.backup import back_up

    settings = find_settings(args.config, os.environ)
    if settings == EMBEDDED:
        raise GatewayError("there are no settings to back up; --config names them")
    made = back_up(settings, state_of(args), args.file)
    print(json.dumps(made) if args.json else f"{made['file']}: {made['bytes']} bytes, of {made['time']}; keep it safe")
    return 0
