"""``gateway stream``: the streams of the running gateway."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from gateway.cli.queue_words import PATIENCE, add_export, add_info, add_list, add_seek, add_word, pages
from gateway.cli.where import state_of
from gateway.control import ask

PLACE: Final = "$stream"


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("stream", help="list, read, seek and export streams")
    words = parser.add_subparsers(metavar="WORD", required=True)
    add_list(words, PLACE, "streams")
    add_info(words, PLACE)
    read = add_word(words, "read", "print messages; no consumer group takes notice", run_read, PLACE)
    read.add_argument(
        "--from",
        dest="start",
        default="first",
        metavar="WHERE",
        help="first, last, next, an offset, or time=SECONDS or time=2026-11-25T12:00:00Z (first)",
    )
    read.add_argument("-n", dest="count", type=int, metavar="COUNT", help="no more than so many")
    read.add_argument("--follow", action="store_true", help="go on with what comes, until you have seen enough")
    add_seek(words, PLACE)
    add_export(words, PLACE)


def run_read(args: argparse.Namespace) -> int:
    """One message a line."""
    state = state_of(args)
    left = args.count
    after = 0
    for page in pages(state, args, start=args.start, count=left):
        _show(page["entries"], args.json)
        after = page["next"]
        left = None if left is None else left - len(page["entries"])
    while args.follow and (left is None or left > 0):
        limit = {} if left is None else {"limit": min(left, 200)}
        page = ask(state, "queue-entries", PATIENCE, place=PLACE, name=args.name, after=after, wait=True, **limit)
        _show(page["entries"], args.json)
        after = page["next"]
        left = None if left is None else left - len(page["entries"])
    return 0


def _show(entries: list[dict[str, Any]], is_json: bool) -> None:
    for entry in entries:
        if is_json:
            line = json.dumps(entry, ensure_ascii=False)
        else:
            text = entry.get("payload")
            # A payload must not move the cursor of whoever looks at it.
            text = f"base64:{entry['payload_base64']}" if text is None else text if text.isprintable() else repr(text)
            line = f"{entry['offset']}  {entry['time']}  {entry['topic']}  {text}"
        print(line, flush=True)
