"""Settings of an uplink's ledger and of rows that are sent again, and the topics that both need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.config.declare import Duration, between, setting, topic_name
from gateway.outbound import LEDGER_TOPIC, RESEND_TOPIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Tells the cloud, every so often, what it should have got: see docs/ledger.md."""

    every: Duration = setting(60.0, text="Time from one ledger to the next.", check=between(1, 86_400))
    topic: str | None = setting(
        None,
        text="Topic of the ledgers at the cloud. Default: gateway/NAME/ledger, with the name of the gateway.",
        check=topic_name,
        example='"site-7/ledger"',
    )
    resend: str | None = setting(
        None,
        text="Topic at the cloud where it asks for messages once more; the answer goes to the same topic with /result "
        "behind it. Without it the cloud cannot ask.",
        check=topic_name,
        example='"site-7/resend"',
    )


def ledger_topics(ledger: Ledger | None, gateway: str) -> Iterator[tuple[str, str]]:
    """(local topic, topic at the cloud) of what the uplink says of itself."""
    if ledger is None:
        return
    yield LEDGER_TOPIC, ledger.topic or f"gateway/{gateway}/ledger"
    if ledger.resend is not None:
        yield RESEND_TOPIC, f"{ledger.resend}/result"
