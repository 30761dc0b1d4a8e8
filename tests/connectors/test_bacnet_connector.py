"""The BACnet connector against the simulator: batches, lengths, quality, faults."""

from __future__ import annotations

import asyncio

import pytest

from connectors.bacnet_plant import FINE, Plant, numbers, point
from gateway.connectors.bacnet import services
from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.values import Flags
from gateway.connectors.base import Quality


def test_forty_points_are_one_question_a_scan() -> None:
    plant = Plant(*numbers(40))

    async def main() -> None:
        for n in range(40):
            plant.simulation.set("d", f"p{n}", n / 4)
        await plant.port.until(lambda: len(plant.port.last) == 40)
        emitted = plant.port.emitted
        before = dict(plant.simulator.questions)
        await plant.port.until(lambda: plant.port.emitted >= emitted + 80)
        assert [plant.port.last[f"p{n}"].value for n in range(40)] == [n / 4 for n in range(40)]
        asked = plant.simulator.questions[services.READ_MULTIPLE] - before[services.READ_MULTIPLE]
        assert 1 <= asked <= 3
        assert plant.simulator.questions[services.READ] == before[services.READ]

    plant.play(main)


@pytest.mark.parametrize("is_told", [True, False])
def test_a_device_that_reads_one_at_a_time(is_told: bool) -> None:
    """Whether it says so, or refuses the question."""
    plant = Plant(*numbers(5))
    plant.simulator.supported.remove(services.READ_MULTIPLE)
    if not is_told:
        plant.simulator.objects[Object(8, 1)] = plant.simulator.object(Object(2, 0))

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 5)
        assert plant.connector.status()["batch"] is False
        assert plant.simulator.questions.get(services.READ_MULTIPLE, 0) == 0
        assert plant.events == ["up"]

    plant.play(main)


def test_a_device_that_claims_batches_and_refuses_them() -> None:
    plant = Plant(*numbers(5))
    plant.simulator.claims_all = True
    plant.simulator.supported.remove(services.READ_MULTIPLE)

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 5)
        assert plant.connector.status()["batch"] is False
        assert plant.simulator.questions[services.READ_MULTIPLE] == 1

    plant.play(main)


def test_batches_can_be_switched_off() -> None:
    plant = Plant(*numbers(3), batch=False)

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 3)
        assert services.READ_MULTIPLE not in plant.simulator.questions

    plant.play(main)


@pytest.mark.parametrize(("theirs", "mine"), [(128, 1476), (1476, 128)])
def test_no_answer_is_longer_than_the_device_or_we_take(theirs: int, mine: int) -> None:
    plant = Plant(*numbers(20), max_apdu=mine)
    plant.simulator.max_apdu = theirs

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 20)
        assert all(sample.quality is Quality.GOOD for sample in plant.port.samples)
        assert plant.simulator.questions[services.READ_MULTIPLE] >= 5

    plant.play(main)


def test_an_answer_that_is_too_long_is_asked_for_in_parts() -> None:
    """Texts are longer than anybody can know before."""
    plant = Plant(*(point(f"t{n}", f"characterstring-value,{n}") for n in range(6)))
    plant.simulator.max_apdu = 480

    async def main() -> None:
        for n in range(6):
            plant.simulation.set("d", f"t{n}", str(n) * 200)
        await plant.port.until(lambda: len(plant.port.last) == 6)
        await plant.port.value("t5", "5" * 200)
        for n in range(6):
            await plant.port.value(f"t{n}", str(n) * 200)

    plant.play(main)


def test_one_value_that_fits_into_no_message_is_bad_alone() -> None:
    plant = Plant(point("t", "characterstring-value,1"), point("a", "av,1"))
    plant.simulator.max_apdu = 128

    async def main() -> None:
        plant.simulation.set("d", "t", "x" * 300)
        await plant.port.quality("t", Quality.BAD)
        assert plant.port.last["t"].reason == "abort: segmentation-not-supported"
        await plant.port.value("a", 0.0)

    plant.play(main)


