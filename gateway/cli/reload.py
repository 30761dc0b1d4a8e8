"""``gateway reload``: the running gateway takes its settings, rules and users as they are now."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gateway.cli.where import finish, state_of
from gateway.config.types import WrongValue, read_duration
from gateway.control import ask

MOST: float = 120.0
"""Seconds to wait for a reload; thousands of points take a few."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "reload",
        help="take the settings, rules and users as they are now",
        description="Everything is checked first; anything wrong leaves all as it was. What did not change goes on "
        "undisturbed. With --confirm the gateway goes back by itself unless gateway reload --commit comes in time.",
    )
    parser.add_argument("--confirm", metavar="TIME", help='go back after this, such as "5m", unless it is confirmed')
    parser.add_argument("--commit", action="store_true", help="confirm: the settings stay")
    parser.add_argument("--force", action="store_true", help="with --commit: also when an uplink has not come back")
    finish(parser, run)


def run(args: argparse.Namespace) -> int:
    """1 when something is wrong with the settings, or there is nothing to confirm."""
    state = state_of(args)
    if args.commit:
        answer = ask(state, "commit", force=args.force)
        print(json.dumps(answer) if args.json else "confirmed")
        return 0
    seconds = None
    if args.confirm is not None:
        try:
            seconds = read_duration(args.confirm)
        except WrongValue as wrong:
            print(f"gateway: --confirm {wrong}", file=sys.stderr)
            return 2
    answer = ask(state, "reload", MOST, confirm=seconds)
    if args.json:
        print(json.dumps(answer))
        return 0
    for key in ("applied", "restarted", "needs_restart"):
        if answer[key]:
            print(f"{key.replace('_', ' ')}: {', '.join(answer[key])}")
    if answer["confirm"] is not None:
        print(f"back to the settings before in {answer['confirm']:g} s, unless: gateway reload --commit")
    return 0
