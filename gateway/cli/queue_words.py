"""What ``gateway queue``, ``stream`` and ``dlq`` have in common: their words, and how they show what they find."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from gateway.cli.progress import Progress
from gateway.cli.session import table
from gateway.cli.sure import add_yes, is_sure
from gateway.cli.where import finish, state_of
from gateway.control import ask

PATIENCE: Final = 30.0
"""Seconds for an answer: a card may take that long to commit two thousand deletions."""

COLUMNS: Final = ("name", "kind", "depth", "bytes", "oldest_age", "pending", "consumers", "groups", "lag")
GROUP_COLUMNS: Final = ("id", "consumers", "cursor", "lag", "pending", "waiting")
ENTRY_COLUMNS: Final = ("offset", "time", "topic", "key", "payload", "state")

SHOWN: Final = 60
"""Characters of a payload in a table."""

Run = Callable[[argparse.Namespace], int]


def add_word(words: Any, word: str, text: str, run: Run, place: str, is_named: bool = True) -> argparse.ArgumentParser:
    """One word of a command, with what all of them take."""
    parser: argparse.ArgumentParser = words.add_parser(word, help=text)
    if is_named:
        parser.add_argument("name", metavar="NAME", help="as in the settings")
    finish(parser, run, place=place)
    return parser


def add_list(words: Any, place: str, what: str) -> None:
    """``list``"""
    add_word(words, "list", f"all {what} with their size and how far their groups are", run_list, place, False)


def add_info(words: Any, place: str) -> None:
    """``info``"""
    add_word(words, "info", "everything about one: sizes, groups, settings", run_info, place)


def add_peek(words: Any, place: str) -> None:
    """``peek``"""
    peek = add_word(words, "peek", "the oldest messages; nothing changes for consumers", run_peek, place)
    peek.add_argument("-n", dest="count", type=int, default=10, metavar="COUNT", help="how many (10)")
    peek.add_argument(
        "--from", dest="start", default="first", metavar="WHERE", help="first, last, an offset, or time=..."
    )


def add_export(words: Any, place: str) -> None:
    """``export``"""
    add_word(words, "export", "all messages as JSON lines; they stay where they are", run_export, place)


def add_seek(words: Any, place: str) -> None:
    """``seek``"""
    seek = add_word(words, "seek", "let a consumer group go on somewhere else", run_seek, place)
    seek.add_argument("group", metavar="GROUP", help="its id, as info shows it, or its name")
    seek.add_argument("start", metavar="WHERE", help="first, last, next, an offset, or time=...")
    add_yes(seek)


def add_purge(words: Any, place: str) -> None:
    """``purge``"""
    purge = add_word(words, "purge", "let all messages go; nobody will get them", run_purge, place)
    add_yes(purge)


# -- what they do --------------------------------------------------------------------------------------------------


def run_list(args: argparse.Namespace) -> int:
    found = ask(state_of(args), "queues", PATIENCE, place=args.place)
    print(json.dumps(found, indent=2) if args.json else "\n".join(table([_brief(one) for one in found], COLUMNS)))
    return 0


def _brief(status: dict[str, Any]) -> dict[str, Any]:
    groups = status["groups"]
    age = status["oldest_age"]
    lag = max((group["lag"] for group in groups), default=None)
    kind = f"{status['kind']} in memory" if status["ephemeral"] else status["kind"]
    return {
        **status,
        "kind": kind,
        "groups": len(groups),
        "lag": lag,
        "oldest_age": None if age is None else f"{age:.0f} s",
    }


def run_info(args: argparse.Namespace) -> int:
    found = ask(state_of(args), "queue", PATIENCE, place=args.place, name=args.name)
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    groups, settings = found.pop("groups"), found.pop("settings")
    rows = [{"key": key, "value": value} for key, value in found.items()]
    print("\n".join(table(rows, ("key", "value"))[1:]))
    if groups:
        print("\n".join(table(groups, GROUP_COLUMNS)))
    print("settings")
    print(
        "\n".join(table([{"key": f"  {key}", "value": value} for key, value in settings.items()], ("key", "value"))[1:])
    )
    return 0


def run_peek(args: argparse.Namespace) -> int:
    """A table for people, JSON lines for programs."""
    rows: list[dict[str, Any]] = []
    for page in pages(state_of(args), args, start=args.start, count=args.count):
        rows += page["entries"]
    if args.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        print("\n".join(table([shown(row) for row in rows], ENTRY_COLUMNS)))
    return 0


def shown(entry: dict[str, Any]) -> dict[str, Any]:
    """One message as a row of a table."""
    payload = entry.get("payload")
    text = payload if payload is not None else f"base64:{entry['payload_base64']}"
    states = [f"{group}: {one['state']}, {one['deliveries']}x" for group, one in entry.get("groups", {}).items()]
    cut = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return {**entry, "payload": cut, "state": "; ".join(states) or None}


def run_export(args: argparse.Namespace) -> int:
    """Up to what was there when it began."""
    state = state_of(args)
    progress = Progress("exported", is_shown=sys.stderr.isatty() and not sys.stdout.isatty())
    info = ask(state, "queue", PATIENCE, place=args.place, name=args.name)
    count = 0
    try:
        for page in pages(state, args, up_to=info["last"]):
            for entry in page["entries"]:
                print(json.dumps(entry, ensure_ascii=False))
            count += len(page["entries"])
            progress.show(count, info["depth"])
    finally:
        progress.end()
    return 0


def pages(
    state: Path, args: argparse.Namespace, start: str = "first", count: int | None = None, up_to: int | None = None
) -> Iterator[dict[str, Any]]:
    """Messages from ``start`` on, page by page: ``count`` of them, or up to an offset, or to the newest."""
    asked: dict[str, Any] = {"start": start}
    while count is None or count > 0:
        limit = {} if count is None else {"limit": min(count, 200)}
        page = ask(state, "queue-entries", PATIENCE, place=args.place, name=args.name, **asked, **limit)
        end = page["last"] if up_to is None else up_to
        page["entries"] = [entry for entry in page["entries"] if entry["offset"] <= end]
        yield page
        if count is not None:
            count -= len(page["entries"])
        if page["next"] >= end:
            return
        asked = {"after": page["next"]}


def run_seek(args: argparse.Namespace) -> int:
    """Forward, messages are passed over that nobody will get; back, some come again."""
    if not is_sure(args, f"group {args.group} of {args.place}/{args.name} will go on at {args.start}"):
        return 1
    found = ask(
        state_of(args), "queue-seek", PATIENCE, place=args.place, name=args.name, group=args.group, start=args.start
    )
    print(json.dumps(found) if args.json else f"{found['group']} goes on behind offset {found['cursor']}")
    return 0


def run_purge(args: argparse.Namespace) -> int:
    """What was there when it began; what comes meanwhile stays."""
    state = state_of(args)
    info = ask(state, "queue", PATIENCE, place=args.place, name=args.name)
    if not is_sure(args, f"{info['depth']} messages ({info['bytes']} bytes) of {info['address']} will be lost"):
        return 1
    progress = Progress("purged")
    purged, more = 0, True
    try:
        while more:
            step = ask(state, "queue-purge", PATIENCE, place=args.place, name=args.name, up_to=info["last"])
            purged += step["purged"]
            more = step["more"]
            progress.show(purged, info["depth"])
    finally:
        progress.end()
    print(json.dumps({"purged": purged}) if args.json else f"{purged} messages were purged")
    return 0
