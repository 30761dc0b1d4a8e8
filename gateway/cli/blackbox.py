"""``gateway blackbox``: what was recorded around an event."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from gateway.blackbox.files import find, read
from gateway.cli.session import table
from gateway.cli.where import finish, state_of
from gateway.control import ask

COLUMNS: Final = ("name", "messages", "bytes", "recorded", "dropped", "error")


def register(subparsers: Any) -> None:
    """Add the command and its words."""
    parser = subparsers.add_parser("blackbox", help="list, save and show what black boxes have recorded")
    words = parser.add_subparsers(metavar="WORD", required=True)
    finish(words.add_parser("list", help="black boxes and their files"), run_list)
    save = words.add_parser("save", help="save one now, with what comes within its time after")
    save.add_argument("name", metavar="NAME")
    finish(save, run_save)
    show = words.add_parser("show", help="a file as JSON lines; needs no running gateway")
    show.add_argument("file", metavar="FILE", help="its name, NAME/FILE, or a path")
    finish(show, run_show)


def run_list(args: argparse.Namespace) -> int:
    boxes = ask(state_of(args), "blackbox")
    if args.json:
        print(json.dumps(boxes, indent=2))
        return 0
    print("\n".join(table(boxes, COLUMNS)))
    for box in boxes:
        print(*(f"{box['name']}/{name}" for name in box["files"]), sep="\n")
    return 0


def run_save(args: argparse.Namespace) -> int:
    answer = ask(state_of(args), "blackbox-save", name=args.name)
    if args.json:
        print(json.dumps(answer))
    elif answer["begun"]:
        print(f"the file is written in {answer['after']:g} s")
    else:
        print("is being saved already; one file tells of both")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """JSON lines with and without ``--json``."""
    for line in read(find(state_of(args), args.file)):
        print(line)
    return 0
