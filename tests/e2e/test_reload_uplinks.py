"""Uplinks that come, go and get another name while the gateway runs: nothing is lost, and others are not disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.conftest import StartGateway
from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess, run_command
from e2e.rig.programs import mosquitto
from e2e.rig.waiting import free_port, wait_until
from e2e.test_reload import reload
from peers.mosquitto import Mosquitto

pytestmark = pytest.mark.slow

MakeSite = Callable[..., "Site"]


@pytest.fixture
def other(tmp_path: Path, closing: ExitStack) -> Mosquitto:
    """A second cloud."""
    return closing.enter_context(mosquitto(tmp_path / "other"))


@pytest.fixture
def port() -> int:
    return free_port()


class Site:
    """A gateway with a client that publishes numbers to ``plant/n`` and waits until they are answered."""

    def __init__(self, gateway: GatewayProcess, port: int) -> None:
        self.gateway = gateway
        self.port = port
        self.count = 0

    def publish(self, n: int) -> list[int]:
        """So many more numbers."""
        publisher = Publisher(self.port, "numbers")
        numbers = list(range(self.count, self.count + n))
        for number in numbers:
            publisher.publish("plant/n", str(number).encode())
        wait_until(lambda: not publisher.unanswered, 20, "all are answered")
        publisher.close()
        self.count += n
        return numbers

    def settings(self, *sections: str) -> None:
        self.gateway.settings.write_text(settings.listener(self.port) + "".join(sections))

    def is_up(self, uplink: str) -> bool:
        found = self.gateway.status()["uplinks"].get(uplink)
        return found is not None and found["state"] == "up"

    def account(self, uplink: str) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.gateway.command("outbox", "info", uplink, "--json"))["account"]
        return found


def numbers(collector: Collector) -> list[int]:
    return [int(one.payload) for one in list(collector.received)]


@pytest.fixture
def make_site(start_gateway: StartGateway, port: int) -> MakeSite:
    return lambda *sections: Site(start_gateway(settings.listener(port) + "".join(sections)), port)


def settled(site: Site, uplink: str) -> dict[str, int]:
    """The account of an uplink after a clean stop, which writes all of it."""
    site.gateway.stop()
    site.gateway.start()
    return site.account(uplink)


def test_a_new_uplink_gets_what_comes_from_now_on_and_the_other_stays_connected(
    make_site: MakeSite, cloud: Mosquitto, other: Mosquitto
) -> None:
    near, far = Collector(cloud.port, "site-7/#"), Collector(other.port, "site-7/#")
    site = make_site(settings.uplink(cloud.port, name="near"))
    wait_until(lambda: site.is_up("near"), 10, "the uplink is up")
    before = site.gateway.status()["uplinks"]["near"]["connected_since"]
    first = site.publish(50)

    site.settings(settings.uplink(cloud.port, name="near"), settings.uplink(other.port, name="far"))
    report = reload(site.gateway)
    assert "uplink.far" in report["applied"]
    assert (report["restarted"], report["needs_restart"]) == ([], [])
    second = site.publish(50)
    far.wait(lambda got: len(got) >= 50, 20, "the new uplink sends")
    near.wait(lambda got: len(got) >= 100, 20, "the other goes on")
    assert numbers(far) == second
    assert numbers(near) == first + second
    assert site.gateway.status()["uplinks"]["near"]["connected_since"] == before
    site.gateway.kill()
    site.gateway.start()
    third = site.publish(10)
    far.wait(lambda got: set(numbers(far)) >= set(third), 20, "it is there after kill -9")
    assert set(numbers(far)) == set(second + third), "only what was on its way may come again"
    site.gateway.stop()
    site.gateway.start()
    account = site.account("far")
    assert (account["waiting"], account["dropped"]) == (0, 0)
    assert site.account("near")["waiting"] == 0
    near.close()
    far.close()


@pytest.mark.parametrize("ends", ["goes on", "kill -9"])
def test_a_renamed_uplink_goes_on_where_it_was(
    make_site: MakeSite, cloud: Mosquitto, other: Mosquitto, ends: str
) -> None:
    near, far = Collector(cloud.port, "site-7/#"), Collector(other.port, "site-7/#")
    site = make_site(settings.uplink(cloud.port, name="near"), settings.uplink(other.port, name="old"))
    wait_until(lambda: site.is_up("near") and site.is_up("old"), 10, "both are up")
    sent = site.publish(20)
    far.wait(lambda got: len(got) >= 20, 20, "the first have arrived")
    settled(site, "old")
    wait_until(lambda: site.is_up("near") and site.is_up("old"), 10, "both are up again")
    far.close()
    other.stop()
    wait_until(lambda: not site.is_up("old"), 10, "its cloud is away")
    sent += site.publish(200)
    near.wait(lambda got: len(got) >= 220, 20, "the other sends")

    site.settings(settings.uplink(cloud.port, name="near"), settings.uplink(other.port, name="new"))
    report = reload(site.gateway)
    assert {"uplink.old", "uplink.new"} <= set(report["applied"])
    assert list(site.gateway.status()["uplinks"]) == ["near", "new"]
    sent += site.publish(20)
    if ends == "kill -9":
        site.gateway.kill()
        site.gateway.start()
    other.start()
    far = Collector(other.port, "site-7/#")
    far.wait(lambda got: set(numbers(far)) >= set(sent[20:]), 30, "what had waited arrives, and what came since")
    assert numbers(far) == sent[20:], "nothing twice, nothing lost"
    assert settled(site, "new")["delivered"] == 240
    account = settled(site, "near")
    assert (account["delivered"], account["dropped"]) == (240, 0)
    if ends == "kill -9":
        assert sorted(set(numbers(near))) == sent, "what was on its way may come again"
    else:
        assert numbers(near) == sent
    assert site.gateway.status()["drops"] == {}
    near.close()
    far.close()


def test_what_waits_for_an_uplink_that_is_removed_is_given_up_and_counted(
    make_site: MakeSite, cloud: Mosquitto, other: Mosquitto
) -> None:
    near = Collector(cloud.port, "site-7/#")
    site = make_site(settings.uplink(cloud.port, name="near"), settings.uplink(free_port(), name="gone"))
    wait_until(lambda: site.is_up("near"), 10, "one is up")
    watch = Collector(site.port, "$SYS/gateway/uplinks/gone/#")
    watch.wait_for("$SYS/gateway/uplinks/gone/state", 10)
    sent = site.publish(100)

    site.settings(settings.uplink(cloud.port, name="near"))
    assert "uplink.gone" in reload(site.gateway)["applied"]
    watch.wait_for("$SYS/gateway/uplinks/gone/state", 10, b"")
    sent += site.publish(10)
    near.wait(lambda got: len(got) >= 110, 20, "the other gets all")
    assert numbers(near) == sent
    status = site.gateway.status()
    assert status["drops"] == {"uplink_removed": 100}
    assert status["outbox"]["books"]["dropped:uplink_removed"] == 100
    assert list(status["outbox"]["uplinks"]) == ["near"]
    assert "uplink removed: what waits for it is given up" in site.gateway.log_text()
    account = settled(site, "near")
    assert (account["delivered"], account["dropped"]) == (110, 0)
    done = run_command("outbox", "info", "gone", "--state", str(site.gateway.state))
    assert (done.returncode, done.stderr) == (1, "gateway: there is no uplink 'gone'; there are: near\n")

    # The name comes back: it begins anew, and does not get what was given up.
    far = Collector(other.port, "site-7/#")
    site.settings(settings.uplink(cloud.port, name="near"), settings.uplink(other.port, name="gone"))
    reload(site.gateway)
    last = site.publish(10)
    far.wait(lambda got: len(got) >= 10, 20, "it sends")
    assert numbers(far) == last
    near.close()
    far.close()
    watch.close()


def test_the_last_uplink_may_go_and_what_waits_is_for_the_next(make_site: MakeSite, cloud: Mosquitto) -> None:
    site = make_site(settings.uplink(free_port(), name="first"))
    sent = site.publish(30)
    site.settings()
    reload(site.gateway)
    assert site.gateway.status()["uplinks"] == {}
    collector = Collector(cloud.port, "site-7/#")
    site.settings(settings.uplink(cloud.port, name="second"))
    reload(site.gateway)
    sent += site.publish(5)
    collector.wait(lambda got: len(got) >= 35, 20, "all of it arrives")
    assert sorted(numbers(collector)) == sent, "what is live may go before what waited"
    assert settled(site, "second")["delivered"] == 35
    collector.close()


@pytest.mark.parametrize("change", ["removed", "renamed"])
def test_going_back_loses_nothing_of_what_settings_took_away(
    make_site: MakeSite, cloud: Mosquitto, other: Mosquitto, change: str
) -> None:
    near = Collector(cloud.port, "site-7/#")
    other.stop()
    both = settings.uplink(cloud.port, name="near"), settings.uplink(other.port, name="far")
    site = make_site(*both)
    wait_until(lambda: site.is_up("near"), 10, "one is up")
    sent = site.publish(50)
    site.settings(both[0], *([settings.uplink(other.port, name="other")] if change == "renamed" else []))
    assert reload(site.gateway, "--confirm", "2s")["confirm"] == 2
    assert "far" not in site.gateway.status()["uplinks"]
    sent += site.publish(50)
    wait_until(lambda: list(site.gateway.status()["uplinks"]) == ["near", "far"], 20, "it has gone back")
    sent += site.publish(50)
    other.start()
    far = Collector(other.port, "site-7/#")
    far.wait(lambda got: set(numbers(far)) >= set(sent), 30, "all arrive")
    assert numbers(far) == sent
    assert settled(site, "far")["delivered"] == 150, "the file was put back"
    assert numbers(near) == sent
    assert site.gateway.status()["drops"] == {}
    near.close()
    far.close()


def test_what_is_confirmed_is_removed_for_good(make_site: MakeSite, cloud: Mosquitto) -> None:
    site = make_site(settings.uplink(cloud.port, name="near"), settings.uplink(free_port(), name="gone"))
    wait_until(lambda: site.is_up("near"), 10, "one is up")
    site.publish(10)
    site.settings(settings.uplink(cloud.port, name="near"))
    reload(site.gateway, "--confirm", "1m")
    site.publish(10)
    assert list(site.gateway.status()["outbox"]["uplinks"]) == ["near", "gone"], "kept until somebody confirms"
    site.gateway.command("reload", "--commit")
    assert list(site.gateway.status()["outbox"]["uplinks"]) == ["near"]
    assert site.gateway.status()["drops"] == {"uplink_removed": 20}
