"""Simulated devices on serial lines: same settings as the real ones, values set from outside, faults on demand.

Where the settings name a device file, the simulation makes a pseudo terminal and a link of that name to it; the file
must not be there. Where they name a serial server, it listens there. Devices with the same url share the line.

A pseudo terminal has no speed: bytes arrive at once. But it keeps the speed that is set, and a simulated meter
(IEC 62056-21) sends its readout only at the speed that it has offered.
"""

from __future__ import annotations

import asyncio
import os
import termios
import time
import tty
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

from gateway.clock import Clock
from gateway.connectors.serial.config import SerialDevice
from gateway.connectors.serial.sim_speech import SimPoint, Speech, readout, sentences, telegram
from gateway.connectors.serial_line import Address, SerialAddress, TcpAddress, parse_address
from gateway.errors import Rejected
from gateway.message import Value

_IDENTIFICATION: Final = b"/GWS5SIMULATION\r\n"
_OFFERED: Final = termios.B9600
_REACTION: Final = 0.25
"""Seconds between the answer of the gateway and the readout (IEC 62056-21 section 6.4.3: 0.2 to 1.5)."""

_GARBAGE: Final = b"\xff\x00#garbage~\x7f\r\n"
_MOST: Final = 4096


class _Device:
    """One simulated device and its faults."""

    def __init__(self, config: SerialDevice, clock: Clock) -> None:
        self.config = config
        self.speech = Speech(config)
        self.clock = clock
        self.held: dict[str, Value] = {}
        self.fault = "none"
        self.amount = 0.0
        self.is_frozen = False
        self.asked: Counter[str] = Counter()
        self.forget()

    def forget(self) -> None:
        """As after it was switched on."""
        self.held = {name: point.first for name, point in self.speech.points.items()}

    def point(self, name: str) -> SimPoint:
        return self.speech.points[name]

    def told(self) -> bytes:
        """What it says by itself."""
        if self.config.protocol == "nmea0183":
            now = time.gmtime(self.clock.time())
            hour, day = time.strftime("%H%M%S.00", now), time.strftime("%d%m%y", now)
            return sentences(self.config, self.held, hour, day)
        if self.config.mode == "pushed":
            return readout(self.config, self.held)[1:-2]
        return self.speech.frames(self.speech.told, self.held)

    @property
    def speaks(self) -> bool:
        """Whether it says something by itself."""
        config = self.config
        return (
            config.protocol == "nmea0183"
            or config.mode == "pushed"
            or (config.protocol == "frames" and bool(self.speech.told))
        )

    def heard(self, buffer: bytes) -> tuple[bytes, int, float] | None:
        """What it answers to the begin of the buffer, how long that begin is, and seconds that it takes; None when it
        is not asked."""
        if self.config.protocol == "iec62056-21":
            return self._meter(buffer) if self.config.mode == "asked" else None
        if self.config.protocol == "mbus":
            return self._slave(buffer)
        for question in self.speech.questions:
            if buffer.startswith(question):
                self.asked["questions"] += 1
                return self.speech.answer(question, self.held), len(question), 0.0
        found = self.speech.command(buffer)
        if found is None:
            return None
        point, value, size = found
        self.asked["commands"] += 1
        if not self.is_frozen:
            self.held[point.name] = value
        return self.speech.acknowledge(point), size, 0.0

    def _meter(self, buffer: bytes) -> tuple[bytes, int, float] | None:
        unit = "" if self.config.unit is None else str(self.config.unit)
        for sign_on in {b"/?!\r\n", f"/?{unit}!\r\n".encode()}:
            if buffer.startswith(sign_on):
                self.asked["sign-ons"] += 1
                return _IDENTIFICATION, len(sign_on), 0.0
        if buffer.startswith(b"\x06050\r\n"):
            self.asked["readouts"] += 1
            return readout(self.config, self.held), 6, _REACTION
        return None

    def _slave(self, buffer: bytes) -> tuple[bytes, int, float] | None:
        """A meter on the M-Bus (EN 13757-2 section 5.7): reset and select are acknowledged, a request is answered."""
        unit = self.config.unit
        address = 253 if isinstance(unit, str) else int(unit or 0)
        if isinstance(unit, str):
            select = bytes.fromhex("68 0b 0b 68 53 fd 52") + bytes.fromhex(unit)[::-1]
            if buffer.startswith(select) and len(buffer) >= 17:
                return b"\xe5", 17, 0.0
        if buffer.startswith(bytes((0x10, 0x40, address))) and len(buffer) >= 5:
            return b"\xe5", 5, 0.0
        if buffer[:1] == b"\x10" and buffer[1:2] in (b"\x5b", b"\x7b") and buffer[2:3] == bytes((address,)):
            self.asked["readouts"] += len(buffer) >= 5
            return (telegram(self.config, self.held), 5, 0.0) if len(buffer) >= 5 else None
        return None


