"""``gateway diag``: one file for whoever is to help."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gateway.cli.where import finish, loaded_of, state_of
from gateway.control import ask


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("diag", help="status, settings without secrets, logs and machine in one file")
    parser.add_argument("file", type=Path, help="archive to write (.tar.gz)")
    finish(parser, run)


def run(args: argparse.Namespace) -> int:
    """0 when the archive is there, whatever could not be had."""
    from gateway.appliance.diag import parts, write

    files = parts(lambda: loaded_of(args.config).value, lambda: ask(state_of(args), "status"))
    write(args.file, files)
    if args.json:
        print(json.dumps({"file": str(args.file), "bytes": args.file.stat().st_size, "parts": list(files)}))
    else:
        print(f"{args.file}: {args.file.stat().st_size} bytes; no passwords are in it, but names, addresses and topics")
    return 0
