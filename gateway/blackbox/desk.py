"""The black boxes of a gateway: fed by the broker, saved beside the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.blackbox import files
from gateway.blackbox.ring import Recording, Ring, Trigger
from gateway.broker.port import Publisher
from gateway.clock import Clock, iso_time
from gateway.config.blackbox import BlackBox
from gateway.errors import GatewayError
from gateway.message import Message
from gateway.metrics import Metrics

log = logging.getLogger("gateway.blackbox")

ROOT: Final = "$SYS/gateway/blackbox"


class Floor(Protocol):
    """What is known of the free space on the disk."""

    @property
    def low(self) -> bool: ...
    @property
    def left(self) -> float: ...


class BlackBoxes:
    """All of them. They record from the start; ``tick`` comes once a second, ``close`` saves what was asked for."""

    def __init__(
        self,
        settings: Mapping[str, BlackBox],
        state: Path,
        publisher: Publisher,
        clock: Clock,
        floor: Callable[[], Floor | None],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._folder = state / "blackbox"
        self._publisher = publisher
        self._clock = clock
        self._floor = floor
        self._metrics = metrics
        self._counted = dict.fromkeys(settings, 0)
        self._writing: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()
        self._errors: dict[str, str] = {}
        self.rings: dict[str, Ring] = {}
        for name, box in settings.items():
            ring = self.rings[name] = Ring(box.before, box.after, box.max_bytes, self._times)
            for pattern in box.topics:
                publisher.subscribe(pattern, ring)
            if box.trigger is not None:
                publisher.subscribe(box.trigger, Trigger(ring))

    def _times(self) -> tuple[float, float]:
        return self._clock.now(), self._clock.time()

    def tick(self) -> None:
        """Save what is due; one file of a box at a time, the next one waits."""
        for name, ring in self.rings.items():
            if name not in self._busy:
                self._begin(name, ring.tick())
            lost = ring.dropped - self._counted[name]
            if lost:
                self._counted[name] += lost
                self._metrics.drop("blackbox_full", lost)

    def _begin(self, name: str, recording: Recording | None) -> None:
        if recording is None:
            return
        self._busy.add(name)
        task = asyncio.get_running_loop().create_task(self._save(name, recording))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _save(self, name: str, recording: Recording) -> None:
        try:
            floor, size = self._floor(), sum(2 * len(row.message.payload) + 300 for row in recording.rows)
            if floor is not None and (floor.low or size > floor.left):
                raise GatewayError("the disk is full")
            keep = self._settings[name].keep
            path = await asyncio.to_thread(files.write, self._folder / name, name, recording, keep)
        except (OSError, GatewayError) as error:
            self._errors[name] = str(error)
            self._metrics.count("blackbox_failed")
            log.error("black box not saved", extra={"blackbox": name, "reason": str(error)})
            return
        finally:
            self._busy.discard(name)
        self._errors.pop(name, None)
        self._metrics.count("blackbox_saved")
        value = {
            "blackbox": name, "file": path.name, "cause": recording.cause, "time": iso_time(recording.time),
            "messages": len(recording.rows), "dropped": recording.dropped,
        }  # fmt: skip
        log.info("black box saved", extra=value)
        time = self._clock.time()
        self._publisher.publish(Message(f"{ROOT}/{name}", None, 1, time=time, source="gateway", value=value))

    async def close(self) -> None:
        """The gateway stops: what was asked for is written as far as it is recorded."""
        await asyncio.gather(*self._writing)
        for name, ring in self.rings.items():
            self._begin(name, ring.tick(at_once=True))
        await asyncio.gather(*self._writing)

    def status(self) -> list[dict[str, Any]]:
        """One table for each, with its files."""
        return [
            {
                "name": name,
                "messages": len(ring),
                "bytes": ring.bytes,
                "recorded": ring.recorded,
                "dropped": ring.dropped,
                "error": self._errors.get(name),
                "files": [path.name for path in files.files(self._folder / name)],
            }
            for name, ring in self.rings.items()
        ]

    def commands(self) -> Mapping[str, Any]:
        """For the control socket."""

        async def listed(request: Mapping[str, Any]) -> list[dict[str, Any]]:
            return await asyncio.to_thread(self.status)

        def save(request: Mapping[str, Any]) -> dict[str, Any]:
            name = request.get("name")
            if not isinstance(name, str) or name not in self.rings:
                raise GatewayError(f"there is no black box {name}; there are: {', '.join(self.rings) or 'none'}")
            return {"begun": self.rings[name].ask("command"), "after": self._settings[name].after}

        return {"blackbox": listed, "blackbox-save": save}
