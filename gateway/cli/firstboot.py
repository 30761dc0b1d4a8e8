"""``gateway firstboot``: settings from the boot partition or a stick, at each start of the appliance."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from gateway.cli.where import add_machine


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "firstboot", help="take gateway.toml and network.toml from the boot partition or a stick"
    )
    add_machine(parser)
    parser.add_argument("--from", dest="source", type=Path, help="this folder only, and leave its files there")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when there was nothing, or it was taken; 78 when it is wrong, which is written beside it too."""
    from gateway.appliance.firstboot import reset
    from gateway.appliance.firstboot.found import holds
    from gateway.appliance.firstboot.take import Outcome, take
    from gateway.appliance.stick import DEVICE, Stick, stick
    from gateway.appliance.writable import writable
    from gateway.errors import GatewayError

    machine: Path = args.machine
    outcomes: list[Outcome] = []
    try:
        with stick(machine) if args.source is None else nullcontext(Stick(args.source)) as plugged:
            sources = [(machine / "boot", True)] if args.source is None else []
            sources += [(plugged.folder, False)] if plugged.folder is not None else []
            if plugged.problem is not None:
                outcomes.append(Outcome(machine / DEVICE, problems=(plugged.problem,)))
            for source, _ in sources:
                if reset.requested(source):
                    return _reset(machine, source)
            # The boot partition last: what is put there is meant for this machine.
            for source, clears in reversed(sources):
                if source.is_dir():
                    with writable(source) if holds(source) else nullcontext():
                        outcomes.append(take(machine, source, clears))
    except OSError as error:
        raise GatewayError(f"{error.filename or machine}: {error.strerror}") from error
    except subprocess.SubprocessError as error:
        raise GatewayError(f"the boot partition cannot be written: {error}") from error
    taken = [name for outcome in outcomes for name in outcome.taken]
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    if machine == Path("/") and taken:
        _apply(machine)
    if args.json:
        print(json.dumps({"ok": not problems, "taken": taken, "problems": problems}))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"taken over: {', '.join(taken)}" if taken else "nothing to take over")
    return os.EX_CONFIG if problems else 0


def _reset(machine: Path, source: Path) -> int:
    from gateway.appliance.firstboot import reset
    from gateway.appliance.restart import restart
    from gateway.appliance.writable import writable

    reset.mark(machine)
    with writable(source):
        reset.take_back(source)
    print("factory reset: settings and state go at the restart that comes now")
    restart(machine)
    return 0


def _apply(machine: Path) -> None:
    """What the services that start behind us cannot read from their files."""
    system = machine / "data/system"
    name, zone = system / "hostname", system / "timezone"
    if name.is_file():
        host = name.read_text().strip()
        (machine / "etc/hostname").write_text(host + "\n")
        socket.sethostname(host)
    if zone.is_file():
        link = machine / "etc/localtime"
        link.unlink(missing_ok=True)
        link.symlink_to(f"/usr/share/zoneinfo/{zone.read_text().strip()}")
