"""The question before something is destroyed."""

from __future__ import annotations

import argparse
import sys


def add_yes(parser: argparse.ArgumentParser) -> None:
    """``--yes``, the same everywhere."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def is_sure(args: argparse.Namespace, what: str) -> bool:
    """Say what will happen and ask, unless told not to. ``what`` is a sentence without its end."""
    if args.yes:
        return True
    print(f"{what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if not sys.stdin.isatty():
        print("\nthere is nobody to ask; use --yes", file=sys.stderr)
        return False
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print("nothing was changed", file=sys.stderr)
        return False
    return True
