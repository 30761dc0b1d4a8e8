"""``gateway reset``: the appliance forgets its settings and state."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gateway.cli.where import add_machine


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("reset", help="factory reset of the appliance: forget settings, state and keys")
    parser.add_argument("--factory", action="store_true", required=True, help="what there is to reset to")
    parser.add_argument(
        "--button", action="store_true", help="only if the button of board.reset_gpio is held for 10 s and let go"
    )
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
    if args.button:
        if not _button(machine):
            print(json.dumps({"reset": None}) if args.json else "no button is held")
            return 0
    elif not args.yes:
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


def _button(machine: Path) -> bool:
    from gateway.appliance.gpio import button
    from gateway.appliance.reset_button import is_held, line_of

    line = line_of(machine / "etc/gateway/gateway.toml")
    if line is None:
        return False

    def show() -> None:
        led = machine / "usr/lib/edge-gateway/gateway-led"
        if led.exists():
            subprocess.run([led, "fault"], check=False)

    with button(machine / "dev", line) as found:
        return is_held(found.is_pressed, time.monotonic, time.sleep, show)
