"""Settings of packing: the table ``batch`` of an uplink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.config.declare import Duration, Size, between, not_empty, setting, topic_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Several messages in one publish. Without this table each is published alone, under its own topic."""

    rows: int = setting(1000, text="Messages in one publish, at most.", check=between(1, 10_000))
    wait: Duration = setting(
        10.0, text="Longest time that a message waits for others. 0 packs what is there.", check=between(0, 3600)
    )
    bytes: Size = setting(
        256 * 1024,
        text="Bytes of topics and payloads in one publish, before they are packed. A larger message goes alone.",
        check=between(1024, 1 << 20),
        example='"256KiB"',
    )
    format: Literal["lines", "columns"] = setting(
        "lines",
        text="lines: JSON lines, which anybody reads. columns: far smaller for readings, read by gateway unpack.",
    )
    compress: Literal["zlib", "none"] = setting("zlib", text="How it is compressed.")
    topic: str | None = setting(
        None,
        text="Topic at the cloud. Default: the name of the gateway and /batch.",
        check=topic_name,
        example='"site-7/batch"',
    )
    classes: tuple[Literal["telemetry", "alarm", "command", "result"], ...] = setting(
        ("telemetry",), text="Classes of messages that are packed; the others do not wait.", check=not_empty
    )