class _Line(ABC):
    """One line, and the devices on it."""

    def __init__(self, devices: list[_Device]) -> None:
        self.devices = devices
        self._buffer = bytearray()
        self._timers: set[asyncio.TimerHandle] = set()

    @abstractmethod
    async def open(self) -> None: ...

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    def send(self, data: bytes) -> None: ...

    def speed(self) -> int | None:
        """The speed that the gateway has set, as termios writes it; None where that cannot be seen."""
        return None

    def after(self, seconds: float, data: bytes, device: _Device) -> None:
        """Say ``data`` later."""
        handle: asyncio.TimerHandle

        def say() -> None:
            self._timers.discard(handle)
            is_meter = device.config.protocol == "iec62056-21" and data != _IDENTIFICATION
            if is_meter and self.speed() not in (None, _OFFERED):
                self.send(bytes(byte ^ 0x55 for byte in data[:40]))  # as it looks at the wrong speed
            else:
                self.send(data)

        handle = asyncio.get_running_loop().call_later(seconds, say)
        self._timers.add(handle)

    def forget(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._buffer.clear()

    def tell(self, device: _Device) -> None:
        """Let a device say what it says by itself, again and again."""
        handle: asyncio.TimerHandle

        def say() -> None:
            self._timers.discard(handle)
            self._say(device, device.told())
            self.tell(device)

        if device.speaks:
            handle = asyncio.get_running_loop().call_later(device.config.poll, say)
            self._timers.add(handle)

    def received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            for device in self.devices:
                try:
                    found = device.heard(bytes(self._buffer))
                except (Rejected, ValueError):
                    found = None
                if found is not None:
                    answer, size, reaction = found
                    del self._buffer[:size]
                    self._say(device, answer, reaction)
                    break
            else:
                # It may be the begin of a question; what is no question is forgotten with time.
                if not self._may_become_one():
                    del self._buffer[:1]
                    continue
                break

    def _may_become_one(self) -> bool:
        start = bytes(self._buffer)
        if len(start) > _MOST:
            return False
        known = [question for device in self.devices for question in device.speech.questions]
        known += [b"/?", b"\x06050\r\n"] if any(d.config.protocol == "iec62056-21" for d in self.devices) else []
        if any(device.config.protocol == "mbus" for device in self.devices) and start[:1] in (b"\x10", b"\x68"):
            return len(start) < 17
        has_commands = any(point.settings.set for device in self.devices for point in device.speech.points.values())
        return has_commands or any(q.startswith(start) or (q == b"/?" and start.startswith(q)) for q in known)

    def _say(self, device: _Device, data: bytes, reaction: float = 0.0) -> None:
        if not data or device.fault == "mute":
            return
        if device.fault == "garbage":
            data = _GARBAGE
        if device.fault == "late":
            reaction += device.amount
        if reaction:
            self.after(reaction, data, device)
        else:
            self.send(data)


class _Pty(_Line):
    """A line on a pseudo terminal, linked to the name of a device file."""

    def __init__(self, path: str, devices: list[_Device]) -> None:
        super().__init__(devices)
        self._path = path
        self._master = self._keeper = -1

    async def open(self) -> None:
        self._master, self._keeper = os.openpty()
        try:
            os.symlink(os.ttyname(self._keeper), self._path)
        except FileExistsError:
            self._hang_up()
            raise FileExistsError(f"{self._path} is there already; a simulated line makes it") from None
        except OSError:
            self._hang_up()
            raise
        tty.setraw(self._keeper)
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    async def close(self) -> None:
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._hang_up()

    def _hang_up(self) -> None:
        os.close(self._master)
        os.close(self._keeper)
        self._master = self._keeper = -1

    def send(self, data: bytes) -> None:
        with suppress(BlockingIOError):
            # What nobody reads is lost, as on a wire.
            os.write(self._master, data)

    def speed(self) -> int | None:
        found: int = termios.tcgetattr(self._master)[4]
        return found

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self.received(os.read(self._master, 4096))


class _Server(_Line):
    """A line behind a serial server."""

    def __init__(self, address: TcpAddress, devices: list[_Device]) -> None:
        super().__init__(devices)
        self._address = address
        self._server: asyncio.Server | None = None
        self.connections: set[asyncio.Transport] = set()

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self._address.host, self._address.port)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for transport in list(self.connections):
            transport.abort()
        await self._server.wait_closed()
        self._server = None

    def send(self, data: bytes) -> None:
        for transport in self.connections:
            transport.write(data)


