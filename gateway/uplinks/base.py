"""What an uplink sees of the store: rows to send, and a place to say that they have arrived."""

from __future__ import annotations

from gateway.outbound import OutboxReader, Row

__all__ = ["OutboxReader", "Row"]
