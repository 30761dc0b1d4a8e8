"""Damaged packets and dialogues against the sans-IO server; the long run is ``benchmarks/fuzz.py``."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from gateway.mqtt.packets import NAMES
from mqtt.fuzzer import Crowd

CLIENT_TYPES = set(NAMES) - {"WILL"}
"""Every type is sent; "WILL" stands for the reserved type 0, which only damage makes."""


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("harm", [0.02, 0.3])
def test_a_short_run(seed: int, harm: float) -> None:
    crowd = Crowd(seed, harm=harm)
    for _ in range(500):
        crowd.step()
    crowd.finish()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "harm"), [(100, 0.02), (101, 0.1), (102, 0.3), (103, 0.8)])
def test_a_medium_run(seed: int, harm: float) -> None:
    crowd = Crowd(seed, harm=harm)
    for _ in range(25_000):
        crowd.step()
    crowd.finish()
    assert set(crowd.sent) >= CLIENT_TYPES
    assert len(crowd.closes) > 20


@pytest.mark.slow
def test_memory_stays() -> None:
    """All caches and tables are full after the first half."""
    crowd = Crowd(200, harm=0.2)
    tracemalloc.start()
    try:
        for _ in range(15_000):
            crowd.step()
        gc.collect()  # what only the collector frees is no growth
        half = tracemalloc.get_traced_memory()[0]
        for _ in range(15_000):
            crowd.step()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - half
    finally:
        tracemalloc.stop()
    crowd.finish()
    assert grown < 2 << 20, f"{grown} bytes more than at half time"
