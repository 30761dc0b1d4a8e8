"""The fixtures of ``hw.fixtures``, where pytest looks for them."""

from __future__ import annotations

from hw.fixtures import board, closing, cloud, plc, pytest_addoption, start_gateway, wiring

__all__ = ["board", "closing", "cloud", "plc", "pytest_addoption", "start_gateway", "wiring"]
