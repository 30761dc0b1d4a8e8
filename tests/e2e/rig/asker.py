"""A client of a gateway whose disk is in trouble: it knows what was taken and what was refused."""

from __future__ import annotations

import time
from typing import Any

from paho.mqtt.reasoncodes import ReasonCode

from e2e.rig.clients import Publisher
from e2e.rig.waiting import wait_until

TOPIC = "line/a"

WINDOW = 50
"""Messages that may wait for their answer."""


class Asker(Publisher):
    """A publisher that also remembers the reasons of refusals."""

    def __init__(self, port: int, client_id: str = "plant") -> None:
        self.refused: list[int] = []
        super().__init__(port, client_id)

    def _on_publish(self, client: Any, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        if reason.is_failure:
            self.refused.append(reason.value)
        super()._on_publish(client, data, mid, reason, properties)

    def tell(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 0: nobody stores it."""
        self._client.publish(topic, payload)

    def _is_taken(self, payload: bytes) -> bool:
        self.publish(TOPIC, payload)
        time.sleep(0.1)
        return payload in self.acknowledged

    def until_taken(self, payload: bytes, timeout: float = 25) -> None:
        """Publish it again and again until it is acknowledged."""
        wait_until(lambda: self._is_taken(payload), timeout, "messages are taken again")

    def until_refused(self, size: int, most: int) -> None:
        """Publish messages of ``size`` bytes, each another, until one is refused; at most ``most`` of them."""
        for number in range(most):
            self.publish(TOPIC, b"%d:" % number + b"x" * size)
            # As fast as the disk is: what waits in the client has not been refused.
            wait_until(lambda: self.unanswered - len(self.refused) < WINDOW, 10, "answers")
            if self.refused:
                return
        raise AssertionError(f"{most} messages of {size} bytes, and none was refused")