class _Connection(asyncio.Protocol):
    def __init__(self, server: _Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._server.connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._server.received(data)


class SerialSimulation:
    """All simulated serial devices of one settings file; see ``connectors.simulation``."""

    def __init__(self, devices: Mapping[str, SerialDevice], clock: Clock) -> None:
        self._devices = {name: _Device(config, clock) for name, config in devices.items()}
        shared: dict[str, list[_Device]] = {}
        for device in self._devices.values():
            shared.setdefault(str(device.config.address), []).append(device)
        self._lines = [self._line(parse_address(url), on_it) for url, on_it in shared.items()]
        self._back: set[asyncio.Task[None]] = set()

    @staticmethod
    def _line(address: Address, devices: list[_Device]) -> _Line:
        if isinstance(address, SerialAddress):
            return _Pty(address.path, devices)
        return _Server(address, devices)

    async def start(self) -> None:
        for line in self._lines:
            await self._open(line)

    async def stop(self) -> None:
        for task in self._back:
            task.cancel()
        await asyncio.gather(*self._back, return_exceptions=True)
        for line in self._lines:
            line.forget()
            await line.close()

    def set(self, device: str, point: str, value: Value) -> None:
        found = self._devices[device]
        found.held[point] = found.point(point).held(value)

    def get(self, device: str, point: str) -> Value:
        found = self._devices[device]
        return found.point(point).value(found.held[point])

    def asked(self, device: str) -> dict[str, int]:
        """Questions, commands, sign-ons and readouts so far."""
        return dict(self._devices[device].asked)

    def freeze(self, device: str, is_frozen: bool) -> None:
        """Let a device say yes to commands and keep its values."""
        self._devices[device].is_frozen = is_frozen

    @property
    def connections(self) -> int:
        """Connections to simulated serial servers."""
        return sum(len(line.connections) for line in self._lines if isinstance(line, _Server))

    def fault(self, device: str, kind: str, amount: float = 0.0) -> None:
        if kind not in ("none", "mute", "late", "garbage", "reboot"):
            raise ValueError(f"a serial device has no fault {kind!r}")
        found = self._devices[device]
        if kind == "reboot":
            found.forget()
            for line in self._lines:
                if found in line.devices:
                    task = asyncio.get_running_loop().create_task(self._reboot(line, amount))
                    self._back.add(task)
                    task.add_done_callback(self._back.discard)
            return
        found.fault, found.amount = kind, amount

    async def _open(self, line: _Line) -> None:
        await line.open()
        for device in line.devices:
            line.tell(device)

    async def _reboot(self, line: _Line, seconds: float) -> None:
        line.forget()
        await line.close()
        await asyncio.sleep(seconds)
        await self._open(line)


def simulate(devices: Mapping[str, SerialDevice], clock: Clock) -> SerialSimulation:
    """Simulated devices for these settings, switched off."""
    return SerialSimulation(devices, clock)
