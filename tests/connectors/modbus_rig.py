"""What the tests of the Modbus connector share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.connectors.modbus.config import ModbusPoint
from gateway.connectors.modbus.connector import ModbusConnector
from gateway.connectors.modbus.sim import Simulator
from gateway.errors import Retry


def point(name: str, address: str, **fields: Any) -> ModbusPoint:
    return ModbusPoint(name=name, address=address, **fields)


@asynccontextmanager
async def running(*connectors: ModbusConnector) -> AsyncIterator[list[str]]:
    """Keep connectors going; yields the texts of their Retry."""
    texts: list[str] = []

    async def keep(connector: ModbusConnector) -> None:
        while True:
            try:
                await connector.run(lambda: None)
            except Retry as error:
                texts.append(str(error))
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(keep(connector)) for connector in connectors]
    try:
        yield texts
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


def timed(simulator: Simulator) -> list[float]:
    """The moments at which questions arrive from now on, by the loop's clock."""
    loop, ask, moments = asyncio.get_running_loop(), simulator.ask, []

    def noted(identifier: int, pdu: bytes) -> Any:
        moments.append(loop.time())
        return ask(identifier, pdu)

    simulator.ask = noted  # type: ignore[method-assign]
    return moments
