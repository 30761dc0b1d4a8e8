"""A world with an archive on paper, that can be killed and started again."""

from __future__ import annotations

from typing import Any

from gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from gateway.mqtt.restore import restore
from mqtt.pair import Client, World
from mqtt.paper import PaperArchive

KEEP = ((SESSION_EXPIRY_INTERVAL, 10_000),)


class DurableWorld(World):
    """``restart`` makes the world after a kill -9; what was not committed is gone."""

    def __init__(self, archive: PaperArchive | None = None, **options: Any) -> None:
        self.paper = archive or PaperArchive()
        self._options = options
        super().__init__(archive=self.paper, **options)

    def restart(self, **changed: Any) -> DurableWorld:
        """kill -9, and the next start."""
        stored = self.paper.crash()
        world = DurableWorld(self.paper, **{**self._options, **changed})
        restore(world.server, self.paper, stored)
        return world

    def stay(self, client_id: str = "c", level: int = 5, **options: Any) -> Client:
        """A client with a session that outlives its connection, and that is committed."""
        props = (*KEEP, *options.pop("props", ())) if level == 5 else ()
        client = self.client(client_id, level, clean=False, props=props, **options)
        self.paper.commit()
        return client

    def listener(self, client_id: str = "c", pattern: str = "t", qos: int = 2, **options: Any) -> Client:
        """Such a client with a subscription."""
        client = self.stay(client_id, **options)
        client.subscribe(pattern, qos)
        self.paper.commit()
        client.received()
        return client