def test_what_does_not_exist_is_bad_and_the_others_go_on() -> None:
    plant = Plant(point("a", "av,1"), point("b", "av,2"), point("c", "av,1", property="description"))
    plant.simulator.objects.pop(Object(2, 2))
    plant.simulator.object(Object(2, 1)).properties.pop(28)

    async def main() -> None:
        await plant.port.until(lambda: len(plant.port.last) == 3)
        assert plant.port.last["a"].value == 0.0
        assert plant.port.last["b"].reason == "object: unknown-object"
        assert plant.port.last["c"].reason == "property: unknown-property"
        emitted = plant.port.emitted
        await plant.port.until(lambda: plant.port.emitted > emitted + 10)
        assert plant.events == ["up"]

    plant.play(main)


@pytest.mark.parametrize(
    ("flags", "reliability", "quality", "reason"),
    [
        (Flags(True, False, False, False), 0, Quality.GOOD, ""),
        (Flags(False, True, False, False), 1, Quality.BAD, "fault: no-sensor"),
        (Flags(False, True, False, False), 0, Quality.BAD, "fault: the device does not say why"),
        (Flags(False, False, True, False), 0, Quality.UNCERTAIN, "overridden by hand"),
        (Flags(False, False, False, True), 0, Quality.UNCERTAIN, "out of service"),
        (Flags(True, True, True, True), 2, Quality.BAD, "fault: over-range"),
    ],
)
def test_status_flags_are_the_quality(flags: Flags, reliability: int, quality: Quality, reason: str) -> None:
    plant = Plant(point("a", "ai,1"))

    async def main() -> None:
        plant.simulation.set("d", "a", 21.5)
        plant.simulation.flag("d", "a", flags, reliability)
        await plant.port.quality("a", quality)
        assert plant.port.last["a"].reason == reason
        assert plant.port.last["a"].value == (None if quality is Quality.BAD else 21.5)
        plant.simulation.flag("d", "a", FINE)
        await plant.port.value("a", 21.5)

    plant.play(main)


def test_kinds_of_values() -> None:
    points = {
        "real": (point("real", "ai,1", scale=2.0), 3.0),
        "bit": (point("bit", "bi,1"), True),
        "state": (point("state", "mv,1", values={"1": "off", "2": "on"}), "on"),
        "text": (point("text", "characterstring-value,1"), "Ölkessel"),
        "whole": (point("whole", "integer-value,1"), -40_000),
        "count": (point("count", "positive-integer-value,1"), 4_000_000_000),
        "double": (point("double", "large-analog-value,1"), 1e100),
        "model": (point("model", "ai,1", property="description"), "supply air"),
        "vendor": (point("vendor", "ai,1", property="512", type="unsigned"), 7),
    }
    plant = Plant(*(one for one, _ in points.values()))

    async def main() -> None:
        for name, (_, value) in points.items():
            plant.simulation.set("d", name, value)
            assert plant.simulation.get("d", name) == value
        for name, (_, value) in points.items():
            await plant.port.value(name, value)

    plant.play(main)


def test_a_lost_datagram_is_repeated() -> None:
    plant = Plant(point("a", "av,1"), timeout=0.05, retries=3)

    async def main() -> None:
        await plant.port.value("a", 0.0)
        for _ in range(3):
            plant.simulation.fault("d", "mute")
            await asyncio.sleep(0.08)
            plant.simulation.fault("d", "none")
            emitted = plant.port.emitted
            await plant.port.until(lambda emitted=emitted: plant.port.emitted > emitted)  # type: ignore[misc]
        assert plant.events == ["up"] and plant.connector.status()["timeouts"] == 0

    plant.play(main)


@pytest.mark.parametrize("kind", ["garbage", "exception", "late"])
def test_faults_make_a_point_stale_or_bad_and_it_comes_back(kind: str) -> None:
    plant = Plant(point("a", "av,1"), timeout=0.05)

    async def main() -> None:
        await plant.port.value("a", 0.0)
        plant.simulation.fault("d", kind, 0.2 if kind == "late" else 0)
        await plant.port.quality("a", Quality.BAD if kind == "exception" else Quality.STALE)
        plant.simulation.fault("d", "none")
        await plant.port.value("a", 0.0)

    plant.play(main)
