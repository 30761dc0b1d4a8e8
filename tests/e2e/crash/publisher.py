"""Those who publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from e2e.crash.client import Client, user
from e2e.crash.ledger import Ledger, Series
from e2e.crash.stage import Stage
from gateway.message import Properties

FILLERS = (0, 0, 10, 40, 200, 3000)
"""Bytes that follow the number in a payload."""


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

    is_patient  a theme waits until its last message is answered; with ``retain`` the last answered is what is retained
    """

    def __init__(
        self,
        stage: Stage,
        client_id: str,
        parts: Sequence[Theme],
        rate: float,
        *,
        retain: bool = False,
        is_patient: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(stage, client_id, **options)
        self._themes = parts
        self._step = 1 / rate
        self._due = 0.0
        self._retain = retain
        self._is_patient = is_patient

    def act(self) -> None:
        now = self.stage.now
        self._due = max(self._due, now - 0.05)
        while self.stage.is_loaded and self._due <= now and self.has_room:
            self._due += self._step
            theme = self.stage.source.choice(self._themes)
            series = theme.series
            if self._is_patient and series.sent and series.sent not in series.acked:
                continue
            props = theme.props
            if theme.dedup:
                props += (user("dedup-id", f"{series.name}:{series.sent + 1}"),)
            filler = b"." * self.stage.source.choice(FILLERS)
            number = self.publish(series, theme.topic, filler, self._retain, props)
            series.born[number] = now
