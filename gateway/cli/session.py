"""``gateway session``: the MQTT clients of the running gateway, one by one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, Final

from gateway.cli.sure import add_yes, is_sure
from gateway.cli.where import finish, state_of
from gateway.config.declare import Duration
from gateway.config.types import SCALARS, WrongValue
from gateway.control import ask, follow
from gateway.mqtt.trace import MAX_SECONDS
from gateway.mqtt.trace_line import text_of

COLUMNS: Final = (
    "client_id", "address", "version", "username", "subscriptions", "in_flight", "pending", "bytes", "idle",
    "expires_in",
)  # fmt: skip
SLOW_COLUMNS: Final = ("client_id", "worst", "last", "count", "waiting", "age", "topic")


def register(subparsers: Any) -> None:
    """Add the command and its five words."""
    parser = subparsers.add_parser("session", help="list, show, kick, purge and trace MQTT clients")
    words = parser.add_subparsers(metavar="WORD", required=True)

    listing = words.add_parser("list", help="all sessions, also of clients that are away")
    listing.add_argument("--slow", action="store_true", help="those that are slow to acknowledge, slowest first")
    finish(listing, run_list)

    show = words.add_parser("show", help="everything about one session")
    show.add_argument("client", metavar="CLIENT", help="client id")
    finish(show, run_show)

    kick = words.add_parser("kick", help="close the connection of a client")
    kick.add_argument("client", metavar="CLIENT", help="client id")
    kick.add_argument("--reason", metavar="TEXT", default="", help="told to MQTT 5 clients")
    finish(kick, run_kick)

    purge = words.add_parser("purge", help="end the session of a client with all that waits in it")
    purge.add_argument("client", metavar="CLIENT", help="client id")
    add_yes(purge)
    finish(purge, run_purge)

    trace = words.add_parser("trace", help="print every packet of a client")
    trace.add_argument("client", metavar="CLIENT", help="client id; * stands for any characters")
    trace.add_argument(
        "--for", dest="span", type=_span, default=MAX_SECONDS, metavar="TIME", help='such as "30s"; at most 5m'
    )
    trace.add_argument("--payload", action="store_true", help="show payloads and not only their size")
    finish(trace, run_trace)


def _span(text: str) -> float:
    try:
        seconds: float = SCALARS[Duration](text)
    except WrongValue as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None
    if not 0 < seconds <= MAX_SECONDS:
        raise argparse.ArgumentTypeError("must be more than nothing and at most 5m")
    return seconds


def run_list(args: argparse.Namespace) -> int:
    sessions = ask(state_of(args), "sessions", slow=args.slow)
    if args.json:
        print(json.dumps(sessions, indent=2))
    else:
        print("\n".join(table(sessions, SLOW_COLUMNS if args.slow else COLUMNS)))
    return 0


def run_show(args: argparse.Namespace) -> int:
    session = ask(state_of(args), "session", client_id=args.client)
    if args.json:
        print(json.dumps(session, indent=2))
        return 0
    filters = session.pop("filters")
    width = max(map(len, session))
    for key, value in session.items():
        print(f"{key:<{width}}  {_cell(value)}")
    for line in table(filters, ("filter", "qos", "no_local", "retain_as_published", "identifiers")):
        print(line)
    return 0


def run_kick(args: argparse.Namespace) -> int:
    kicked = ask(state_of(args), "kick", client_id=args.client, reason=args.reason)
    print(json.dumps(kicked) if args.json else f"{kicked['client_id']} at {kicked['address']} was disconnected")
    return 0


def run_purge(args: argparse.Namespace) -> int:
    """Say what will be lost and ask, unless told not to."""
    state = state_of(args)
    if not args.yes and not is_sure(args, f"{_lost(ask(state, 'session', client_id=args.client))} will be lost"):
        return 1
    purged = ask(state, "purge", client_id=args.client)
    print(json.dumps(purged) if args.json else f"{_lost(purged)} purged")
    return 0


def _lost(session: dict[str, Any]) -> str:
    waiting = session["in_flight"] + session["pending"]
    name = _cell(session["client_id"])
    return f"{name}: {session['subscriptions']} subscriptions and {waiting} messages ({session['bytes']} bytes)"


def run_trace(args: argparse.Namespace) -> int:
    """Until the time is over or the user has seen enough."""
    replies = follow(state_of(args), "trace", client_id=args.client, seconds=args.span, payload=args.payload)
    try:
        for reply in replies:
            if "line" in reply:
                line = reply["line"]
                print(json.dumps(line, ensure_ascii=False) if args.json else text_of(line), flush=True)
            elif reply["result"]["lost"] and not args.json:
                print(f"({reply['result']['lost']} packets are not shown: they came faster than they were read)")
    except KeyboardInterrupt:
        replies.close()
    return 0


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[str]:
    """Rows below their column names, as wide as needed."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "  ".join(f"{key}={_cell(inner)}" for key, inner in value.items())
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    # A client chooses its id: it must not move the cursor of whoever looks at it.
    return text if text.isprintable() else repr(text)
