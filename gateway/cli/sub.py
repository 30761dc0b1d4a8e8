"""``gateway sub``: print what arrives."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from gateway.cli.pub import add_connection_options, connect
from gateway.message import USER_PROPERTY, parse_value
from gateway.mqtt.packets import Publish


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("sub", help="print messages that match topic filters")
    parser.add_argument("filter", nargs="+", help="topic filter, such as 'plant/#'")
    parser.add_argument("-q", "--qos", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("-c", "--count", type=int, help="end after so many messages")
    parser.add_argument("-t", "--timeout", type=float, help="end after so many seconds; exit 1 if --count was not met")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    add_connection_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    left = args.count
    until = None if args.timeout is None else time.monotonic() + args.timeout
    with connect(args) as client:
        client.subscribe(args.filter, args.qos)
        while left is None or left > 0:
            wait = None if until is None else until - time.monotonic()
            message = client.receive(wait) if wait is None or wait > 0 else None
            if message is None:
                return 0 if left is None else 1
            print(_line(message, args.json), flush=True)
            if left is not None:
                left -= 1
    return 0


def _line(message: Publish, as_json: bool) -> str:
    if as_json:
        user = [list(value) for identifier, value in message.props if identifier == USER_PROPERTY]
        entry = {
            "topic": message.topic,
            "value": parse_value(message.payload),
            "qos": message.qos,
            "retain": message.retain,
        }
        return json.dumps({**entry, "user": user} if user else entry, ensure_ascii=False)
    return f"{message.topic} {message.payload.decode(errors='backslashreplace')}"
