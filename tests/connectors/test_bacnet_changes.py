"""Changes of value that a BACnet device tells."""

from __future__ import annotations

import pytest

from connectors.bacnet_plant import Plant, point, until
from gateway.connectors.bacnet import services
from gateway.connectors.bacnet.values import Flags
from gateway.connectors.base import Quality


def test_changes_are_told_and_not_polled() -> None:
    plant = Plant(point("a", "av,1", mode="cov"), point("b", "bv,1", mode="cov"), poll=60)

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 2)
        for value in (1.5, 2.5):
            plant.simulation.set("d", "a", value)
            await plant.port.value("a", value)
        plant.simulation.set("d", "b", True)
        await plant.port.value("b", True)
        plant.simulation.flag("d", "a", Flags(False, False, False, True))
        await plant.port.quality("a", Quality.UNCERTAIN)
        assert plant.connector.status()["subscriptions"]["live"] == 2

    plant.play(main)
    assert not plant.simulator.subscribers


@pytest.mark.parametrize("confirmed", [True, False])
def test_changes_may_be_confirmed_or_not(confirmed: bool) -> None:
    plant = Plant(point("a", "av,1", mode="cov"), poll=60, confirmed=confirmed)

    async def main() -> None:
        await plant.port.value("a", 0.0)
        (subscriber,) = plant.simulator.subscribers.values()
        assert subscriber.is_confirmed is confirmed
        plant.simulation.set("d", "a", 1.5)
        await plant.port.value("a", 1.5)
        await until(lambda: plant.simulator.acknowledged >= (2 if confirmed else 0))
        assert plant.simulator.acknowledged == (2 if confirmed else 0)

    plant.play(main)


def test_a_subscription_is_renewed_at_half_of_its_life() -> None:
    plant = Plant(point("a", "av,1", mode="cov"), poll=60, lifetime=0.2)

    async def main() -> None:
        await until(lambda: plant.simulator.questions.get(services.SUBSCRIBE, 0) >= 4)
        assert len(plant.simulator.subscribers) == 1

    plant.play(main)


def test_a_device_that_cannot_tell_is_polled_and_it_says_why() -> None:
    plant = Plant(point("a", "av,1", mode="cov"))
    plant.simulator.supported.remove(services.SUBSCRIBE)

    async def main() -> None:
        plant.simulation.set("d", "a", 4.5)
        await plant.port.value("a", 4.5)
        plant.simulation.set("d", "a", 5.5)
        await plant.port.value("a", 5.5)
        told = plant.connector.status()["subscriptions"]
        assert told["live"] == 0 and told["refused"] == {"a": "reject: unrecognized-service"}

    plant.play(main)


def test_a_device_that_forgets_its_subscriptions_is_read_all_the_same() -> None:
    """Each poll reads one of them: a change that nobody tells does not stay unseen."""
    plant = Plant(*(point(f"p{n}", f"av,{n}", mode="cov") for n in range(3)))

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 3)
        plant.simulator.subscribers.clear()
        for n in range(3):
            plant.simulation.set("d", f"p{n}", n + 0.5)
        for n in range(3):
            await plant.port.value(f"p{n}", n + 0.5)

    plant.play(main)


def test_a_subscribed_device_that_goes_is_noticed() -> None:
    plant = Plant(point("a", "av,1", mode="cov"), timeout=0.05)

    async def main() -> None:
        await plant.port.value("a", 0.0)
        plant.simulation.fault("d", "mute")
        await plant.port.quality("a", Quality.STALE)
        await until(lambda: any("questions in a row" in event for event in plant.events))
        plant.simulation.fault("d", "none")
        plant.simulation.set("d", "a", 3.5)
        await plant.port.value("a", 3.5)

    plant.play(main)
