"""From the settings of a device to an open connection: pymodbus for Modbus TCP and TLS, ``wire.py`` for serial frames.

Which of the two, and why not one for all, is in docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import ssl

from gateway.connectors.modbus.bus import Connection
from gateway.connectors.modbus.config import ModbusDevice
from gateway.connectors.modbus.endpoint import Endpoint
from gateway.connectors.modbus.wire import open_wire
from gateway.errors import Retry


class Dialer:
    """Opens the connection of a bus, as the settings of one of its devices say. Built without I/O."""

    def __init__(self, config: ModbusDevice) -> None:
        self._config = config

    async def __call__(self, endpoint: Endpoint, timeout: float) -> Connection:
        """An open connection. Raises Retry."""
        config = self._config
        if endpoint.is_line:
            return await open_wire(
                endpoint, timeout, rs485=config.rs485.port_settings if config.rs485 else None, echo=config.echo
            )
        # A gateway with serial lines alone does not load pymodbus.
        from gateway.connectors.modbus.client import connect

        context = None
        if endpoint.transport == "tls":
            try:
                context = await asyncio.to_thread(client_context, config)
            except OSError as error:  # which ssl.SSLError is too
                raise Retry(f"cannot use the certificates for {endpoint}: {error}") from None
        return await connect(endpoint, timeout, context)


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
