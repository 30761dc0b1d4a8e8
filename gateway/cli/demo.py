"""``gateway demo``: a simulated plant, a gateway and a cloud on this machine, and what they survive."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.demo.ledger import Ledger
    from gateway.demo.story import Story


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="play a plant, a cut uplink and a killed gateway; ends with a ledger of every message",
        description="About 50 s. No root and no network beyond this machine. Exit 0 only if the ledger holds.",
    )
    parser.add_argument("--once", action="store_true", help="unattended: one line for each act, no drawing")
    parser.add_argument("--json", action="store_true", help="print the ledger as JSON")
    parser.add_argument("--keep", metavar="DIR", help="keep settings, databases and logs in this new folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from gateway.demo.story import Story

    folder = Path(args.keep) if args.keep else Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    folder.mkdir(parents=True, exist_ok=bool(not args.keep))
    drawn = sys.stdout.isatty() and not args.once and not args.json
    show = _draw if drawn else _Teller().tell
    try:
        ledger = asyncio.run(_play(Story(folder, show)))
    except asyncio.CancelledError:
        return 1
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps({"holds": ledger.holds, "accounts": [_entry(account) for account in ledger.accounts]}))
    else:
        print("\n".join(["", *ledger.lines()]))
    return 0 if ledger.holds else 1


async def _play(story: Story) -> Ledger:
    """Play, and clear the stage also when a signal ends it: the gateways are processes that would stay."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await story.play()


def _entry(account: Any) -> dict[str, Any]:
    return {**account._asdict(), "lost": account.lost}


def _draw(act: str, story: Any, status: dict[str, Any] | None, left: float) -> None:
    from gateway.demo.picture import CLEAR, picture

    print(CLEAR + picture(act, story.picture, status, story.cloud.total, left), flush=True)


class _Teller:
    """Says each act once, and how it went when the next one comes."""

    def __init__(self) -> None:
        self._act = ""
        self._last = ""

    def tell(self, act: str, story: Any, status: dict[str, Any] | None, left: float) -> None:
        """One call of ``Show``; writes to stderr, so that stdout holds the ledger alone."""
        if act != self._act:
            if self._last:
                print(self._last, file=sys.stderr)
            print(f"* {act}", file=sys.stderr, flush=True)
            self._act = act
        if status is not None:
            self._last = (
                f"    outbox {status['outbox']['depth']} rows, uplink {status['uplinks']['cloud']['state']}, "
                f"cloud has {story.cloud.total} messages, {story.cloud.alarms} alarms"
            )
