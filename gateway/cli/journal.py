"""``gateway journal``: the commands that the running gateway was given: when, what, by whom, with which outcome."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from gateway.cli.session import table
from gateway.cli.where import finish, state_of
from gateway.clock import iso_time
from gateway.control import ask

COLUMNS: Final = ("time", "device", "point", "asked", "by", "status", "outcome", "id")


def register(subparsers: Any) -> None:
    """Add the command to the parser of ``gateway``."""
    parser = subparsers.add_parser("journal", help="commands to devices: when, what, by whom, with which outcome")
    parser.add_argument("--device", metavar="NAME", help="only those of this device")
    parser.add_argument("--limit", metavar="N", type=int, default=50, help="the newest N (default: 50)")
    finish(parser, run)


def run(args: argparse.Namespace) -> int:
    """0; with ``--json`` one list, newest first."""
    entries = ask(state_of(args), "journal", device=args.device, limit=args.limit)
    if args.json:
        print(json.dumps(entries, indent=2))
        return 0
    rows = [
        {
            **entry,
            "time": iso_time(entry["time"]),
            "asked": json.dumps(entry["asked"]),
            "outcome": json.dumps(entry["value"]) if "value" in entry else entry.get("reason"),
        }
        for entry in entries
    ]
    print("\n".join(table(rows, COLUMNS)))
    return 0
