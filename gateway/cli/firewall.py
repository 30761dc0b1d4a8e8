"""``gateway firewall``: the rules that let the network reach the listeners and nothing else."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.where import add_machine, loaded_of
from gateway.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    from gateway.appliance.firewall import Opening


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("firewall", help="nftables rules for the listeners of the settings")
    parser.add_argument("--config", metavar="FILE", help="settings file; default: the one that gateway run would use")
    parser.add_argument(
        "--apply", action="store_true", help="put them in force, and announce the listeners by mDNS (root)"
    )
    add_machine(parser)
    parser.add_argument("--json", action="store_true", help="the openings as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0, or 78 when the settings are wrong."""
    from gateway.appliance.firewall import openings, rules, talkers

    ssh = (args.machine / "etc/ssh/keys/authorized_keys").is_file()
    try:
        loaded = loaded_of(args.config)
    except ConfigError as error:
        if args.apply:
            _close(rules([], ssh))
        raise error
    kinds = {
        name.removeprefix("listener."): kind for name, kind in loaded.kinds.items() if name.startswith("listener.")
    }
    opened = openings(loaded.value.listener, kinds)
    text = rules(opened, ssh, talkers(loaded.value.device))
    if args.apply:
        _apply(args.machine, opened, text)
    elif args.json:
        print(json.dumps([one._asdict() for one in opened]))
    else:
        print(text, end="")
    return 0


def _close(text: str) -> None:
    """Nothing but ssh is open with settings that are wrong, unless something is in force: that stays."""
    from gateway.appliance.firewall import TABLE

    found = subprocess.run(["nft", "list", "table", "inet", TABLE], capture_output=True, check=False)
    if found.returncode:
        _nft(text)


def _apply(machine: Path, opened: list[Opening], text: str) -> None:
    from gateway.appliance.firewall import announcements

    _nft(text)
    _announce(machine / "run/systemd/dnssd", announcements(opened))
    said = ", ".join(f"{one.name} ({one.protocol} {one.port})" for one in opened)
    print(f"open: {said or 'no listener'}", file=sys.stderr)


def _nft(text: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GatewayError(f"nft: {done.stderr.strip()}")


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
