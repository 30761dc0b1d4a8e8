"""A gateway that starts in 1970 gets the time while its cloud is away; the clock is libfaketime's."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Publisher
from e2e.rig.consumers import Worker
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

AGAIN_SECONDS = 90.0
"""The longest pause of the uplink's back-off, and a connection."""


class WrongClock:
    """The wall clock of a process: ``offset`` seconds from this machine's; its monotonic clock is the machine's."""

    def __init__(self, file: Path, offset: float) -> None:
        if not LIBRARIES:
            pytest.skip("libfaketime is not installed; `make peers` says how")
        self._file = file
        self.set(offset)

    def set(self, offset: float) -> None:
        self._file.write_text(f"{offset:+.3f}s\n")

    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def published(publisher: Publisher, payload: bytes) -> tuple[float, float]:
    """When it was, at the earliest and at the latest, by the right clock."""
    before = time.time()
    publisher.publish("plant/a", payload)
    wait_until(lambda: payload in publisher.acknowledged, 20, "PUBACK")
    return before, time.time()


def clock(gateway: GatewayProcess, state: str) -> None:
    wait_until(lambda: gateway.status()["clock"]["state"] == state, 20, f"the clock is {state}")


def test_what_was_stored_in_1970_arrives_with_the_right_time(
    tmp_path: Path, start_gateway: StartGateway, cloud: Mosquitto
) -> None:
    wrong = WrongClock(tmp_path / "clock", 10.0 - time.time())
    worker = Worker(cloud.port, "worker", "site-7/#", decide=lambda taken: "", is_kept=True)
    cloud.stop()
    port = free_port()
    text = settings.listener(port) + settings.uplink(cloud.port) + '[time]\nsource = "trust"\n'
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wrong.environment().items():
            patch.setenv(name, value)
        gateway = start_gateway(text)
    publisher = Publisher(port, "plant")
    clock(gateway, "unset")
    moments = [published(publisher, b"%d" % number) for number in range(10)]
    wrong.set(0.0)
    clock(gateway, "synchronised")
    moments += [published(publisher, b"%d" % number) for number in range(10, 15)]
    wrong.set(-3600.0)
    wait_until(lambda: gateway.status()["clock"]["last_step"]["seconds"] < 0, 20, "the step is seen")
    moments += [published(publisher, b"%d" % number) for number in range(15, 20)]
    assert [alarm["alarm"] for alarm in gateway.status()["alarms"]] == ["clock"]
    cloud.start()
    worker.wait(lambda: len(worker.taken) >= len(moments), AGAIN_SECONDS, "all of them at the cloud")
    worker.close()
    publisher.close()

    assert [int(one.payload) for one in worker.taken] == list(range(len(moments)))
    for number, (one, (before, after)) in enumerate(zip(worker.taken, moments, strict=True)):
        if number < 10:
            assert one.said["clock"] == "corrected"
            at = datetime.fromisoformat(one.said["time"]).timestamp()
            assert before - 0.1 <= at <= after + 0.1, f"message {number}: {at - before:+.3f} s"
        else:
            assert "clock" not in one.said and "time" not in one.said
    assert gateway.status()["drops"] == {}
