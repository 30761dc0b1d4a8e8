"""``gateway firewall``: the rules that let the network reach the listeners and nothing else."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway.cli.where import loaded_of
from gateway.errors import ConfigError, GatewayError


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("firewall", help="nftables rules for the listeners of the settings")
    parser.add_argument("--config", metavar="FILE", help="settings file; default: the one that gateway run would use")
    parser.add_argument(
        "--apply", action="store_true", help="put them in force, and announce the listeners by mDNS (root)"
    )
    parser.add_argument("--machine", type=Path, default=Path("/"), help="folder that stands for the machine's /")
    parser.add_argument("--json", action="store_true", help="the openings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0, or 78 when the settings are wrong: then nothing but ssh is open, if nothing was in force before."""
    from gateway.appliance.firewall import TABLE, Opening, announcements, openings, rules, talkers

    machine: Path = args.machine
    ssh = (machine / "etc/ssh/keys/authorized_keys").is_file()
    opened: list[Opening] = []
    devices: list[tuple[str, str]] = []
    problems: list[str] = []
    try:
        loaded = loaded_of(args.config)
        kinds = {
            name.removeprefix("listener."): kind for name, kind in loaded.kinds.items() if name.startswith("listener.")
        }
        opened, devices = openings(loaded.value.listener, kinds), talkers(loaded.value.device)
    except ConfigError as error:
        problems = error.problems
    if not args.apply:
        if problems:
            raise ConfigError(problems)
        print(
            json.dumps([one._asdict() for one in opened]) if args.json else rules(opened, ssh, devices),
            end="\n" if args.json else "",
        )
        return 0
    if (
        problems
        and subprocess.run(["nft", "list", "table", "inet", TABLE], capture_output=True, check=False).returncode == 0
    ):
        raise ConfigError(problems)  # what was in force stays
    done = subprocess.run(
        ["nft", "-f", "-"], input=rules(opened, ssh, devices), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise GatewayError(f"nft: {done.stderr.strip()}")
    _announce(machine / "run/systemd/dnssd", announcements(opened))
    if problems:
        raise ConfigError(problems)
    print(
        f"open: {', '.join(f'{one.name} ({one.protocol} {one.port})' for one in opened) or 'no listener'}",
        file=sys.stderr,
    )
    return 0


def _announce(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name: path.read_text() for path in folder.glob("gateway-*.dnssd")}
    if before == files:
        return
    for name in before.keys() - files.keys():
        (folder / name).unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    # At the first start it is not there yet, and reads them itself.
    subprocess.run(["systemctl", "try-reload-or-restart", "systemd-resolved"], capture_output=True, check=False)
