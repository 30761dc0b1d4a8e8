"""From the settings of a device to an open connection: pymodbus for Modbus TCP and TLS, ``wire.py`` for serial frames.

Which of the two, and why not one for all, is in docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple

from gateway.connectors.base import Port
from gateway.connectors.modbus.bus import Bus, Connection
from gateway.connectors.modbus.config import ModbusDevice
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.options import Rs485Table, Tls
from gateway.connectors.modbus.wire import open_wire
from gateway.connectors.tap import Tap
from gateway.connectors.tap import key as tap_key
from gateway.errors import ConfigError, Retry


class Way(NamedTuple):
    """What makes a connection."""

    endpoint: Endpoint
    rs485: Rs485Table | None
    echo: bool
    tls: Tls | None


class Dialer:
    """Opens the connection of a bus, as the settings of one of its devices say. Built without I/O."""

    def __init__(self, config: ModbusDevice, tap: Tap | None = None) -> None:
        self._config = config
        self._tap = tap

    async def __call__(self, endpoint: Endpoint, timeout: float) -> Connection:
        """An open connection. Raises Retry."""
        config = self._config
        if endpoint.is_line:
            return await open_wire(
                endpoint,
                timeout,
                rs485=config.rs485.port_settings if config.rs485 else None,
                echo=config.echo,
                tap=self._tap,
            )
        # A gateway with serial lines alone does not load pymodbus.
        from gateway.connectors.modbus.client import connect

        context = None
        if endpoint.transport == "tls":
            try:
                context = await asyncio.to_thread(client_context, config)
            except OSError as error:  # which ssl.SSLError is too
                raise Retry(f"cannot use the certificates for {endpoint}: {error}") from None
        return await connect(endpoint, timeout, context, self._tap)


class Line:
    """One endpoint, as the devices on it have it.

    way         what makes its connection; devices with another cannot be on it at the same time
    is_running  a device has used it: from then on another way is a reload, which has asked all devices before
    """

    def __init__(self, way: Way, bus: Bus) -> None:
        self.way = way
        self.bus = bus
        self.is_running = False


def join(name: str, config: ModbusDevice, port: Port) -> Line:
    """The line that a device shares with all that name the same. Raises ConfigError when they disagree about it."""
    endpoint = config.endpoint
    way = Way(endpoint, config.rs485, config.echo, config.tls)
    tap = port.share(tap_key(f"modbus {endpoint.key}"), Tap)

    def make() -> Line:
        return Line(way, Bus(endpoint, port.clock, Dialer(config, tap)))

    line = port.share(f"modbus {endpoint.key}", make)
    if line.way == way:
        return line
    if not line.is_running:
        other = line.way.endpoint
        if other != endpoint:
            raise ConfigError([f"device.{name}.url: must have {other.line} as other devices on {endpoint} have"])
        key = next(key for key in ("rs485", "echo", "tls") if getattr(line.way, key) != getattr(way, key))
        raise ConfigError([f"device.{name}.{key}: must be that of the other devices on {endpoint}"])
    # Changed while it runs: those who still have it the old way end soon, and then the port is free.
    return port.share(f"modbus {endpoint.key} {way}", make)


def client_context(config: ModbusDevice) -> ssl.SSLContext:
    """TLS 1.2 or later, as Modbus TCP Security asks for (V21 section 5). Reads files. Raises OSError."""
    tls = config.tls
    context = ssl.create_default_context(cafile=tls.ca if tls else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is not None:
        context.check_hostname = tls.check_name
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key, password="")
    return context
