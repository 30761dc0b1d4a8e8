"""``gateway update``: bundles, and the two slots of the appliance (docs/updates.md)."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from gateway.cli.where import add_machine


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("update", help="updates of the appliance: make, verify, install, commit")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    bundle = verbs.add_parser("bundle", help="make a signed bundle")
    for name in ("version", "arch"):
        bundle.add_argument(f"--{name}", required=True)
    for name in ("root", "boot", "key"):
        bundle.add_argument(f"--{name}", required=True, type=Path)
    bundle.add_argument("--board", required=True, action="append", help="may be given several times")
    bundle.add_argument("--minimum", default="0", help="oldest version that it may be installed over")
    bundle.add_argument("out", type=Path)
    key = verbs.add_parser("key", help="make a key pair: FILE and FILE.pub")
    key.add_argument("file", type=Path)
    check = verbs.add_parser("verify", help="is the bundle whole, and signed by whom we trust?")
    check.add_argument("file", type=Path)
    check.add_argument("--keys", type=Path, help="folder of trusted keys")
    put = verbs.add_parser("install", help="write the other slot and arm its trial boot")
    put.add_argument("file", type=Path)
    put.add_argument("--allow-older", action="store_true")
    put.add_argument("--allow-migration", action="store_true", help="though a slot cannot open the database then")
    status = verbs.add_parser("status", help="slots, versions, which runs, the last result")
    commit = verbs.add_parser("commit", help="the running slot is good")
    back = verbs.add_parser("rollback", help="start the other slot from the next restart on")
    back.add_argument(
        "--old-database", action="store_true", help="go back to the copy of the database from before, too"
    )
    settle = verbs.add_parser("settle", help="commit the slot on trial when the gateway is well, else go back")
    settle.add_argument("--bound", type=float, default=600.0, metavar="SECONDS", help="how long it may take (600)")
    seen = verbs.add_parser("acknowledge", help="end the alarm of an update that was given up")
    fetch = verbs.add_parser("fetch", help="fetch the bundle that a command asked for ([update] of the settings)")
    asked = verbs.add_parser("asked", help="install the bundle that was fetched, and restart")
    plugged = verbs.add_parser("stick", help="install the newest bundle of a USB stick labelled GATEWAY, and restart")
    plugged.add_argument("--from", dest="source", type=Path, help="this folder in the place of a stick")
    for verb, run in ((bundle, _bundle), (key, _key), (check, _verify), (put, _install), (status, _status),
                      (commit, _commit), (back, _rollback), (settle, _settle), (seen, _acknowledge),
                      (fetch, _fetch), (asked, _asked), (plugged, _stick)):  # fmt: skip
        add_machine(verb)
        verb.add_argument("--json", action="store_true")
        verb.set_defaults(run=run)


def _bundle(args: argparse.Namespace) -> int:
    import tempfile
    from datetime import UTC, datetime

    from gateway.appliance.update import bundle
    from gateway.appliance.update.manifest import Manifest, UpdateError, number
    from gateway.store.sql import compatible_from, migrations

    number(args.version), number(args.minimum)
    for path in (args.root, args.key):
        if not path.is_file():
            raise UpdateError(f"{path}: is no file")
    date = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", datetime.now(UTC).timestamp())), UTC)
    with tempfile.TemporaryDirectory() as folder:
        boot = Path(folder) / "boot.tar"
        bundle.write_boot(boot, args.boot)
        files = {"root.squashfs": args.root, "boot.tar": boot}
        parts = {name: bundle.part_of(path) for name, path in files.items()}
        manifest = Manifest(
            args.version,
            args.arch,
            tuple(args.board),
            args.minimum,
            date.isoformat(),
            migrations()[-1][0],
            compatible_from(migrations()),
            parts,
        )
        bundle.write(args.out, manifest, files, args.key)
    return _say(args, {"bundle": str(args.out), "version": args.version, "bytes": args.out.stat().st_size})


def _key(args: argparse.Namespace) -> int:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from gateway.appliance.update.bundle import public_pem
    from gateway.appliance.update.manifest import UpdateError

    private = Ed25519PrivateKey.generate()
    try:
        handle = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UpdateError(f"{args.file}: cannot be made ({error.strerror}); a key is never written over") from error
    with os.fdopen(handle, "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = args.file.with_name(args.file.name + ".pub")
    public.write_bytes(public_pem(private))
    return _say(args, {"private": str(args.file), "public": str(public)})


def _verify(args: argparse.Namespace) -> int:
    from gateway.appliance.update.bundle import trusted, verify
    from gateway.appliance.update.install import KEYS

    manifest = verify(args.file, trusted(args.keys or args.machine / KEYS))
    return _say(args, {"version": manifest.version, "arch": manifest.arch, "boards": list(manifest.boards)})


def _install(args: argparse.Namespace) -> int:
    from gateway.appliance.update.database import words
    from gateway.appliance.update.install import install, this_machine
    from gateway.cli.progress import Progress

    progress = Progress("bytes written")
    try:
        here = this_machine(args.machine, args.allow_older, args.allow_migration)
        manifest = install(args.machine, args.file, here, progress.show)
    finally:
        progress.end()
    answer = {"installed": manifest.version, "next": "restart the machine for its trial"}
    if warning := words(args.machine, manifest, here):
        answer["database"] = warning
    return _say(args, answer)


def _stick(args: argparse.Namespace) -> int:
    from contextlib import nullcontext

    from gateway.appliance.restart import restart
    from gateway.appliance.stick import Stick, stick
    from gateway.appliance.update.install import this_machine
    from gateway.appliance.update.plugged import take
    from gateway.cli.progress import Progress
    from gateway.errors import GatewayError

    version, words = None, ["no stick labelled GATEWAY"]
    with stick(args.machine) if args.source is None else nullcontext(Stick(args.source)) as plugged:
        if plugged.problem is not None:
            raise GatewayError(plugged.problem)
        if plugged.folder is not None:
            progress = Progress("bytes written")
            try:
                version, words = take(args.machine, plugged.folder, this_machine(args.machine), progress.show)
            finally:
                progress.end()
    if version is not None:
        restart(args.machine)
    return _say(args, {"installed": version, "bundles": words})


def _status(args: argparse.Namespace) -> int:
    from gateway.appliance.update.install import status

    return _say(args, status(args.machine))


def _commit(args: argparse.Namespace) -> int:
    from gateway.appliance.update.install import commit

    return _say(args, {"good": commit(args.machine)})


def _settle(args: argparse.Namespace) -> int:
    from gateway.appliance.update.asked import tell_outcome
    from gateway.appliance.update.settle import ALARM, alarm_text, settle
    from gateway.cli.settling import World

    world = World(args.machine)
    outcome = settle(args.machine, world, args.bound)
    world.tell(ALARM, alarm_text(args.machine))
    tell_outcome(args.machine, world.say)
    return _say(args, {"outcome": outcome})


def _acknowledge(args: argparse.Namespace) -> int:
    from gateway.appliance.update.settle import ALARM, acknowledge
    from gateway.cli.settling import World

    text = acknowledge(args.machine)
    World(args.machine).tell(ALARM, None)
    return _say(args, {"acknowledged": text})


def _fetch(args: argparse.Namespace) -> int:
    from gateway.appliance.update.asked import bring
    from gateway.cli.settling import World

    world = World(args.machine)
    return _say(args, {"fetched": bring(args.machine, world.say, world.sleep)})


def _asked(args: argparse.Namespace) -> int:
    from gateway.appliance.update.asked import take
    from gateway.appliance.update.install import this_machine
    from gateway.cli.settling import World

    world = World(args.machine)
    version = take(args.machine, this_machine(args.machine), world.say)
    if version is not None:
        world.restart()
    return _say(args, {"installed": version})


def _rollback(args: argparse.Namespace) -> int:
    from gateway.appliance.update.install import rollback

    return _say(args, {"next": rollback(args.machine, args.old_database)})


def _say(args: argparse.Namespace, answer: dict[str, Any]) -> int:
    print(json.dumps(answer) if args.json else "\n".join(f"{key}: {value}" for key, value in answer.items()))
    return 0
