"""TLS and a clock that is not set: waited for, not hammered, and said in words."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.config.declare import File
from gateway.errors import Retry
from gateway.outbound import RightTime
from gateway.uplinks.mqtt.certificate_clock import CertificateClock
from peers.mosquitto import Certificates
from uplinks.bench import Bench, Cloud, play, row, until


class Says(RightTime):
    """A clock that is told what to say."""

    def __init__(self, unset: str | None = None, doubtful: str | None = None) -> None:
        self.says = unset, doubtful
        self.moved = asyncio.Event()
        self.waits: list[float] = []

    def unset(self) -> str | None:
        return self.says[0]

    def doubtful(self) -> str | None:
        return self.says[1]

    async def changed(self, within: float) -> None:
        self.waits.append(within)
        await self.moved.wait()
        self.moved.clear()


def failed(code: int) -> Retry:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code = code
    retry = Retry("TLS: the certificate is not accepted")
    retry.__cause__ = error
    return retry


def test_no_attempt_while_no_certificate_can_be_valid() -> None:
    async def main() -> None:
        timing = Says("the clock of this machine says 1970", "the clock of this machine says 1970")
        clock = CertificateClock(timing)
        assert clock.why() == (
            "waiting for the time: the clock of this machine says 1970, and the broker's certificate cannot be checked"
        )
        timing.moved.set()
        await clock.wait()
        assert timing.waits == [600.0]
        timing.says = None, "an estimate"
        assert clock.why() is None, "an estimate is good enough to try"

    play(main())


@pytest.mark.parametrize(("code", "waits"), [(9, True), (10, True), (18, False), (62, False)])
def test_after_a_certificate_of_another_time_the_clock_is_waited_for(code: int, waits: bool) -> None:
    timing = Says(None, "the clock of this machine says 2025 and is estimated")
    clock = CertificateClock(timing)
    text = clock.judge(failed(code))
    assert ("says 2025" in text) is waits
    assert (clock.why() is not None) is waits


def test_with_a_clock_that_is_right_the_certificate_is_wrong() -> None:
    clock = CertificateClock(Says())
    assert clock.judge(failed(10)).endswith("; the clock of this machine is synchronised")
    assert clock.why() is None
    assert clock.judge(Retry("no answer")) == "no answer"


def test_the_uplink_waits_and_connects_when_the_time_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        certificates = Certificates(tmp_path)
        async with Cloud(context=certificates.server_context()) as cloud:
            timing = Says("the clock of this machine says 1970-01-01T00:00:09.000Z and is unset")
            url = f"mqtts://localhost:{cloud.port}"
            bench = Bench(cloud.port, [row(1)], url=url, ca=File(str(certificates.ca)), timing=timing)

            async def time_comes() -> None:
                await until(lambda: timing.waits)
                status = bench.uplink.status()
                assert (status["state"], status["reason"]) == ("waiting", "waiting for the time")
                assert "1970" in status["last_error"]
                assert cloud.connections == 0
                timing.says = None, None
                timing.moved.set()
                await bench.settled(1)
                assert bench.uplink.status()["last_error"] == ""

            await bench.during(time_comes())

    play(main())


def test_a_certificate_of_another_time_is_tried_again_when_the_clock_has_moved(tmp_path: Path) -> None:
    async def main() -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        late = datetime.now(UTC) + timedelta(days=2)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", not_before=late, not_after=late + timedelta(days=9)).configure_cert(context)
        async with Cloud(context=context) as cloud:
            timing = Says(None, "the clock of this machine says 2026 and is estimated")
            url = f"mqtts://localhost:{cloud.port}"
            bench = Bench(cloud.port, [row(1)], url=url, ca=File(str(tmp_path / "ca.pem")), timing=timing)
            with pytest.raises(Retry, match="not valid yet.*; the clock of this machine says 2026 and is estimated"):
                await bench.run()
            assert timing.waits == []
            running = asyncio.ensure_future(bench.run())
            await until(lambda: timing.waits)
            assert bench.uplink.status()["state"] == "waiting"
            timing.moved.set()
            with pytest.raises(Retry, match="not valid yet"):
                await running

    play(main())


def test_without_tls_nobody_waits() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            bench = Bench(cloud.port, [row(1)], timing=Says("the clock of this machine says 1970"))
            await bench.during(bench.settled(1))

    play(main())
