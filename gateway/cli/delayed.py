"""``gateway delayed``: the messages of the running gateway that wait for their time."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from gateway.cli.session import table
from gateway.cli.sure import add_yes, is_sure
from gateway.cli.where import finish, state_of
from gateway.control import ask

COLUMNS: Final = ("id", "due", "topic", "qos", "retain", "bytes", "source")

PATIENCE: Final = 30.0
"""Seconds for an answer: ten thousand rows and their commit take a card longer than a question does."""


def register(subparsers: Any) -> None:
    """Add the command and its three words."""
    parser = subparsers.add_parser("delayed", help="list, cancel and purge delayed messages")
    words = parser.add_subparsers(metavar="WORD", required=True)

    listing = words.add_parser("list", help="what waits, first due first")
    listing.add_argument("--topic", metavar="FILTER", help="only what goes to topics that match")
    finish(listing, run_list)

    cancel = words.add_parser("cancel", help="take one message out; nobody will get it")
    cancel.add_argument("id", metavar="ID", type=int, help="as the list shows it")
    add_yes(cancel)
    finish(cancel, run_cancel)

    purge = words.add_parser("purge", help="take all out; nobody will get them")
    purge.add_argument("--topic", metavar="FILTER", help="only what goes to topics that match")
    add_yes(purge)
    finish(purge, run_purge)


def run_list(args: argparse.Namespace) -> int:
    waiting = ask(state_of(args), "delayed", PATIENCE, topic=args.topic)
    print(json.dumps(waiting, indent=2) if args.json else "\n".join(table(waiting, COLUMNS)))
    return 0


def run_cancel(args: argparse.Namespace) -> int:
    state = state_of(args)
    if not is_sure(args, f"the delayed message {args.id} will be lost"):
        return 1
    cancelled = ask(state, "delayed-cancel", PATIENCE, id=args.id)
    print(json.dumps(cancelled) if args.json else f"message {cancelled['id']} to {cancelled['topic']!r} was cancelled")
    return 0


def run_purge(args: argparse.Namespace) -> int:
    state = state_of(args)
    waiting = len(ask(state, "delayed", PATIENCE, topic=args.topic)) if not args.yes else 0
    if not is_sure(args, f"{waiting} delayed messages will be lost"):
        return 1
    purged = ask(state, "delayed-purge", PATIENCE, topic=args.topic)
    print(json.dumps(purged) if args.json else f"{purged['purged']} delayed messages were purged")
    return 0
