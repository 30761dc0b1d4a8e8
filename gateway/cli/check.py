"""``gateway check``: are the settings good? Says everything that is wrong with them; touches no device."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from gateway.check import bus_loads, checked, summary, unsteady_ports
from gateway.cli.where import loaded_of
from gateway.config.find import EMBEDDED, find_settings
from gateway.errors import ConfigError
from gateway.explain.hints import rule_hints


def register(subparsers: Any) -> None:
    """Add the command to the parser of ``gateway``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "check", help="check the settings and say everything that is wrong with them"
    )
    parser.add_argument("--config", metavar="FILE", help="settings file; default: the one that gateway run would use")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON on stdout")
    parser.add_argument("--strict", action="store_true", help="warnings are mistakes: end with 78 when there are any")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when the settings are good, 78 (EX_CONFIG) when they are not; with --strict also when there are warnings."""
    path = find_settings(args.config, os.environ)
    counts: dict[str, int] = {}
    loads: list[str] = []
    warnings: list[str] = []
    try:
        loaded = loaded_of(args.config)
        rules = checked(loaded)
    except ConfigError as error:
        problems = error.problems
    else:
        problems = []
        counts = summary(loaded, rules)
        loads, busy = bus_loads(loaded)
        warnings = loaded.source.problems([*loaded.value.warnings(), *unsteady_ports(loaded), *busy])
        warnings += rule_hints(loaded, rules)
    is_good = not problems and not (args.strict and warnings)
    if args.json:
        print(
            json.dumps(
                {"ok": is_good, "config": str(path), "problems": problems, "warnings": warnings, "loads": loads}
                | counts
            )
        )
    elif problems:
        print(*problems, sep="\n", file=sys.stderr)
    else:
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"{'ok' if is_good else 'not strict'}: {'embedded default' if path == EMBEDDED else path}")
        print(", ".join(f"{count} {name if count != 1 else name[:-1]}" for name, count in counts.items()))
        for load in loads:
            print(load)
    return 0 if is_good else os.EX_CONFIG
