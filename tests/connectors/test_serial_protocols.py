"""The protocols that come ready-made, on pseudo terminals: NMEA 0183, IEC 62056-21, M-Bus."""

from __future__ import annotations

import asyncio

import pytest

from connectors.fakes import FakePort, run
from connectors.serial_life import living, path, text
from gateway.connectors.base import Quality
from gateway.connectors.serial.config import SerialPoint
from gateway.connectors.serial.connector import SerialConnector
from gateway.connectors.serial.dialog import Send, Speed
from gateway.connectors.serial.questions import readout_of
from gateway.errors import Retry


def test_ship_instruments() -> None:
    async def main() -> None:
        fields = ["latitude", "RMC.longitude", "GGA.altitude", "heading", "depth", "apparent_wind_speed", "speed"]
        points = [SerialPoint(name=f"p{at}", field=field) for at, field in enumerate(fields)]
        clock = SerialPoint(name="time", field="RMC.time", type="text")
        device = text(f"serial:{path()}", *points, clock, protocol="nmea0183")
        async with living(dev=device) as life:
            values = [-33.85, 151.2, 39.5, 271.5, 2.4, 5.5, 12.25]
            for at, value in enumerate(values):
                life.simulation.set("dev", f"p{at}", value)
            for at, value in enumerate(values):
                await life.ports["dev"].until(
                    lambda at=at, value=value: (
                        life.ports["dev"].last.get(f"p{at}") is not None  # type: ignore[misc]
                        and life.ports["dev"].last[f"p{at}"].value == pytest.approx(value, abs=1e-6)
                    )
                )
            assert str(life.ports["dev"].last["time"].value).endswith("Z")

    run(main())


def test_a_meter_is_read_at_the_speed_that_it_offers() -> None:
    """The simulated meter sends nonsense while the terminal is set to any other speed."""

    async def main() -> None:
        points = (
            SerialPoint(name="energy", field="1.8.0", type="number", unit="kWh"),
            SerialPoint(name="serial", field="0.0.0", type="text"),
        )
        device = text(
            f"serial:{path()}?baud=2400", *points, protocol="iec62056-21", poll=0.5, timeout=2.0, unit="00123456"
        )
        async with living(dev=device) as life:
            life.simulation.set("dev", "energy", 1798.408)
            life.simulation.set("dev", "serial", "00123456")
            await life.ports["dev"].value("energy", 1798.408)
            await life.ports["dev"].value("serial", "00123456")
            status = life.connectors["dev"].status()
            assert status["meter"] == "GWS5SIMULATION" and status["timeouts"] == 0

    run(main())


@pytest.mark.parametrize(("url", "fastest", "baud"), [("serial:/dev/x", 4800, 4800), ("tcp://127.0.0.1:9", None, 300)])
def test_a_meter_goes_no_faster_than_the_head_or_a_server_can(url: str, fastest: int | None, baud: int) -> None:
    point = SerialPoint(name="energy", field="1.8.0")
    device = text(url, point, protocol="iec62056-21", fastest=fastest, unit="0042")
    readout = readout_of(device)
    assert readout.begin()[1] == Send(b"/?0042!\r\n")
    assert readout.feed(b"/GWS5SIMULATION\r\n", 0.0)[-1] == Speed(baud)


@pytest.mark.parametrize("unit", [5, "12345678"])
def test_meters_on_one_m_bus(unit: int | str) -> None:
    async def main() -> None:
        url = f"serial:{path()}?baud=2400"
        points = (
            SerialPoint(name="energy", field="energy", scale=0.001, unit="kWh"),
            SerialPoint(name="flow", field="flow_temperature", unit="Cel"),
            SerialPoint(name="id", field="id", type="text"),
        )
        devices = {
            "one": text(url, *points, protocol="mbus", unit=unit),
            "other": text(url, SerialPoint(name="v", field="voltage"), protocol="mbus", unit=7),
        }
        async with living(**devices) as life:
            life.simulation.set("one", "energy", 37_351)
            life.simulation.set("one", "flow", -21.5)
            life.simulation.set("other", "v", 230.2)
            await life.ports["one"].value("energy", 37_351)
            await life.ports["one"].value("flow", -21.5)
            await life.ports["one"].value("id", "12345678" if isinstance(unit, str) else "00000001")
            await life.ports["other"].value("v", 230.2)
            assert life.connectors["one"].status()["meter"].startswith("GWX")
            life.simulation.fault("one", "mute")
            await life.ports["one"].quality("energy", Quality.STALE)
            assert life.ports["other"].last["v"].quality is Quality.GOOD

    run(main())


def test_a_meter_that_sends_by_itself() -> None:
    async def main() -> None:
        device = text(f"serial:{path()}", SerialPoint(name="e", field="1.8.0"), protocol="iec62056-21", mode="pushed")
        async with living(dev=device) as life:
            life.simulation.set("dev", "e", 1798.408)
            await life.ports["dev"].value("e", 1798.408)
        read, sent = asyncio.Event(), bytearray()

        async def meter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while not read.is_set():
                writer.write(bytes(sent))
                await asyncio.sleep(0.01)
            writer.close()

        sent += b"/LOG5LK1XXXXXXXXX\r\n\r\n1-0:1.8.0*255(000471.6452*kWh)\r\n1-0:2.8.0*255(000528.9178*kWh)\r\n!\r\n"
        server = await asyncio.start_server(meter, "127.0.0.1", 0)
        async with server:
            url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            point = SerialPoint(name="energy", field="1.8.0", type="number")
            device = text(url, point, protocol="iec62056-21", mode="pushed")
            port = FakePort()
            task = asyncio.create_task(SerialConnector("dev", device, port).run(lambda: None))
            await port.value("energy", 471.6452)
            read.set()
            with pytest.raises(Retry, match="closed the connection"):
                await task

    run(main())
