"""``gateway dlq``: the dead letters of the running gateway, to look at, to try again, or to let go."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from gateway.cli.progress import Progress
from gateway.cli.queue_words import PATIENCE, add_export, add_list, add_peek, add_purge, add_word
from gateway.cli.sure import add_yes, is_sure
from gateway.cli.where import state_of
from gateway.control import ask

PLACE: Final = "$dlq"


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("dlq", help="list, look into, replay, purge and export dead letters")
    words = parser.add_subparsers(metavar="WORD", required=True)
    add_list(words, PLACE, "dead letter queues")
    add_peek(words, PLACE)
    replay = add_word(words, "replay", "put dead letters back into their queues, as they were", run_replay, PLACE)
    replay.add_argument("ids", metavar="OFFSET", type=int, nargs="*", help="which ones, as peek shows them")
    replay.add_argument("--all", action="store_true", help="every one that is there")
    replay.add_argument("--to", metavar="QUEUE", help="into this queue instead")
    add_yes(replay)
    add_purge(words, PLACE)
    add_export(words, PLACE)


def run_replay(args: argparse.Namespace) -> int:
    """Exit 1 when one of them stayed where it was."""
    if bool(args.ids) == args.all:
        print("gateway: say which dead letters: their offsets, or --all", file=sys.stderr)
        return 2
    state = state_of(args)
    info = ask(state, "queue", PATIENCE, place=PLACE, name=args.name)
    count = len(args.ids) or info["depth"]
    where = f"queue {args.to}" if args.to else "their queues"
    if not is_sure(args, f"{count} dead letters of {info['address']} will go back into {where}"):
        return 1
    replayed: int = 0
    failed: dict[str, str] = {}
    progress = Progress("replayed")
    try:
        for asked in _steps(args.ids, info["last"]):
            more = True
            while more:
                step = ask(state, "queue-replay", PATIENCE, place=PLACE, name=args.name, to=args.to, **asked)
                replayed += step["replayed"]
                failed |= step["failed"]
                more = step["more"]
                asked = {**asked, "after": step["next"]}
                progress.show(replayed, count)
    finally:
        progress.end()
    if args.json:
        print(json.dumps({"replayed": replayed, "failed": failed}))
    else:
        print(f"{replayed} dead letters were replayed")
        for offset, why in failed.items():
            print(f"{args.name}:{offset} stays: {why}", file=sys.stderr)
    return 1 if failed else 0


def _steps(ids: list[int], last: int) -> list[dict[str, Any]]:
    """What to ask for: a hundred ids at a time, or everything up to what is there."""
    if not ids:
        return [{"up_to": last}]
    return [{"ids": ids[at : at + 100]} for at in range(0, len(ids), 100)]
