"""``gateway opcua``: our own certificate, and whose certificates we accept. Works whether a gateway runs or not; one
that runs reads the list at its next connection."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from pathlib import Path
from typing import Any

from gateway.cli.where import add_options, finish, state_of
from gateway.errors import GatewayError
from gateway.state import make_folder


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("opcua", help="OPC-UA certificates: our own, those we trust, those we refused")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    finish(commands.add_parser("list", help="certificates that are trusted, and those that were refused"), _list)
    own = commands.add_parser("own", help="our certificate, to be trusted on the other side; made if there is none")
    own.add_argument("--export", metavar="FILE", help="copy it there (DER); - is standard output")
    finish(own, _own)
    trust = commands.add_parser("trust", help="trust a certificate that was refused, or one in a file")
    trust.add_argument("name", metavar="THUMBPRINT|FILE", help="the first characters of its thumbprint, or a file")
    reject = commands.add_parser("reject", help="trust a certificate no more")
    reject.add_argument("name", metavar="THUMBPRINT", help="its first characters")
    for command, run in ((trust, _trust), (reject, _reject)):
        add_options(command)
        command.set_defaults(run=run)


def _list(args: argparse.Namespace) -> int:
    from gateway.opcua.trust import TrustList

    entries = TrustList(state_of(args)).entries()
    if args.json:
        shown = [
            {
                "thumbprint": one.thumbprint,
                "trusted": one.is_trusted,
                "authority": one.is_authority,
                "subject": one.subject,
                "uri": one.uri,
                "ends": one.ends.isoformat(),
            }
            for one in entries
        ]
        print(json.dumps(shown, indent=2))
        return 0
    for one in entries:
        word = ("authority" if one.is_authority else "trusted") if one.is_trusted else "refused"
        print(f"{word:<9}  {one.thumbprint[:16]}  until {one.ends:%Y-%m-%d}  {one.subject}  {one.uri or '-'}")
    if not entries:
        print("none; a certificate that is shown to the gateway and not trusted appears here", file=sys.stderr)
    return 0


def _own(args: argparse.Namespace) -> int:
    from gateway.opcua.identity import CERTIFICATE, FOLDER, load_certificate, own
    from gateway.opcua.trust import subject, thumbprint

    state = state_of(args)
    make_folder(state)
    found = own(state, socket.gethostname(), time.time())
    path = state / FOLDER / CERTIFICATE
    if args.export == "-":
        sys.stdout.buffer.write(found.certificate)
        return 0
    if args.export is not None:
        try:
            Path(args.export).write_bytes(found.certificate)
        except OSError as error:
            raise GatewayError(f"cannot write {args.export}: {error.strerror}") from None
    certificate = load_certificate(found.certificate, str(path))
    shown = {
        "thumbprint": thumbprint(certificate),
        "uri": found.uri,
        "subject": subject(certificate),
        "ends": certificate.not_valid_after_utc.isoformat(),
        "file": str(path),
    }
    print(json.dumps(shown, indent=2) if args.json else "\n".join(f"{key:<10}  {text}" for key, text in shown.items()))
    return 0


def _trust(args: argparse.Namespace) -> int:
    from gateway.opcua.trust import TrustList

    state = state_of(args)
    make_folder(state)
    trusting, file = TrustList(state), Path(args.name)
    entry = trusting.add(file.read_bytes(), args.name) if file.is_file() else trusting.trust(args.name)
    print(f"trusted: {entry}; a gateway that runs knows it at its next connection", file=sys.stderr)
    return 0


def _reject(args: argparse.Namespace) -> int:
    from gateway.opcua.trust import TrustList

    entry = TrustList(state_of(args)).reject(args.name)
    print(f"trusted no more: {entry}; connections that stand are not ended", file=sys.stderr)
    return 0
