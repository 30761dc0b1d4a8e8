"""Settings of updates by command: ``[update]``."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.declare import File, Size, between, setting, topic_name

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Updates of the appliance by a command, from a cloud or anybody who may publish to the topic."""

    enabled: bool = setting(
        False,
        text="Take commands at <topic>/bundle/set, the URL of a signed bundle. On the appliance only; docs/updates.md.",
    )
    topic: str = setting(
        "gateway/update", text="Where commands come, and <topic>/status tells how far it is.", check=topic_name
    )
    ca: File | None = setting(
        None,
        text="Certificates (PEM) that the server of a bundle must be signed by. Without it: those of the machine.",
        example='"bundles-ca.pem"',
    )
    max_size: Size = setting(512 * MIB, text="Largest bundle that is fetched.", check=between(MIB, 4096 * MIB))
