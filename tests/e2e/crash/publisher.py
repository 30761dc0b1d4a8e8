"""Those who publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from e2e.crash.client import Client, user
from e2e.crash.ledger import Ledger, Series
from e2e.crash.stage import Stage
from gateway.message import Properties
from gateway.mqtt.packets import Publish

FILLERS = (0, 0, 10, 40, 200, 3000)
"""Bytes that follow the number in a payload."""


CLEARS = 6


def clears(number: int) -> bool:
    """Whether this message of a series that is retained is an empty one: nothing is retained then."""
    return number % CLEARS == 0


@dataclass(frozen=True, slots=True)
class Theme:
    """One series and how it is published. ``dedup``: with a ``dedup-id``."""

    series: Series
    topic: str
    props: Properties = ()
    dedup: bool = False


def themes(ledger: Ledger, name: str, count: int, qos: int, prefix: str = "", dedup: bool = False) -> list[Theme]:
    """Series ``name/1`` ... published to ``prefix`` + name."""
    made = []
    for index in range(1, count + 1):
        own = f"{name}/{index}"
        made.append(Theme(ledger.begin(own, qos), prefix + own, (user("unit", own),), dedup))
    return made


class Publisher(Client):
    """Publishes its themes in random turn, ``rate`` messages a second.

    retain  its messages are retained, every CLEARS-th is empty, and a theme waits until its last message is answered:
            what was answered last is what is retained
    """

    def __init__(
        self,
        stage: Stage,
        client_id: str,
        parts: Sequence[Theme],
        rate: float,
        *,
        retain: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(stage, client_id, **options)
        self._themes = parts
        self._step = 1 / rate
        self._due = 0.0
        self._retain = retain

    def act(self) -> None:
        now = self.stage.now
        self._due = max(self._due, now - 0.05)
        while self.stage.is_loaded and self._due <= now and self.has_room:
            self._due += self._step
            theme = self.stage.source.choice(self._themes)
            series = theme.series
            if self._retain and series.sent and series.sent not in series.acked:
                continue
            props = theme.props
            if theme.dedup:
                props += (user("dedup-id", f"{series.name}:{series.sent + 1}"),)
            filler: bytes | None = b"." * self.stage.source.choice(FILLERS)
            if self._retain and clears(series.sent + 1):
                filler = None
            number = self.publish(series, theme.topic, filler, self._retain, props)
            series.born[number] = now


class Noise(Client):
    """Messages with QoS 0, some retained, that nobody counts: what travels with them in a commit is counted."""

    def act(self) -> None:
        if self.stage.is_loaded and self.stage.source.random() < 0.3:
            number = self.stage.source.randrange(50)
            self._send(Publish(f"noise/{number}", b"%d" % number, retain=number < 10))
