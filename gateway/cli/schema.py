"""``gateway schema``: what may stand in the settings, for editors (JSON Schema) or for people (a sample)."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gateway import kinds
from gateway.config.describe import sample
from gateway.config.schema import json_schema
from gateway.config.settings import Settings


def register(subparsers: Any) -> None:
    """Add the command to the parser of ``gateway``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "schema", help="print what may stand in the settings, as JSON Schema"
    )
    parser.add_argument("--sample", action="store_true", help="print a documented sample of the settings instead")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Always 0."""
    text = sample(Settings, kinds) if args.sample else json.dumps(json_schema(Settings, kinds), indent=2) + "\n"
    print(text, end="")
    return 0
