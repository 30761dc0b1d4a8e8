"""A spoiled line, kill -9 of the gateway and of its cloud. ``make cut ROUNDS=300`` is the long run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from e2e.uplink.rounds import cut

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("cloud", "rounds", "packed"),
    [("mosquitto", 5, None), ("nats", 2, None), ("mosquitto", 3, "columns"), ("nats", 2, "lines")],
)
def test_what_was_acknowledged_is_at_the_cloud_once(
    tmp_path: Path, cloud: str, rounds: int, packed: str | None
) -> None:
    seed = time.time_ns() % 1_000_000
    sys.stdout.write(f"SEED={seed}: {cut(tmp_path, rounds, seed, cloud, packed=packed)}\n")
