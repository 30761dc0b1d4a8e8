"""``gateway outbox dead``: rows that a cloud will not take, to look at, to export, to send again, or to let go."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gateway.cli.progress import Progress
from gateway.cli.session import table
from gateway.cli.sure import add_yes, is_sure
from gateway.cli.where import finish, state_of
from gateway.control import ask
from gateway.errors import GatewayError

TOTAL_COLUMNS: Final = ("uplink", "letters", "bytes", "oldest", "newest", "max_count", "max_bytes")
COLUMNS: Final = ("id", "failed", "topic", "bytes", "tries", "reason", "error")

PATIENCE: Final = 60.0
"""Seconds for an answer: what is sent again waits for the disk."""


def register(words: Any) -> None:
    """Add the word ``dead`` and its own words."""
    parser = words.add_parser("dead", help="rows that a cloud will not take")
    inner = parser.add_subparsers(metavar="WORD", required=True)

    finish(inner.add_parser("list", help="how many each uplink has"), run_list)

    peek = inner.add_parser("peek", help="the oldest ones; they stay")
    peek.add_argument("uplink", metavar="UPLINK")
    peek.add_argument("--count", metavar="N", type=int, default=20, help="so many (20; at most 100)")
    finish(peek, run_peek)

    export = inner.add_parser("export", help="all of them as JSON lines; they stay")
    export.add_argument("uplink", metavar="UPLINK")
    export.add_argument("--output", metavar="FILE", help="default: standard output")
    finish(export, run_export)

    send = inner.add_parser("send", help="put them back into the outbox, for this uplink only")
    send.add_argument("uplink", metavar="UPLINK")
    send.add_argument("ids", metavar="ID", type=int, nargs="*", help="which ones, as peek shows them")
    send.add_argument("--all", action="store_true", help="every one that is there")
    finish(send, run_send)

    purge = inner.add_parser("purge", help="delete all that an uplink has")
    purge.add_argument("uplink", metavar="UPLINK")
    add_yes(purge)
    finish(purge, run_purge)


def run_list(args: argparse.Namespace) -> int:
    totals = ask(state_of(args), "dead", PATIENCE)
    print(json.dumps(totals, indent=2) if args.json else "\n".join(table(totals, TOTAL_COLUMNS)))
    return 0


def run_peek(args: argparse.Namespace) -> int:
    letters = ask(state_of(args), "dead-peek", PATIENCE, uplink=args.uplink, limit=args.count)["letters"]
    print(json.dumps(letters, indent=2, ensure_ascii=False) if args.json else "\n".join(table(letters, COLUMNS)))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """JSON lines with and without ``--json``."""
    with Path(args.output).open("w") if args.output else contextlib.nullcontext(sys.stdout) as out:
        for letter in _all(state_of(args), args.uplink):
            out.write(json.dumps(letter, ensure_ascii=False) + "\n")
    return 0


def run_send(args: argparse.Namespace) -> int:
    """Exit 1 when one of them stayed where it was."""
    if bool(args.ids) == args.all:
        print("gateway: say which dead letters: their ids, or --all", file=sys.stderr)
        return 2
    state = state_of(args)
    # All ids first: a letter that is refused again while this runs comes back under another id.
    ids = args.ids or [letter["id"] for letter in _all(state, args.uplink)]
    sent, failed = 0, {}
    progress = Progress("sent again")
    for number, id in enumerate(ids, 1):
        try:
            ask(state, "dead-send", PATIENCE, uplink=args.uplink, id=id)
            sent += 1
        except GatewayError as error:
            failed[id] = str(error)
        progress.show(number, len(ids))
    progress.end()
    if args.json:
        print(json.dumps({"sent": sent, "failed": failed}))
    else:
        print(f"{sent} dead letters are in the outbox again")
        for id, why in failed.items():
            print(f"{id} stays: {why}", file=sys.stderr)
    return 1 if failed else 0


def run_purge(args: argparse.Namespace) -> int:
    state = state_of(args)
    totals = {total["uplink"]: total["letters"] for total in ask(state, "dead", PATIENCE)}
    if not is_sure(args, f"{totals.get(args.uplink, 0)} dead letters of the uplink {args.uplink!r} will be lost"):
        return 1
    purged, more = 0, True
    while more:
        answer = ask(state, "dead-purge", PATIENCE, uplink=args.uplink)
        purged, more = purged + answer["purged"], answer["more"]
    print(json.dumps({"purged": purged}) if args.json else f"{purged} dead letters were purged")
    return 0


def _all(state: Path, uplink: str) -> Iterator[dict[str, Any]]:
    after = 0
    while after is not None:
        page = ask(state, "dead-peek", PATIENCE, uplink=uplink, after=after)
        yield from page["letters"]
        after = page["next"]
