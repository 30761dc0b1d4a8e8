"""``gateway outbox``: what waits in the running gateway for the clouds."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.cli import dead
from gateway.cli.progress import Progress
from gateway.cli.resend import add_resend
from gateway.cli.session import table
from gateway.cli.sure import add_yes, is_sure
from gateway.cli.where import finish, state_of
from gateway.control import ask

CLASS_COLUMNS: Final = ("class", "rows", "acknowledged", "bytes", "max_bytes", "oldest", "newest", "thinned")
ROW_COLUMNS: Final = ("seq", "time", "topic", "qos", "bytes", "source")
LOST_COLUMNS: Final = ("reason", "count", "first", "last")

PATIENCE: Final = 60.0
"""Seconds for an answer: a page of rows waits for the disk like everything else."""


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("outbox", help="list, show, export, purge and resend what is for the uplinks")
    words = parser.add_subparsers(metavar="WORD", required=True)

    finish(words.add_parser("list", help="the classes of rows, and their room"), run_list)

    info = words.add_parser("info", help="how far an uplink is, and what it will never get")
    info.add_argument("uplink", metavar="UPLINK")
    finish(info, run_info)

    peek = words.add_parser("peek", help="the oldest rows; they stay")
    peek.add_argument("--uplink", metavar="UPLINK", help="only what this one still needs")
    peek.add_argument("--count", metavar="N", type=int, default=20, help="so many (20; at most 500)")
    finish(peek, run_peek)

    export = words.add_parser("export", help="all rows as JSON lines; they stay")
    export.add_argument("--uplink", metavar="UPLINK", help="only what this one still needs")
    export.add_argument("--output", metavar="FILE", help="default: standard output")
    finish(export, run_export)

    purge = words.add_parser("purge", help="give up all that an uplink needs; it will never get it")
    purge.add_argument("uplink", metavar="UPLINK")
    add_yes(purge)
    finish(purge, run_purge)

    dead.register(words)
    add_resend(words)


def run_list(args: argparse.Namespace) -> int:
    classes = ask(state_of(args), "outbox", PATIENCE)
    print(json.dumps(classes, indent=2) if args.json else "\n".join(table(classes, CLASS_COLUMNS)))
    return 0


def run_info(args: argparse.Namespace) -> int:
    info = ask(state_of(args), "outbox-info", PATIENCE, uplink=args.uplink)
    if args.json:
        print(json.dumps(info, indent=2))
        return 0
    print(f"uplink {info['uplink']}: {info['depth']} rows wait, {info['cursor']} is the last that it has")
    account = info["account"]
    print(", ".join(f"{account[name]} {name}" for name in ("produced", "delivered", "thinned", "dropped", "waiting")))
    if info["lost"]:
        print("\n".join(table(info["lost"], LOST_COLUMNS)))
    return 0


def run_peek(args: argparse.Namespace) -> int:
    rows = ask(state_of(args), "outbox-peek", PATIENCE, uplink=args.uplink, limit=args.count)["rows"]
    print(json.dumps(rows, indent=2, ensure_ascii=False) if args.json else "\n".join(table(rows, ROW_COLUMNS)))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """JSON lines with and without ``--json``."""
    state = state_of(args)
    total = sum(one["rows"] for one in ask(state, "outbox", PATIENCE))
    progress, count = Progress("rows exported"), 0
    with Path(args.output).open("w") if args.output else contextlib.nullcontext(sys.stdout) as out:
        for row in _all_rows(state, args.uplink):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
            if count % 1000 == 0:
                progress.show(count, total)
    progress.end()
    return 0


def run_purge(args: argparse.Namespace) -> int:
    state = state_of(args)
    info = ask(state, "outbox-info", PATIENCE, uplink=args.uplink)
    if not is_sure(args, f"{info['depth']} rows for the uplink {args.uplink!r} will be lost"):
        return 1
    progress = Progress("rows purged")
    purged, upto = 0, 0
    while upto is not None:
        answer = ask(state, "outbox-purge", PATIENCE, uplink=args.uplink, upto=upto)
        purged, upto = purged + answer["purged"], answer["next"]
        progress.show(purged, info["depth"])
    progress.end()
    print(json.dumps({"purged": purged}) if args.json else f"{purged} rows were purged")
    return 0


def _all_rows(state: Path, uplink: str | None) -> Iterator[dict[str, Any]]:
    after = 0
    while after is not None:
        page = ask(state, "outbox-peek", PATIENCE, uplink=uplink, after=after)
        yield from page["rows"]
        after = page["next"]
