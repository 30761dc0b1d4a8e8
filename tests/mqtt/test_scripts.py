"""Every case of ``scripts/``, in every version that it names: on function calls, and on a live process over TCP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port
from mqtt.notation import Case, read_cases
from mqtt.player import Play, sweep
from mqtt.stages import CallStage, SocketStage

FOLDER = Path(__file__).parent / "scripts"
CASES = [case for path in sorted(FOLDER.glob("*.mqtt")) for case in read_cases(path)]
PLAYS = [pytest.param(case, version, id=f"{case.name} v{version}") for case in CASES for version in case.statements]

LIVE_SECONDS = 3.0
"""Cases that wait longer are left to the server whose clock can be moved."""
LIVE = [
    pytest.param(case, version, id=f"{case.name} v{version}")
    for case in CASES
    for version in case.statements
    if not case.limits and case.seconds <= LIVE_SECONDS
]


@pytest.mark.parametrize(("case", "version"), PLAYS)
def test_on_function_calls(case: Case, version: str) -> None:
    Play(case, version, CallStage(case.limits)).run()


@pytest.mark.parametrize(("case", "version"), PLAYS)
def test_byte_by_byte(case: Case, version: str) -> None:
    """Any split of the stream gives the same."""
    Play(case, version, CallStage(case.limits, step=1)).run()


def test_every_case_has_its_own_name() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketStage]:
    port = free_port()
    settings = f'[listener.local]\nkind = "mqtt"\nbind = "127.0.0.1:{port}"\n'
    gateway = GatewayProcess(tmp_path_factory.mktemp("scripts"), settings)
    try:
        gateway.start()
        yield SocketStage(("127.0.0.1", port))
    finally:
        gateway.close()


@pytest.mark.slow
@pytest.mark.parametrize(("case", "version"), LIVE)
def test_on_a_live_process(case: Case, version: str, live: SocketStage) -> None:
    play = Play(case, version, live)
    try:
        play.run()
    finally:
        sweep(live, play.client_ids, play.retained)
