"""What every scenario needs: programs that are gone at its end whatever happened, and their logs when it failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.rig.gateway import GatewayProcess
from e2e.rig.programs import Program, libmodbus_server, mosquitto, units_server
from peers.mosquitto import Mosquitto

StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Whatever is entered here is closed after the test, last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_gateway(tmp_path: Path, closing: ExitStack) -> StartGateway:
    """``start_gateway(settings)``: a gateway that is READY."""

    def start(settings: str, watchdog_seconds: float | None = None, rules: str | None = None) -> GatewayProcess:
        gateway = GatewayProcess(tmp_path / "gateway", settings, watchdog_seconds)
        closing.callback(gateway.close)
        if rules is not None:
            (gateway.rules / "rules.toml").write_text(rules)
        gateway.start()
        return gateway

    return start


@pytest.fixture
def cloud(tmp_path: Path, closing: ExitStack) -> Mosquitto:
    """A mosquitto as the cloud's broker."""
    return closing.enter_context(mosquitto(tmp_path / "cloud"))


@pytest.fixture
def plc(tmp_path: Path, closing: ExitStack) -> Program:
    """A Modbus server on libmodbus; it serves one connection at a time."""
    return closing.enter_context(libmodbus_server(tmp_path / "plc"))


@pytest.fixture
def units(tmp_path: Path, closing: ExitStack) -> Program:
    """A Modbus server on npm modbus-serial: many units, of which 3 is slow, 4 mute, and 5 refuses."""
    return closing.enter_context(units_server(tmp_path / "units"))
