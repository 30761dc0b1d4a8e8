"""``gateway unpack``: what is in parcels that an uplink has packed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from gateway.clock import iso_time
from gateway.errors import GatewayError
from gateway.outbound import Row
from gateway.unpack import Record, UnpackError, unpack_all
from gateway.uplinks.packing.entry import Entry
from gateway.uplinks.packing.lines import NAMES, Lines

_IDENTIFIERS: Final = {name: identifier for identifier, name in NAMES.items()}


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "unpack",
        help="show the messages in what a packing uplink has published",
        description="Reads payloads as the cloud got them, one or several one behind the other, for example of "
        "mosquitto_sub -N -t site-7/batch, and prints a line for each message.",
    )
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="default: -, standard input")
    parser.add_argument("--json", action="store_true", help="as JSON lines, which this command reads too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        for record in unpack_all(_read(args.file)):
            sys.stdout.write(_json(record) if args.json else _line(record))
    except UnpackError as error:
        raise GatewayError(f"{args.file}: {error}") from None
    return 0


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise GatewayError(f"{path}: cannot be read: {error.strerror}") from None


def _line(record: Record) -> str:
    """For people: bytes that are no text, and control characters, are escaped."""
    text = record.payload.decode(errors="backslashreplace")
    shown = text if text.isprintable() else repr(text)[1:-1]
    return f"{iso_time(record.time)}  {record.id}  {record.topic}  {shown}\n"


def _json(record: Record) -> str:
    """The line that the format ``lines`` has for it, whatever format it came in."""
    boot, _, seq = record.id.partition(":")
    props = tuple([(_IDENTIFIERS[name], value) for name, value in record.properties])
    row = Row(
        int(seq),
        int(boot),
        record.topic,
        record.payload,
        record.qos,
        record.retain,
        (),
        record.time,
        record.expires,
        "",
    )
    return Lines().pack((Entry(row, record.topic, props),)).decode()
