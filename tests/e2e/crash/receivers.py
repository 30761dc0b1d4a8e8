"""Those who receive, where more than an inbox is to be checked."""

from __future__ import annotations

from typing import Any

from e2e.crash.client import Client, said
from e2e.crash.ledger import Series
from e2e.crash.publisher import clears
from e2e.crash.stage import Stage
from gateway.mqtt.packets import Filter, PubAck, Publish

DELAY = 0.4
EARLY = 0.25
"""Seconds that a message may seem to be early: it comes within a second of its time, and the gateway dates what it
receives by its last wake-up, which on a busy machine is a while ago."""


class LateReceiver(Client):
    """What was published to ``$delayed/DELAY/...`` does not come before its time."""

    def got(self, packet: Publish, series: Series, number: int) -> None:
        super().got(packet, series, number)
        waited = self.stage.now - series.born[number]
        if waited < DELAY - EARLY:
            self.ledger.problem(f"{self.client_id}: came after {waited:.3f} s", series, number)


class CloudReceiver(Client):
    """At the cloud: a message that the gateway stored once has one message id, however often it comes. What is live
    overtakes the backlog, which is marked."""

    def __init__(self, stage: Stage, client_id: str, **options: Any) -> None:
        super().__init__(stage, client_id, **options)
        self._ids: dict[tuple[str, int], set[str]] = {}

    def lane_of(self, packet: Publish) -> str:
        return "replay" if "replay" in said(packet) else "live"

    def got(self, packet: Publish, series: Series, number: int) -> None:
        super().got(packet, series, number)
        ids = self._ids.setdefault((series.name, number), set())
        ids.add(said(packet).get("message-id", ""))
        allowed = 1 if series.qos == 2 else 1 + series.repeats[number]
        if len(ids) > allowed or "" in ids:
            self.ledger.problem(f"{self.client_id}: message ids {sorted(ids)}", series, number)


class RetainedProbe(Client):
    """Asks for all retained messages after every connect: none is older than the last that was acknowledged, and none
    is missing or there again because of one that clears it."""

    MARK = "mark"

    def __init__(self, stage: Stage, client_id: str, watched: list[Series]) -> None:
        super().__init__(
            stage, client_id, clean=True, filters=(Filter("state/#", 1, retain_as_published=True), Filter("probe/#", 0))
        )
        stage.ledger.begin(self.MARK, 0)
        self.looks = 0
        self._watched = watched
        self._floor: dict[str, int] = {}
        self._seen: set[str] = set()

    def _connect(self) -> None:
        self._floor = {series.name: max(series.acked) for series in self._watched if series.acked}
        self._seen = set()
        super()._connect()

    def ready(self) -> None:
        """SUBACK is here, so the retained messages are before whatever is published from here on."""
        self._send(Publish("probe/mark", b"mark:1:"))

    def _on_publish(self, packet: Publish) -> None:
        if packet.payload:
            super()._on_publish(packet)
        else:
            self._seen.add(packet.topic)  # cleared while we look
            self._answers.append(PubAck(packet.packet_id))

    def got(self, packet: Publish, series: Series, number: int) -> None:
        if series.name == self.MARK:
            for name in self._floor.keys() - self._seen:
                self._check_missing(self.ledger.series[name], self._floor[name])
            self.looks += 1
            self._go(True, 0.3)
        elif series.name not in self._seen:
            self._seen.add(series.name)
            if number < self._floor.get(series.name, 0):
                self.ledger.problem(
                    f"{series.name}: {number} is retained, {self._floor[series.name]} was acknowledged", series, number
                )

    def _check_missing(self, series: Series, number: int) -> None:
        if not any(clears(one) for one in range(number, series.sent + 1)):
            self.ledger.problem(f"{series.name} {number} is not retained", series, number)
