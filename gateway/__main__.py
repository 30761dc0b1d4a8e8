"""The command ``gateway``. Exit: 0 good, 1 failed, 2 usage, 78 the configuration is wrong (sysexits EX_CONFIG)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from gateway import __version__
from gateway.errors import ConfigError, GatewayError

EX_CONFIG: Final = 78

COMMANDS: Final = (
    "run",
    "reload",
    "check",
    "schema",
    "test",
    "status",
    "session",
    "delayed",
    "journal",
    "rules",
    "why",
    "outbox",
    "uplink",
    "unpack",
    "queue",
    "stream",
    "dlq",
    "store",
    "verify",
    "pub",
    "sub",
    "user",
    "backup",
    "diag",
    "restore",
    "update",
    "firstboot",
    "reset",
    "firewall",
    "cellular",
    "access",
    "blackbox",
    "opcua",
    "device",
    "sim",
    "demo",
)
"""One file each in ``cli/``; only the one that is asked for is imported."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="gateway", description="Field devices in, rules, a durable outbox, the cloud out."
    )
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = [word for word in words[:1] if word in COMMANDS]
    for name in wanted or COMMANDS:
        importlib.import_module(f"gateway.cli.{name}").register(subparsers)
    args = parser.parse_args(words)
    try:
        code: int = args.run(args)
        return code
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return EX_CONFIG
    except GatewayError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left ("gateway sub ... | head"); python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
