"""``gateway uplink``: the ways to the clouds; how they are, and what is wrong with one."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from typing import Any, Final

from gateway.cli.session import table
from gateway.cli.where import finish, settings_of, state_of
from gateway.clock import Clock
from gateway.config.declare import topic_name
from gateway.control import ask
from gateway.errors import GatewayError

COLUMNS: Final = ("uplink", "state", "reason", "host", "depth", "oldest_age", "bytes_out", "bytes_in", "last_error")


def register(subparsers: Any) -> None:
    """Add the command and its three words."""
    parser = subparsers.add_parser("uplink", help="list, show and test the uplinks")
    words = parser.add_subparsers(metavar="WORD", required=True)

    finish(words.add_parser("list", help="all uplinks of the running gateway"), run_list)

    status = words.add_parser("status", help="everything about one")
    status.add_argument("uplink", metavar="UPLINK")
    finish(status, run_status)

    test = words.add_parser("test", help="walk the way to its broker step by step; needs no running gateway")
    test.add_argument("uplink", metavar="UPLINK")
    test.add_argument("--publish", metavar="TOPIC", help="publish one message there too; without it nothing is sent")
    test.add_argument("--client-id", metavar="ID", help="default: that of the uplink with -test behind it")
    finish(test, run_test)


def run_list(args: argparse.Namespace) -> int:
    uplinks = ask(state_of(args), "uplinks")
    print(json.dumps(uplinks, indent=2) if args.json else "\n".join(table(uplinks, COLUMNS)))
    return 0


def run_status(args: argparse.Namespace) -> int:
    """Exit 1 when it is red: a script can ask."""
    status = ask(state_of(args), "uplink", uplink=args.uplink)
    if args.json:
        print(json.dumps(status, indent=2))
    else:
        width = max(map(len, status))
        for key, value in status.items():
            print(f"{key:<{width}}  {_text(value)}")
    return 1 if status["state"] == "red" else 0


def run_test(args: argparse.Namespace) -> int:
    """Exit 1 when a step failed."""
    # Imported here: who only lists uplinks does not pay for the client.
    from gateway.uplinks.mqtt.config import MqttUplink
    from gateway.uplinks.mqtt.probe import SUFFIX, Step, probe

    settings = settings_of(args)
    config = settings.uplink.get(args.uplink)
    if config is None:
        known = ", ".join(settings.uplink) or "none"
        raise GatewayError(f"there is no uplink {args.uplink!r} in the settings; there are: {known}")
    if not isinstance(config, MqttUplink):
        raise GatewayError(f"uplink {args.uplink!r} is of a kind that has no test")
    problem = topic_name(args.publish) if args.publish is not None else None
    if problem is not None:
        print(f"gateway: --publish {problem}", file=sys.stderr)
        return 2
    client_id = args.client_id or (config.client_id or f"gw-{settings.gateway.name or socket.gethostname()}") + SUFFIX

    async def walk() -> list[Step]:
        steps = []
        async for step in probe(config, client_id, Clock().time, args.publish):
            steps.append(step)
            if not args.json:
                print(f"{step.host}  {step.step:<9}  {'ok' if step.ok else 'FAILED':<6}  {step.text}", flush=True)
        return steps

    steps = asyncio.run(walk())
    if args.json:
        print(json.dumps([step._asdict() for step in steps], indent=2))
    return 0 if all(step.ok for step in steps) else 1


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, dict):
        return "  ".join(f"{key} {_text(inner)}" for key, inner in value.items())
    return str(value)
