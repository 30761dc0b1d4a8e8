"""``gateway why TOPIC``: the path of the last value of a topic, and with ``--watch`` that of the next one."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from gateway.cli.where import finish, state_of
from gateway.cli.why_text import path_text, step_text
from gateway.config.types import WrongValue, read_duration
from gateway.control import ask, follow

PATIENCE: Final = 30.0

MOST: Final = 300.0
"""Seconds that a value is watched for at the longest."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "why",
        help="the path of the last value of a topic: device, decoding, quality, deadband, rules, outbox, cloud",
        description="From what the running gateway knows; what it does not know it says. --watch follows the next "
        "value through it, step by step, with times.",
    )
    parser.add_argument("topic", metavar="TOPIC")
    parser.add_argument(
        "--watch", type=_span, metavar="TIME", help='follow the next value for so long, such as "30s"; at most 5m'
    )
    finish(parser, run)


def _span(text: str) -> float:
    try:
        seconds = read_duration(text)
    except WrongValue as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None
    if not 0 < seconds <= MOST:
        raise argparse.ArgumentTypeError("must be more than nothing and at most 5m")
    return seconds


def run(args: argparse.Namespace) -> int:
    """With --watch 1 when no value came."""
    state = state_of(args)
    if args.watch is None:
        found = ask(state, "why", PATIENCE, topic=args.topic)
        print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else path_text(found))
        return 0
    has_come = False
    replies = follow(state, "why-watch", topic=args.topic, seconds=args.watch)
    try:
        for reply in replies:
            if "line" in reply:
                line = reply["line"]
                has_come = has_come or line["step"] == "message"
                print(json.dumps(line, ensure_ascii=False) if args.json else step_text(line), flush=True)
    except KeyboardInterrupt:
        replies.close()
    if not has_come and not args.json:
        print(f"nothing was published at {args.topic} in that time")
    return 0 if has_come else 1
