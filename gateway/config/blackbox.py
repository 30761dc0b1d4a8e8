"""Settings of the black boxes: ``[blackbox.NAME]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.config.declare import Duration, Size, between, not_empty, setting, topic_filter

MIB: Final = 1024 * 1024


def _filters(value: tuple[str, ...]) -> str | None:
    return not_empty(value) or next(filter(None, map(topic_filter, value)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackBox:
    """A black box: every message of some topics in memory, saved as a file around a trigger."""

    topics: tuple[str, ...] = setting(
        text="Topic filters of what is recorded, every message.", check=_filters, example='["plant/#"]'
    )
    trigger: str | None = setting(
        None, text="A message that matches this filter saves it. Without it only gateway blackbox save does.",
        check=topic_filter, example='"alarm/+"',
    )  # fmt: skip
    before: Duration = setting(30.0, text="How far back the file goes.", check=between(0.1, 3600))
    after: Duration = setting(10.0, text="How long is recorded on before the file is written.", check=between(0, 3600))
    max_bytes: Size = setting(
        4 * MIB,
        text="Memory for it: topics, payloads and 200 bytes a message. When that is not enough for before and after, "
        "the oldest are dropped and counted; the file says how many.",
        check=between(1024, 256 * MIB),
    )
    keep: int = setting(10, text="Files that are kept; the oldest is deleted.", check=between(1, 1000))
