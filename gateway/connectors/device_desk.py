"""What ``gateway device`` asks of the running gateway: its devices, their points, and a command to one of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gateway.broker.port import Done, Publisher, Subscriber
from gateway.clock import Clock, iso_time
from gateway.config.load import Loaded
from gateway.config.settings import Settings
from gateway.connectors.base import Quality
from gateway.connectors.device_trace import limited, listen, seconds_of
from gateway.connectors.port import DevicePort
from gateway.errors import GatewayError
from gateway.message import Message, Value

PATIENCE: Final = 20.0
"""Seconds to wait for the answer to a command: those that wait before it, a write and its read-back."""

States = Callable[[], Mapping[str, Mapping[str, Any]]]
"""What each device says of itself, as in ``gateway status``."""


class DeviceDesk:
    """Commands of the control socket.

    loaded  the settings that run
    ports   what the devices have said last
    shared  what devices share, with the taps of their endpoints
    """

    def __init__(
        self,
        loaded: Callable[[], Loaded[Settings]],
        ports: Mapping[str, DevicePort],
        states: States,
        publisher: Publisher,
        clock: Clock,
        shared: Mapping[str, Any],
    ) -> None:
        self._shared = shared
        self._loaded = loaded
        self._ports = ports
        self._states = states
        self._publisher = publisher
        self._clock = clock

    def commands(self) -> dict[str, Callable[[Mapping[str, Any]], Any | Awaitable[Any]]]:
        """By name."""
        return {"devices": self._list, "device": self._points, "device-write": self._write}

    def trace(
        self, request: Mapping[str, Any], put: Callable[[Any], None], end: Callable[[], None]
    ) -> Callable[[], None]:
        """A stream of the control socket: what runs between the gateway and one device."""
        name = str(request.get("device"))
        self._device(name)
        seconds = seconds_of(request)
        return limited(listen(self._ports[name], self._shared, self._clock, put), seconds, end)

    def _list(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        states = self._states()
        found = []
        loaded = self._loaded()
        for name, device in loaded.value.device.items():
            last = self._ports[name].last.values()
            state = states.get(name, {})
            found.append(
                {
                    "device": name,
                    "kind": loaded.kinds[f"device.{name}"],
                    "state": state.get("state", "-"),
                    "url": getattr(device, "url", None),
                    "topic": device.topic or name,
                    "points": len(device.point),
                    "good": sum(sample.quality is Quality.GOOD for sample in last),
                    "last_error": state.get("last_error", ""),
                }
            )
        return found

    def _points(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = str(request.get("device"))
        device = self._device(name)
        wanted = request.get("points") or []
        known = {point.name: point for point in device.point}
        unknown = [point for point in wanted if point not in known]
        if unknown:
            raise GatewayError(f'{name} has no point "{unknown[0]}"; it has: {", ".join(known)}')
        time, last = self._clock.time(), self._ports[name].last
        rows = []
        for point in [known[one] for one in wanted] or known.values():
            sample = last.get(point.name)
            rows.append(
                {
                    "point": point.name,
                    "value": None if sample is None else sample.value,
                    "unit": point.unit,
                    "quality": "unknown" if sample is None else str(sample.quality),
                    "why": "nothing has come yet" if sample is None else sample.reason,
                    "time": None if sample is None else iso_time(sample.time),
                    "age": None if sample is None else round(max(0.0, time - sample.time), 1),
                    "topic": f"{device.topic or name}/{point.name}",
                    "writable": point.write is not None,
                }
            )
        return {"device": name, "state": dict(self._states().get(name, {})), "points": rows}

    async def _write(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command as any client would, and wait for its answer."""
        name, point = str(request.get("device")), str(request.get("point"))
        device = self._device(name)
        topic = f"{device.topic or name}/{point}/set"
        if all(one.name != point for one in device.point):
            raise GatewayError(f'{name} has no point "{point}"; it has: {", ".join(one.name for one in device.point)}')
        id = f"console-{uuid.uuid4().hex[:12]}"
        answer = _Answer(id)
        self._publisher.subscribe(f"{topic}/result", answer)
        try:
            value: dict[str, Value] = {"id": id, "value": request.get("value")}
            self._publisher.publish(
                Message(topic, None, 1, time=self._clock.time(), source="console", value=value), lambda error: None
            )
            async with asyncio.timeout(PATIENCE):
                return await answer.future
        except TimeoutError:
            raise GatewayError(f"no answer within {PATIENCE:g} s; the command may still be carried out") from None
        finally:
            self._publisher.unsubscribe(f"{topic}/result", answer)

    def _device(self, name: str) -> Any:
        devices = self._loaded().value.device
        device = devices.get(name)
        if device is None:
            raise GatewayError(f'no device is called "{name}"; there are: {", ".join(devices) or "none"}')
        return device


class _Answer(Subscriber):
    """The result of one command."""

    __slots__ = ("_id", "future")

    def __init__(self, id: str) -> None:
        self._id = id
        self.future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def deliver(self, message: Message, done: Done | None) -> bool:
        value = message.value
        if isinstance(value, dict) and value.get("id") == self._id and not self.future.done():
            self.future.set_result(value)
        return False

    def keeps(self) -> bool:
        return False
