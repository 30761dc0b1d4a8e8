"""Commands to BACnet objects, finding a device by number, reboots, and the doctor."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from connectors.bacnet_plant import Plant, W, point
from connectors.fakes import run
from gateway import kinds
from gateway.clock import FixedClock
from gateway.config.load import read as read_settings
from gateway.config.settings import Settings
from gateway.connectors.bacnet import doctor
from gateway.connectors.bacnet.connector import BacnetConnector
from gateway.connectors.bacnet.objects import Object
from gateway.connectors.bacnet.values import encode
from gateway.connectors.base import Quality
from gateway.connectors.found import Found
from gateway.errors import Rejected, Retry


def test_commands_have_a_priority_and_are_given_back() -> None:
    plant = Plant(
        point("valve", "ao,1", write=W, priority=8), point("held", "ao,1", held=True, priority=8, write=W), poll=0.02
    )
    one = plant.simulator.object(Object(1, 1))

    async def main() -> None:
        assert one.slots is not None
        plant.simulation.set("d", "valve", 10.0)
        await plant.port.value("held", False)
        assert await plant.connector.write("valve", 55.0) == 55.0
        assert one.slots[7] == encode(55.0, "real")
        await plant.port.value("held", True)
        with pytest.raises(Rejected, match="can only be false"):
            await plant.connector.write("held", True)
        assert await plant.connector.write("held", False) is False
        await plant.port.value("valve", 10.0)
        assert await plant.connector.write("valve", 55.0) == 55.0
        assert await plant.connector.write("valve", None) == 10.0
        one.slots[4] = encode(99.0, "real")
        with pytest.raises(Retry, match="keeps 99.0: it is commanded at priority 5, ours is 8"):
            await plant.connector.write("valve", 20.0)

    plant.play(main)


def test_a_value_without_priorities_is_written_all_the_same() -> None:
    plant = Plant(
        point("u", "av,1", property="units", write=W),
        point("v", "av,2", property="900", write=W),
        point("n", "mv,1", values={"1": "off", "2": "on"}, write=W),
        point("s", "characterstring-value,1", write=W),
        point("b", "bv,1", write=W),
        point("x", "av,9", write=W),
    )
    plant.simulator.objects.pop(Object(2, 9))

    async def main() -> None:
        plant.simulator.object(Object(2, 1)).properties[117] = (encode(62, "enumerated"),)
        plant.simulator.object(Object(2, 2)).properties[900] = (encode(5, "unsigned"),)
        await plant.port.until(lambda: len(plant.port.last) == 6)
        for name, value in {"u": 64, "v": 7, "n": "on", "s": "neu", "b": True}.items():
            assert await plant.connector.write(name, value) == value
        # Written as the device itself holds them.
        assert plant.simulator.object(Object(2, 1)).properties[117] == (encode(64, "enumerated"),)
        assert plant.simulator.object(Object(2, 2)).properties[900] == (encode(7, "unsigned"),)
        with pytest.raises(Rejected, match="unknown-object"):
            await plant.connector.write("x", 1.0)
        with pytest.raises(Rejected):
            await plant.connector.write("n", "sideways")
        with pytest.raises(Rejected, match="null"):
            await plant.connector.write("b", None)

    plant.play(main)


def test_a_device_is_found_by_its_number() -> None:
    plant = Plant(point("a", "av,1"), query="?device=599")

    async def main() -> None:
        await plant.port.value("a", 0.0)
        assert plant.simulator.instance == 599

    plant.play(main)


def test_a_device_behind_a_router_is_called_by_network_and_address() -> None:
    plant = Plant(point("a", "av,1", mode="cov"), query="?network=5&address=0c2a", poll=60)

    async def main() -> None:
        await plant.port.value("a", 0.0)
        plant.simulation.set("d", "a", 1.5)
        await plant.port.value("a", 1.5)
        assert plant.connector.status()["endpoint"].endswith("network 5 address 0c2a")

    plant.play(main)


def test_an_element_of_an_array() -> None:
    plant = Plant(
        point("slot", "ao,1", property="priority-array", index=8), point("count", "ao,1", property="87", index=0)
    )

    async def main() -> None:
        one = plant.simulator.object(Object(1, 1))
        assert one.slots is not None
        await plant.port.value("count", 16)
        await plant.port.quality("slot", Quality.BAD)
        assert plant.port.last["slot"].reason == "it holds no value (null)"
        one.slots[7] = encode(12.5, "real")
        await plant.port.value("slot", 12.5)

    plant.play(main)


def test_a_mute_device_takes_nothing_from_one_that_shares_the_socket() -> None:
    mute, good = Plant(point("a", "av,1"), timeout=0.5), Plant(point("a", "av,1"))
    mute.simulator.is_mute = True
    good.port.shared = mute.port.shared
    good.connector = BacnetConnector("good", good.config, good.port)

    async def main() -> None:
        await mute.simulation.start()
        try:
            async with mute.running():
                emitted = good.port.emitted
                await good.port.until(lambda: good.port.emitted >= emitted + 20)
                assert "up" not in mute.events
                assert good.connector.status()["scans"]["late"] == 0
        finally:
            await mute.simulation.stop()

    good.play(main)


def test_another_number_is_another_device() -> None:
    plant = Plant(point("a", "av,1"), query="?device=599", timeout=0.05)
    plant.simulator.instance = 600

    async def main() -> None:
        await plant.port.quality("a", Quality.BAD)
        assert "no device 599 says that it is there" in plant.events[0]
        assert "up" not in plant.events

    plant.play(main)


def test_a_port_of_this_machine_that_is_taken_is_said() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        local = f"127.0.0.1:{other.getsockname()[1]}"
        plant = Plant(point("a", "av,1"), local=local)

        async def main() -> None:
            with pytest.raises(Retry, match=f"cannot use {local} of this machine: Address already in use"):
                await plant.connector.run(lambda: None)

        run(main())


def test_a_reboot_forgets_commands_and_subscriptions() -> None:
    clock = FixedClock()
    plant = Plant(point("a", "ao,1", write=W), clock=clock)

    async def main() -> None:
        await plant.port.value("a", 0.0)
        await plant.connector.write("a", 5.0)
        plant.simulation.fault("d", "reboot", 3)
        assert plant.simulator.subscribers == {} and plant.simulation.get("d", "a") == 0.0
        clock.advance(4)
        await plant.port.value("a", 0.0)
        with pytest.raises(ValueError, match="none, mute, late, garbage, exception, reboot, not fire"):
            plant.simulation.fault("d", "fire")

    plant.play(main)


def test_the_doctor(tmp_path: Path) -> None:
    plant = Plant(point("supply", "ai,1"), point("valve", "ao,3"), query="?device=599")

    async def main() -> None:
        plant.simulation.set("d", "supply", 21.5)
        plant.simulator.object(Object(0, 1)).properties[117] = (encode(62, "enumerated"),)
        plant.simulator.object(Object(9, 1), "house")
        (sample,) = await doctor.read(plant.config, ["supply"])
        assert sample.value == 21.5
        assert len(await doctor.read(plant.config, [])) == 2
        found = [one async for one in doctor.browse(plant.config)]
        assert [(one.what, one.address) for one in found] == [
            ("group", "device,599"),
            ("point", "analog-input,1"),
            ("point", "analog-output,3"),
            ("group", "event-enrollment,1"),
        ]
        assert found[1].settings == {"object": "analog-input,1", "unit": "Cel"}
        assert "can be commanded" in found[2].note
        assert [one.address async for one in doctor.browse(plant.config, "ao")] == ["analog-output,3"]
        assert [one.address async for one in doctor.browse(plant.config, "ai,1")] == ["analog-input,1"]
        with pytest.raises(Rejected, match="no object and no type"):
            [one async for one in doctor.browse(plant.config, "boiler")]
        said: list[str] = []
        address = plant.config.url.partition("?")[0]
        (device,) = [one async for one in doctor.scan(address, said.append, local="127.0.0.1:0", wait=0.2)]
        assert device.settings["url"] == plant.config.url and "edge-gateway sim" in device.note
        path = tmp_path / "gateway.toml"
        path.write_text(doctor.profile_of([Found(**_fields(device)), *found], "ahu"))
        made: Any = read_settings(path, Settings, kinds).value.device["ahu"]
        assert [(one.name, one.object, one.unit) for one in made.point] == [
            ("supply", "analog-input,1", "Cel"),
            ("valve", "analog-output,3", None),
        ]

    plant.play(main)


def _fields(one: Found) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("what", "address", "name", "value", "note", "settings")}
