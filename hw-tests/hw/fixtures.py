"""Which board, and what is wired to it; each test says what it needs and is skipped with that as the reason."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.conftest import closing as closing
from e2e.conftest import cloud as cloud
from e2e.conftest import plc as plc
from hw.board import Board
from hw.gateway import BoardGateway
from hw.wiring import OPTIONS, StartGateway, Wiring

HERE = f"env PYTHONPATH={shlex.quote(str(Path(__file__).parents[2]))} {shlex.quote(sys.executable)} -m gateway"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hw", "the board")
    for name, text in OPTIONS.items():
        group.addoption(name, default="", help=text)


@pytest.fixture(scope="session")
def wiring(request: pytest.FixtureRequest) -> Wiring:
    return Wiring(request.config)


@pytest.fixture(scope="session")
def board(wiring: Wiring) -> Board:
    """The board; it must answer."""
    found = Board(wiring.get("--host"), shlex.split(wiring.get("--ssh")))
    found.wait_until_it_answers(30)
    return found


def on_flash(board: Board) -> str:
    """A folder that outlives a cut: the appliance keeps its root in memory, and what stays on /data."""
    return board.run(
        "mountpoint -q /data && echo /data/gateway-hw-test || echo /var/lib/gateway-hw-test"
    ).stdout.strip()


@pytest.fixture
def start_gateway(board: Board, wiring: Wiring, tmp_path: Path, closing: ExitStack) -> StartGateway:
    """``start_gateway(settings)``: a gateway on the board that answers, as in tests/e2e."""
    folder = wiring.get("--folder") or (str(tmp_path / "board") if board.is_here else on_flash(board))
    command = wiring.get("--gateway") or (HERE if board.is_here else "gateway")

    def start(settings: str, rules: str | None = None) -> BoardGateway:
        gateway = BoardGateway(board, folder, command, settings, rules)
        closing.callback(gateway.close)
        gateway.prepare()
        gateway.start()
        return gateway

    return start
