"""``gateway store``: look for damage in the database, see what was salvaged, and say that it was seen."""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from gateway.cli.where import finish, state_of
from gateway.control import NotRunning, ask
from gateway.errors import GatewayError
from gateway.store.errors import Damaged
from gateway.store.opening import look_for_damage
from gateway.store.quarantine import Quarantine


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("store", help="check the database; damaged ones that were replaced")
    words = parser.add_subparsers(metavar="WORD", required=True)

    check = words.add_parser("check", help="look for damage; the gateway may run meanwhile. Ends with 1 when there is")
    check.add_argument("--full", action="store_true", help="also compare every index with its table; takes longer")
    finish(check, run_check)

    quarantine = words.add_parser("quarantine", help="damaged databases that were replaced, and what was saved")
    finish(quarantine, run_quarantine)

    acknowledge = words.add_parser("acknowledge", help="the damaged databases were seen: end the alarm")
    finish(acknowledge, run_acknowledge)


def _database(args: argparse.Namespace) -> Path:
    return state_of(args) / "gateway.db"


def run_check(args: argparse.Namespace) -> int:
    path = _database(args)
    if not path.exists():
        raise GatewayError(f"{path}: there is no database; is this the state folder? set --state or --config")
    began = time.monotonic()
    problem = None
    try:
        look_for_damage(path, thorough=args.full)
    except Damaged as damaged:
        problem = damaged.problem
    except sqlite3.Error as error:
        raise GatewayError(f"{path}: cannot be looked at: {error}; run it as the gateway's user") from None
    except OSError as error:
        raise GatewayError(f"{path}: {error.strerror}; run it as the gateway's user") from None
    result = {
        "path": str(path),
        "ok": problem is None,
        "problem": problem,
        "bytes": path.stat().st_size,
        "seconds": round(time.monotonic() - began, 3),
    }
    if args.json:
        print(json.dumps(result, indent=2))
    elif problem is None:
        print(f"{path}: whole, {result['bytes']} bytes looked at in {result['seconds']} s")
    else:
        print(f"{path}: damaged: {problem}; the next start salvages it, unless store.on_corruption is refuse")
    return 0 if problem is None else 1


def run_quarantine(args: argparse.Namespace) -> int:
    quarantine = Quarantine(_database(args))
    entries = [entry.as_dict() for entry in quarantine.entries()]
    deleted = quarantine.deleted()
    if args.json:
        print(json.dumps({"entries": entries, "deleted": deleted}, indent=2))
        return 0
    for entry in entries:
        seen = "" if entry.get("acknowledged") else "  not acknowledged"
        print(f"{entry['name']}  {entry['bytes']} bytes  {entry.get('problem', 'unfinished')}{seen}")
        for name, table in entry.get("tables", {}).items():
            if any(table.values()):
                print(f"  {name}: {table['saved']} rows saved, {table['lost']} lost, {table['pages']} pages unreadable")
    if not entries:
        print("no database was ever damaged")
    if deleted["count"]:
        print(f"{deleted['count']} older ones were deleted to keep within bounds, the last {deleted['last']}")
    return 0


def run_acknowledge(args: argparse.Namespace) -> int:
    try:
        names = ask(state_of(args), "store-acknowledge")
    except NotRunning:
        try:
            names = Quarantine(_database(args)).acknowledge(time.time())
        except OSError as error:
            raise GatewayError(f"{error.filename}: {error.strerror}; run it as the gateway's user") from None
    print(json.dumps(names) if args.json else "\n".join(names) or "nothing to acknowledge")
    return 0
