"""What has expired is refused, by every clock that may be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.desk_bench import Bench, answers
from connectors.fakes import run


@pytest.mark.parametrize(
    ("expires", "status"),
    [
        (1_700_000_000 - 1, "expired"),
        (1_700_000_000 + 1, "done"),
        ("2023-11-14T22:13:19Z", "expired"),
        ("2023-11-14T23:13:21+01:00", "done"),
    ],
)
def test_an_expired_command_is_refused_by_the_senders_clock(expires: Any, status: str) -> None:
    (answer,) = answers({"value": 1, "expires": expires})
    assert answer["status"] == status


@pytest.mark.parametrize("step", [-3600.0, 50 * 365 * 86_400.0])
def test_a_step_of_the_clock_neither_ends_nor_prolongs_the_life_of_a_command_that_waits(step: float) -> None:
    bench = Bench()

    async def main() -> None:
        bench.send("t", {"id": "short", "value": 1, "expires": 1_700_000_000 + 5})
        bench.send("t", {"id": "long", "value": 2, "expires": 1_700_000_000 + 50})
        bench.clock.step(step)
        bench.clock.advance(6)
        async with bench.working():
            pass

    run(main())
    assert [(answer["id"], answer["status"]) for answer in bench.answers()] == [("short", "expired"), ("long", "done")]
    assert bench.written == [("t", 2)]


def test_an_expired_command_is_refused_by_its_mqtt_expiry() -> None:
    (answer,) = answers(1, expires=999.0)
    assert answer["status"] == "expired"
    (answer,) = answers(1, expires=1001.0)
    assert answer["status"] == "done"


def test_an_expiry_that_no_clock_can_judge_is_refused() -> None:
    """A board without a battery starts in 1970, where everything seems to be in time."""
    bench = Bench()
    bench.clock.step(-1_700_000_000)

    async def main() -> None:
        async with bench.working():
            bench.send("t", {"id": "a", "value": 42, "expires": 1_700_000_000})
            bench.send("t", {"id": "b", "value": 43})

    run(main())
    first, second = bench.answers()
    assert (first["status"], second["status"]) == ("failed", "done")
    assert "the clock of the gateway is not set" in first["reason"]
    assert bench.written == [("t", 43)]
