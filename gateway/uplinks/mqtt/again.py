"""Rows that somebody has asked for once more (``resend.py``), beside what else goes up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.message import Properties
from gateway.metrics import Metrics
from gateway.outbound import Archive
from gateway.uplinks.mqtt.client import CloudClient
from gateway.uplinks.mqtt.mapping import outgoing_properties
from gateway.uplinks.mqtt.window import RESEND_IDS, Window
from gateway.uplinks.resend import Resend

SHARE: Final = 8
"""One part in so many of the window, one message at least."""


class Again:
    """``bytes``: of PUBLISH packets as sent. ``resend``: None when nothing can be sent once more, for want of an
    ``archive``; the other arguments are as for ``Resend``."""

    __slots__ = ("_metrics", "bytes", "resend")

    def __init__(
        self,
        archive: Archive | None,
        topic: Callable[[str], str | None],
        gateway: str,
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self.resend: Resend | None = None
        if archive is not None:
            self.resend = Resend(archive, RESEND_IDS, topic, lambda row: outgoing_properties(row, gateway), wake)
        self.bytes = 0
        self._metrics = metrics

    @property
    def is_busy(self) -> bool:
        """Whether ``turn`` has anything to do."""
        return self.resend is not None and self.resend.is_busy

    async def turn(self, client: CloudClient, window: Window, limit: int, is_idle: bool) -> bool:
        """Send what there is room for in a window of ``limit`` messages, and leave the rest of it to ``window``.

        ``is_idle``: nothing else waits; a window of one is for the others first. Returns whether there is more to do
        at once. Only while it ``is_busy``.
        """
        resend = self.resend
        assert resend is not None, "there is nothing that could be sent once more"

        def publish(identifier: int, topic: str, payload: bytes, props: Properties, duplicate: bool) -> None:
            size = client.publish(identifier, topic, payload, False, props, duplicate)
            self.bytes += size
            self._metrics.count("uplink_resent")
            self._metrics.count("uplink_bytes_out", size)

        is_moving = await resend.fill()
        share = limit // SHARE or int(limit > 1 or is_idle)
        resend.send(publish, min(share, limit - window.in_flight))
        window.limit = limit - resend.in_flight
        return is_moving

    def answered(self, identifier: int, reason: int) -> bool:
        """As ``Resend.answered``."""
        return self.resend is not None and self.resend.answered(identifier, reason)

    def connected(self, goes_on: bool) -> None:
        """As ``Resend.connected``."""
        if self.resend is not None:
            self.resend.connected(goes_on)

    def disconnected(self) -> None:
        """As ``Resend.disconnected``."""
        if self.resend is not None:
            self.resend.disconnected()
