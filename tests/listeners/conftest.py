"""Certificates for the listeners."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from gateway.config.listener import Tls
from listeners.stage import write_tls


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(tmp_path: Path, authority: trustme.CA) -> Tls:
    return write_tls(tmp_path, authority)
