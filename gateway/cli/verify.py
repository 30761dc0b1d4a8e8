"""``gateway verify``: compare a dump of what has arrived upstream with the ledgers in it."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.verify.account import Findings, Gap, Verifier
from gateway.verify.lines import read_line

SHOWN: Final = 20
"""Gaps and duplicates in the text; JSON has up to ``MAX_NAMED``."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "verify",
        help="compare a dump of what arrived upstream with the ledgers in it",
        description="FILE has one message a line, as gateway sub --json or mosquitto_sub -F %%j writes it. Ends with 1 "
        "when something is missing without a reason.",
    )
    parser.add_argument("file", metavar="FILE", help="the dump; - is standard input")
    parser.add_argument("--json", action="store_true", help="JSON instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    verifier = Verifier()
    try:
        with contextlib.nullcontext(sys.stdin) if args.file == "-" else _opened(args.file) as lines:
            for number, text in enumerate(lines, 1):
                if text.strip():
                    try:
                        verifier.take(read_line(text))
                    except ValueError as error:
                        raise GatewayError(f"{args.file}:{number}: {error}") from None
    except OSError as error:
        raise GatewayError(f"{args.file}: {error.strerror}") from None
    found = verifier.finish()
    if args.json:
        print(json.dumps(_as_json(found, verifier.name), indent=2))
    else:
        print("\n".join(_text(found, verifier.name)))
    return 0 if found.is_good else 1


def _opened(name: str) -> Any:
    # What is no UTF-8 is no message of ours, and one such line must not hide the others.
    return Path(name).open(encoding="utf-8", errors="replace")


def _as_json(found: Findings, name: tuple[str, str] | None) -> dict[str, Any]:
    gateway, uplink = name or (None, None)
    return {
        "ok": found.is_good,
        "gateway": gateway,
        "uplink": uplink,
        **found._asdict(),
        "lost": {"at_least": found.lost[0], "at_most": found.lost[1]},
        "gaps": [_gap_json(gap) for gap in found.gaps],
        "twice": [f"{one.boot}:{one.seq}" for one in found.twice],
    }


def _gap_json(gap: Gap) -> dict[str, Any]:
    ends = {"from": f"{gap.boot}:{gap.first}", "to": f"{gap.boot}:{gap.last}", "n": gap.last - gap.first + 1}
    return {**ends, "since": gap.since, "until": gap.until, "sure": gap.is_sure}


def _text(found: Findings, name: tuple[str, str] | None) -> list[str]:
    if name is None:
        return [f"{found.messages} messages, and no ledger among them: set [uplink.NAME.ledger] and dump its topic too"]
    low, high = found.lost
    lines = [
        f"gateway {name[0]}, uplink {name[1]}: {found.messages} messages, {found.ledgers} ledgers",
        f"to be sent: {found.produced}; came: {found.came}",
        f"thinned: {found.thinned}; dropped: {found.dropped}; waiting: {found.waiting}",
    ]
    if low:
        lines.append(f"MISSING without a reason: {low if low == high else f'{low} to {high}'}")
    elif high:
        lines.append(f"nothing is known to be missing; {high} were waiting when the last ledger was sent")
    else:
        lines.append("all there")
    gaps = [_gap_text(gap) for gap in found.gaps[:SHOWN]]
    if gaps:
        lines.append("numbers that did not come, thinned, dropped and waiting ones among them:")
        lines += gaps
    if (left := len(found.gaps) + found.more_gaps - len(gaps)) > 0:
        lines.append(f"  and {left} more stretches")
    if found.duplicates:
        some = ", ".join(f"{one.boot}:{one.seq}" for one in found.twice[:SHOWN])
        lines.append(f"came more than once: {found.duplicates}: {some}")
    counts = (
        (found.again, "came again because it was asked for"),
        (found.early, "are of before the first ledger"),
        (found.beyond, "are told of by no ledger yet, or by none because the gateway was killed"),
        (found.unknown, "UNKNOWN: more than the ledgers tell of"),
        (found.without_id, "have no message id"),
        (found.unreadable, "lines are no messages, or are cut off"),
    )
    return lines + [f"{n} {text}" for n, text in counts if n]


def _gap_text(gap: Gap) -> str:
    span = f"{gap.boot}:{gap.first}" + (f" to {gap.boot}:{gap.last}" if gap.last > gap.first else "")
    when = f"told {gap.until}" if gap.since is None else f"{gap.since} to {gap.until}"
    return f"  {span} ({when}){'' if gap.is_sure else ', or of another uplink'}"
