"""``gateway run``: the daemon, in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
from typing import Any

from gateway.cli.where import add_options
from gateway.config.find import find_settings


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("run", help="run the gateway in the foreground; logs go to stderr")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from gateway import log
    from gateway.loop import EventLoop
    from gateway.starting import begin
    from gateway.state import make_folder

    start, state = begin(find_settings(args.config, os.environ), args.state, os.environ)
    settings = start.loaded.value
    log.start(settings.log.level, settings.log.format, under_journald="JOURNAL_STREAM" in os.environ)
    make_folder(state)

    async def main() -> None:
        from gateway.app import App
        from gateway.clock import Clock
        from gateway.systemd import Notifier

        notifier = Notifier(os.environ, os.getpid())
        app = App(start.loaded, start.rules, state, socket.gethostname(), notifier, Clock(), start)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.stop)
        loop.add_signal_handler(signal.SIGHUP, app.reload)
        # What is loaded now stays for ever: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # Messages in flight live for many turns of the loop and hold no cycles: looking at them every few hundred
        # allocations finds nothing and costs time under load (8 % of it with every message stored).
        gc.set_threshold(50_000, 20, 20)
        await app.run()

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main())
    return 0
