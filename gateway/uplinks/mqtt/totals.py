"""What has gone up since the start: rows, publishes and bytes."""

from __future__ import annotations

from gateway.metrics import Metrics


class Totals:
    """sent, acked  rows
    refused      parcels that the cloud has refused
    messages     publishes
    bytes        of these, as sent, without TLS and TCP
    """

    __slots__ = ("_counted", "acked", "bytes", "messages", "refused", "sent")

    def __init__(self) -> None:
        self.sent = self.acked = self.refused = self.messages = self.bytes = 0
        self._counted = (0, 0)

    def publish(self, rows: int, size: int, messages: int = 1) -> None:
        """So many publishes with so many rows and bytes."""
        self.sent += rows
        self.messages += messages
        self.bytes += size

    def count(self, metrics: Metrics) -> None:
        """Bring the metrics up to date: not for each publish, because that is felt."""
        messages, size = self._counted
        if self.messages > messages:
            metrics.count("uplink_messages_out", self.messages - messages)
            metrics.count("uplink_bytes_out", self.bytes - size)
            self._counted = (self.messages, self.bytes)

    def status(self, again: int) -> dict[str, int]:
        """For the uplink's status. ``again``: bytes of rows that were sent once more on request."""
        return {"sent": self.sent, "acked": self.acked, "refused": self.refused, "bytes": self.bytes + again}
