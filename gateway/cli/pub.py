"""``gateway pub``: publish one message, or one for each line of standard input."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.cli.mqtt_client import MqttClient
from gateway.cli.where import add_options, broker_url
from gateway.errors import GatewayError


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("pub", help="publish a message to the gateway's broker (or any other)")
    parser.add_argument("topic")
    parser.add_argument("payload", nargs="?", help="text to send; '-' or nothing: one message for each line of stdin")
    parser.add_argument("-q", "--qos", type=int, choices=(0, 1, 2), default=1, help="default: 1, waits for the answer")
    parser.add_argument("-r", "--retain", action="store_true", help="keep it as the topic's last value")
    add_connection_options(parser)
    parser.set_defaults(run=run)


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """What ``pub`` and ``sub`` share."""
    parser.add_argument("--url", help="mqtt://host:port or mqtts://host:port (default: the gateway's own listener)")
    parser.add_argument("--ca", metavar="FILE", help="certificates to trust for mqtts://")
    parser.add_argument("--cert", metavar="FILE", help="client certificate for mqtts://")
    parser.add_argument("--key", metavar="FILE", help="its key")
    parser.add_argument("--user", metavar="NAME", help="user name to show")
    parser.add_argument("--password-file", metavar="FILE", help="file that holds the user's password, and nothing else")
    add_options(parser)


def connect(args: argparse.Namespace) -> MqttClient:
    """The client that the options describe."""
    return MqttClient(
        args.url or broker_url(args),
        ca=args.ca,
        cert=args.cert,
        key=args.key,
        username=args.user,
        password=_password(args.password_file),
    )


def _password(path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise GatewayError(f"{path}: cannot be read: {error.strerror}") from None


def run(args: argparse.Namespace) -> int:
    with connect(args) as client:
        if args.payload is not None and args.payload != "-":
            client.publish(args.topic, args.payload.encode(), args.qos, args.retain)
            return 0
        for line in _lines(client):
            client.publish(args.topic, line.rstrip(b"\r\n"), args.qos, args.retain)
    return 0


def _lines(client: MqttClient) -> Iterator[bytes]:
    """The lines of standard input as they come. However long that takes, the broker hears of the client meanwhile."""
    source, rest = sys.stdin.fileno(), b""
    while True:
        client.wait_for(source)
        data = os.read(source, 65_536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest
