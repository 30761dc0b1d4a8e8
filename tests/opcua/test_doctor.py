"""Looking at a server once: scan, browse, read, and the device file made from what was found."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from connectors.fakes import run
from gateway import kinds
from gateway.clock import Clock
from gateway.config.load import read as load
from gateway.config.settings import Settings
from gateway.connectors.base import Quality
from gateway.connectors.opcua import doctor
from gateway.connectors.opcua.config import OpcuaDevice, OpcuaPoint
from gateway.connectors.opcua.sim import simulate
from gateway.errors import Retry

POINTS = (
    OpcuaPoint(name="a", node="nsu=urn:plant;s=A", scale=0.1),
    OpcuaPoint(name="c", node="Objects/plant:Box/plant:C"),
)


def device(port: int) -> OpcuaDevice:
    return OpcuaDevice(url=f"opc.tcp://127.0.0.1:{port}", namespaces={"plant": "urn:plant"}, point=POINTS)


def test_everything(tmp_path: Path) -> None:
    async def main() -> None:
        plant = simulate({"dev": device(1)}, Clock())
        plant.stations[0]._port = 0
        await plant.start()
        try:
            config = device(plant.stations[0].port)
            plant.set("dev", "a", 21.5)
            plant.set("dev", "c", 3.0)
            samples = await doctor.read(config, [])
            assert [(one.point, one.value) for one in samples] == [("a", 21.5), ("c", 3.0)]
            with pytest.raises(KeyError):
                await doctor.read(config, ["x"])
            wrong = OpcuaDevice(url=config.url, point=(OpcuaPoint(name="x", node="nsu=urn:no;i=1"),))
            assert (await doctor.read(wrong, ["x"]))[0].quality is Quality.BAD

            found = [one async for one in doctor.browse(config)]
            one = {one.address: one for one in found if one.what == "point"}["nsu=urn:plant;s=A"]
            assert (one.name, one.value, one.note) == ("a", 215.0, "Double Objects/2:a")
            assert [one.name for one in found if one.what == "group" and one.name == "Box"]
            below = [(one.name, one.note) async for one in doctor.browse(config, "Objects/2:Box")]
            assert below == [("C", "Double Objects/2:Box/2:C")]
            with pytest.raises(Retry, match="no node"):
                [one async for one in doctor.browse(config, "Objects/0:Nothing")]

            said: list[str] = []
            (endpoint,) = [one async for one in doctor.scan(f"127.0.0.1:{plant.stations[0].port}", said.append)]
            assert (endpoint.what, endpoint.note) == ("device", "None None_")
            assert said and endpoint.address.startswith(config.url)
            assert endpoint.settings["kind"] == "opcua"
            assert [one async for one in doctor.scan("127.0.0.1:9")] == []

            path = tmp_path / "gateway.toml"
            path.write_text(doctor.profile_of([endpoint, *found], "found"))
            made = cast(OpcuaDevice, load(path, Settings, kinds).value.device["found"])
            assert {one.node for one in made.point} >= {"nsu=urn:plant;s=A"}
            values = {one.point: one.value for one in await doctor.read(made, [])}
            assert values["C"] == 3.0
        finally:
            await plant.stop()

    run(main())
