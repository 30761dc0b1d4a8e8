"""Where ``gateway rules replay`` gets recorded messages: a stream or the outbox of the running gateway, or a file.

They come page by page, so that memory is that of one page however long the record is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.explain.replay import Recorded

Ask = Callable[..., Any]
"""``ask(command, **arguments)``: the answer of the running gateway."""

Shown = Callable[[int, int], None]
"""So many of about so many are done."""

PAGE: Final = 200
"""Messages asked for at a time."""


def of_stream(ask: Ask, name: str, since: float | None, shown: Shown) -> Iterator[Recorded]:
    """The messages of a stream from ``since`` (seconds since 1970) on, to what was its end when this began."""
    place = {"place": "$stream", "name": name}
    info = ask("queue", **place)
    last: int = info["last"]
    asked: dict[str, Any] = {"start": "first" if since is None else f"time={since}"}
    first: int | None = None
    while True:
        page = ask("queue-entries", **place, **asked, limit=PAGE)
        for entry in page["entries"]:
            if entry["offset"] > last:
                return
            first = entry["offset"] if first is None else first
            yield recorded(entry)
        if first is not None:
            shown(min(page["next"], last) - first + 1, last - first + 1)
        if page["next"] >= last or not page["entries"]:
            return
        asked = {"after": page["next"]}


def of_outbox(ask: Ask, since: float | None, shown: Shown) -> Iterator[Recorded]:
    """All rows of the outbox that are on the disk, also those that the cloud has: of every uplink, in their order."""
    after, count = 0, 0
    while True:
        page = ask("outbox-peek", after=after, limit=PAGE, all=True)
        for row in page["rows"]:
            one = recorded(row)
            if since is None or one.time >= since:
                yield one
        count += len(page["rows"])
        shown(count, count)
        if page["next"] is None:
            return
        after = page["next"]


def of_file(path: Path, since: float | None, shown: Shown) -> Iterator[Recorded]:
    """JSON lines as ``gateway stream export`` writes them. Raises GatewayError with the line that is none."""
    try:
        total = path.stat().st_size
        done = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                done += len(line)
                if not line.strip():
                    continue
                try:
                    one = recorded(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise GatewayError(
                        f"{path}:{number}: is no message as gateway stream export writes it ({error})"
                    ) from None
                if number % PAGE == 0:
                    shown(done, total)
                if since is None or one.time >= since:
                    yield one
    except OSError as error:
        raise GatewayError(f"{path}: {error.strerror}") from None


def recorded(entry: Mapping[str, Any]) -> Recorded:
    """A message as the commands of the running gateway show it. Raises ValueError, KeyError, TypeError."""
    text = entry.get("payload")
    payload = base64.b64decode(entry["payload_base64"]) if text is None else str(text).encode()
    time = datetime.fromisoformat(entry["time"]).timestamp()
    return Recorded(time, str(entry["topic"]), payload, int(entry.get("qos") or 0), str(entry.get("source") or ""))
