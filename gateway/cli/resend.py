"""``gateway outbox resend``: send rows once more that the cloud has acknowledged and that are still on the disk."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, Final

from gateway.cli.progress import Progress
from gateway.cli.where import finish, state_of
from gateway.control import ask
from gateway.errors import GatewayError

LOOK: Final = 0.2
"""Seconds between two looks at how far it is."""


def add_resend(words: Any) -> None:
    """Add the word to ``gateway outbox``."""
    parser = words.add_parser("resend", help="send rows once more that an uplink has sent; those in the ring")
    parser.add_argument("--uplink", metavar="UPLINK", required=True)
    parser.add_argument("--from", dest="first", metavar="ID", help="first message id, such as 3:100")
    parser.add_argument("--to", dest="last", metavar="ID", help="last message id, of the same start")
    parser.add_argument("--since", metavar="TIME", help="or: accepted from then on, such as 2026-11-25T10:00:00Z")
    parser.add_argument("--until", metavar="TIME", help="and up to then")
    parser.add_argument("--wait", metavar="SECONDS", type=float, default=60.0, help="for its end (60); 0: do not wait")
    finish(parser, run)


def run(args: argparse.Namespace) -> int:
    """Ends with 1 when the end did not come in time."""
    state = state_of(args)
    wanted = {"from": args.first, "to": args.last, "since": args.since, "until": args.until}
    if not any(wanted.values()):
        raise GatewayError("say which rows: --from and --to, or --since and --until")
    asked = ask(state, "outbox-resend", uplink=args.uplink, **wanted)
    progress, end = Progress("rows sent again"), time.monotonic() + args.wait
    while True:
        answer = ask(state, "outbox-resend-state", uplink=args.uplink, id=asked["id"])
        rest = end - time.monotonic()
        if answer["state"] == "done" or rest <= 0:
            break
        progress.show(answer["sent"], answer["sent"])
        time.sleep(min(LOOK, rest))
    progress.end()
    print(json.dumps(answer, indent=2) if args.json else _text(answer))
    return 0 if answer["state"] == "done" or not args.wait else 1


def _text(answer: dict[str, Any]) -> str:
    lines = [f"{answer['sent']} rows were sent again, {answer['bytes']} bytes"]
    if answer["state"] != "done":
        lines[0] += "; it goes on, with the connection to the cloud"
    if answer["waiting"]:
        lines.append(f"{answer['waiting']} rows wait and come anyway")
    if answer["refused"]:
        lines.append(f"{answer['refused']} rows could not be sent: the cloud refused them, or they are not forwarded")
    if answer.get("gone"):
        gaps = ", ".join(f"{first} to {last}" if first != last else first for first, last in answer["gaps"])
        lines.append(f"{answer['gone']} ids are not on the disk: {gaps}")
    return "\n".join(lines)
