"""``gateway device trace``: each request to a device and each answer, as bytes and in words."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from gateway.clock import Clock
from gateway.config.declare import Duration
from gateway.config.types import SCALARS, WrongValue
from gateway.connectors import device_trace, direct
from gateway.connectors.base import Connector
from gateway.control import follow
from gateway.errors import Retry
from gateway.feed import Feed

MakeConnector = Callable[[Any], Connector]


def span(text: str) -> float:
    """A time of the command line: ``30s``, ``2m``."""
    try:
        seconds = float(SCALARS[Duration](text))
    except WrongValue as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None
    if not 0 < seconds <= device_trace.MAX_SECONDS:
        raise argparse.ArgumentTypeError("must be more than nothing and at most 5m")
    return seconds


def from_gateway(args: argparse.Namespace, state: Any) -> None:
    """Print what the running gateway sees. Raises NotRunning."""
    replies = follow(state, "device-trace", device=args.device, seconds=args.span)
    with suppress(KeyboardInterrupt):
        for reply in replies:
            if "line" in reply:
                _print(reply["line"], args.json)
            else:
                _print_lost(reply["result"]["lost"], args.json)
    replies.close()


def directly(args: argparse.Namespace, make: MakeConnector) -> None:
    """Print what a connection of its own sees."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_directly(args, make))


async def _directly(args: argparse.Namespace, make: MakeConnector) -> None:
    clock, feed = Clock(), Feed()
    port = direct.CapturePort(args.device, clock)
    connector = make(port)
    stop = device_trace.listen(port, port.shared, clock, feed.put)
    life = asyncio.create_task(connector.run(lambda: None))
    life.add_done_callback(lambda _: feed.end())
    ended = device_trace.limited(stop, args.span, feed.end)
    try:
        async for line in feed:
            _print(line, args.json)
        _print_lost(feed.lost, args.json)
        if life.done():
            await life  # says why it ended
    finally:
        ended()
        life.cancel()
        with suppress(asyncio.CancelledError, Retry):
            await life


def _print(line: dict[str, Any], is_json: bool) -> None:
    print(json.dumps(line, ensure_ascii=False) if is_json else text_of(line), flush=True)


def _print_lost(lost: int, is_json: bool) -> None:
    if lost and is_json:
        print(json.dumps({"lost": lost}), flush=True)
    elif lost:
        print(f"({lost} lines are not shown: they came faster than they were read)", flush=True)


def text_of(line: dict[str, Any]) -> str:
    """``09:41:07.512 > unit 1: read input 30, 2 registers`` and below it the bytes."""
    time = datetime.fromtimestamp(line["time"], UTC).strftime("%H:%M:%S.%f")[:-3]
    took = f"  [{line['took'] * 1000:.1f} ms]" if "took" in line else ""
    text = f"{time} {line['direction']} {line['words']}{took}"
    if "raw" in line:
        text += f"; raw: {line['raw']}"
    if "bytes" in line:
        more = " ..." if line["size"] > (len(line["bytes"]) + 1) // 3 else ""
        text += f"\n             {line['bytes']}{more}  ({line['size']} bytes)"
    return text
