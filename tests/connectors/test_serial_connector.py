"""Serial devices on pseudo terminals: asked, heard, late, garbled, unplugged, written, sharing a line."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from connectors.fakes import FakePort, run
from connectors.serial_life import asked, living, path, text
from gateway.clock import Clock
from gateway.connectors.base import Quality
from gateway.connectors.points import WriteLimits
from gateway.connectors.serial.config import SerialPoint
from gateway.connectors.serial.connector import SerialConnector
from gateway.connectors.serial.frame_settings import ChecksumSettings, DecodeSettings, FrameSettings
from gateway.connectors.serial.sim import simulate
from gateway.errors import Rejected, Retry

FORMS: dict[str, dict[str, Any]] = {
    "csv": {"decode": DecodeSettings(as_="csv", separator=";", names=("a", "b"))},
    "pairs": {"decode": DecodeSettings(as_="pairs", separator=" ")},
    "json": {"decode": DecodeSettings(as_="json"), "checksum": ChecksumSettings(by="xor8", form="hex", mark="*")},
    "struct": {
        "decode": DecodeSettings(as_="struct", format=">hf", names=("a", "b"), at=2),
        "frame": FrameSettings(by="fixed", size=10, start="hex:AA55"),
        "checksum": ChecksumSettings(by="crc16-xmodem", skip=2),
    },
    "length": {
        "decode": DecodeSettings(as_="struct", format="<hf", names=("a", "b"), at=3),
        "frame": FrameSettings(by="length", start="hex:AA", at=1, width=2, order="little", extra=3),
        "checksum": ChecksumSettings(by="crc32", order="little"),
    },
    "marks": {
        "decode": DecodeSettings(as_="struct", format=">hf", names=("a", "b")),
        "frame": FrameSettings(by="marks", start="hex:7E", stop="hex:7E", escape="hex:7D", flip=0x20),
        "checksum": ChecksumSettings(by="crc16-x25", order="little"),
    },
    "gap": {
        "decode": DecodeSettings(as_="struct", format=">hf", names=("a", "b")),
        "frame": FrameSettings(by="gap", gap=0.005),
    },
    "delimiter": {
        "decode": DecodeSettings(as_="csv", names=("a", "b")),
        "frame": FrameSettings(by="delimiter", delimiter="\\r"),
        "checksum": ChecksumSettings(by="sum8", form="hex"),
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["asked", "heard"])
def test_both_points_of_every_form_asked_and_heard(form: str, way: str) -> None:
    async def main() -> None:
        points = (
            SerialPoint(name="a", field="a", scale=0.1, unit="Cel"),
            SerialPoint(name="b", field="b", type="number"),
        )
        more = {**FORMS[form], **({"ask": "D\r\n"} if way == "asked" else {})}
        async with living(dev=text(f"serial:{path()}", *points, **more)) as life:
            life.simulation.set("dev", "a", -12.5)
            life.simulation.set("dev", "b", 0.25)
            port = life.ports["dev"]
            await port.value("a", -12.5)
            await port.value("b", 0.25)
            life.simulation.set("dev", "a", 21.5)
            await port.value("a", 21.5)
            status = life.connectors["dev"].status()
            assert status["state"] == "up" and status["dropped"] == {} and status["frames"] > 0
            assert life.retries == []

    run(main())


def test_points_with_one_question_share_it() -> None:
    async def main() -> None:
        points = [SerialPoint(name=f"p{at}", field=at) for at in range(20)]
        device = text(f"serial:{path()}", *points, ask="D\r\n", decode=DecodeSettings(as_="csv"))
        async with living(dev=device) as life:
            port = life.ports["dev"]
            await port.until(lambda: len(port.last) == 20 and port.emitted >= 200)
            assert life.simulation.asked("dev")["questions"] <= port.emitted / 20 + 1

    run(main())


def test_a_late_answer_is_not_taken_for_the_next_question() -> None:
    """Both points answer alike; only the silence after a time-out tells whose answer it is."""

    async def main() -> None:
        device = text(f"serial:{path()}", timeout=0.02, quiet=0.04)
        async with living(dev=device) as life:
            life.simulation.set("dev", "a", 1)
            life.simulation.set("dev", "b", 2)
            port = life.ports["dev"]
            await port.value("a", 1)
            await port.value("b", 2)
            life.simulation.fault("dev", "late", 0.03)
            await port.quality("a", Quality.STALE)
            life.simulation.fault("dev", "none")
            await port.value("a", 1)
            await port.value("b", 2)
            wrong = [s for s in port.samples if s.value is not None and s.value != {"a": 1, "b": 2}[s.point]]
            assert wrong == []

    run(main())


def test_garbage_is_no_value_and_the_device_is_found_again() -> None:
    async def main() -> None:
        async with living(dev=text(f"serial:{path()}")) as life:
            life.simulation.set("dev", "a", 5)
            port = life.ports["dev"]
            await port.value("a", 5)
            life.simulation.fault("dev", "garbage")
            await port.quality("a", Quality.BAD)
            assert "no number" in port.last["a"].reason
            assert life.connectors["dev"].status()["points"]["a"]["bad"]["raw"]
            life.simulation.fault("dev", "none")
            await port.value("a", 5)

    run(main())


def test_unplugged_and_plugged_in_again() -> None:
    async def main() -> None:
        async with living(dev=text(f"serial:{path()}")) as life:
            life.simulation.set("dev", "a", 5)
            port = life.ports["dev"]
            await port.value("a", 5)
            life.simulation.fault("dev", "reboot", 0.1)
            await port.quality("a", Quality.STALE)
            assert port.last["a"].value == 5
            await port.value("a", 0)
            assert any("lost" in retry for retry in life.retries)
            assert all("No such file" in retry or "lost" in retry for retry in life.retries)

    run(main())


def test_two_devices_share_a_line_and_a_mute_one_does_not_stop_the_other() -> None:
    async def main() -> None:
        url = f"serial:{path()}"
        devices = {
            # The one that goes mute is found out soon; a busy machine must not make the other look like it.
            name: text(url, SerialPoint(name="v", ask="{unit}?\r\n", type="number"), unit=name, timeout=timeout)
            for name, timeout in (("x", 0.05), ("y", 5.0))
        }
        async with living(**devices) as life:
            life.simulation.set("x", "v", 1)
            life.simulation.set("y", "v", 2)
            await life.ports["x"].value("v", 1)
            await life.ports["y"].value("v", 2)
            life.simulation.fault("x", "mute")
            await life.ports["x"].quality("v", Quality.STALE)
            seen = life.ports["y"].emitted
            x = life.connectors["x"]
            await life.ports["y"].until(lambda: life.ports["y"].emitted > seen + 20 and x.status()["state"] == "mute")
            assert life.ports["y"].last["v"].quality is Quality.GOOD
            assert life.connectors["y"].status()["timeouts"] == 0

    run(main())


def test_one_question_and_several_lines_told_apart_by_when() -> None:
    async def main() -> None:
        points = (
            SerialPoint(name="t", pattern=r"^T=([-0-9.]+)$", when="^T", type="number"),
            SerialPoint(name="h", pattern=r"^H=([-0-9.]+)$", when="^H", type="number"),
        )
        async with living(dev=text(f"serial:{path()}", *points, ask="D\r\n")) as life:
            life.simulation.set("dev", "t", 21.5)
            life.simulation.set("dev", "h", 40)
            await life.ports["dev"].value("t", 21.5)
            await life.ports["dev"].value("h", 40)

    run(main())


def test_an_expression_before_scale_and_offset() -> None:
    async def main() -> None:
        point = SerialPoint(name="t", field=0, expression="v - 65536 if v > 32767 else v", scale=0.1)
        raw = SerialPoint(name="raw", field=0)
        device = text(f"serial:{path()}", point, raw, ask="D\r\n", decode=DecodeSettings(as_="csv"))
        async with living(dev=device) as life:
            with pytest.raises(Rejected, match="expression"):
                life.simulation.set("dev", "t", 1)
            life.simulation._devices["dev"].held["t"] = 65_411
            life.simulation.set("dev", "raw", 65_411)
            await life.ports["dev"].value("t", -12.5)

    run(main())


WRITABLE = {"set": "!{address}={value:.1f}\r\n", "write": WriteLimits()}


def test_a_write_is_read_back_in_the_decimals_of_the_command() -> None:
    async def main() -> None:
        async with living(dev=text(f"serial:{path()}", asked("a", **WRITABLE), quiet=0)) as life:
            await life.ports["dev"].value("a", 0)
            assert await life.connectors["dev"].write("a", 21.34) == 21.3
            assert life.simulation.get("dev", "a") == 21.3
            life.simulation.freeze("dev", True)
            with pytest.raises(Retry, match="keeps 21.3"):
                await life.connectors["dev"].write("a", 5)

    run(main())


def test_a_refused_command_and_one_without_an_answer() -> None:
    async def main() -> None:
        refusing = asked("a", **WRITABLE, ack="^OK")
        async with living(dev=text(f"serial:{path()}", refusing)) as life:
            port, connector = life.ports["dev"], life.connectors["dev"]
            await port.value("a", 0)
            assert await connector.write("a", 2) == 2
            life.simulation.fault("dev", "garbage")
            with pytest.raises(Retry, match="did not do it: it answered"):
                await connector.write("a", 3)
            life.simulation.fault("dev", "mute")
            with pytest.raises(Retry, match="may have been written|not written"):
                await connector.write("a", 4)

    run(main())


def test_a_listened_device_that_falls_silent_is_stale() -> None:
    async def main() -> None:
        device = text(f"serial:{path()}", SerialPoint(name="v", type="number"), poll=0.02)
        async with living(dev=device) as life:
            port = life.ports["dev"]
            await port.value("v", 0)
            life.simulation.fault("dev", "mute")
            await port.quality("v", Quality.STALE)
            assert port.last["v"].reason == "the device has not said it"
            life.simulation.fault("dev", "none")
            await port.value("v", 0)
            assert life.retries == []

    run(main())


def test_a_device_that_is_asked_and_speaks_by_itself() -> None:
    async def main() -> None:
        heard = SerialPoint(name="alarm", pattern=r"^ALARM (\d+)$", when="^ALARM", type="number")
        answered = SerialPoint(name="t", ask="T?\r\n", pattern=r"^T=([-\d.]+)$", when="^T=", type="number")
        async with living(dev=text(f"serial:{path()}", heard, answered, poll=0.03)) as life:
            life.simulation.set("dev", "alarm", 7)
            life.simulation.set("dev", "t", 21.5)
            port = life.ports["dev"]
            for _ in range(3):
                port.last.clear()
                await port.value("alarm", 7)
                await port.value("t", 21.5)
            life.simulation.fault("dev", "reboot", 0.3)
            await port.quality("t", Quality.STALE)
            await port.value("t", 0)
            assert any("lost" in retry for retry in life.retries)

    run(main())


def test_a_device_is_given_its_pause_before_the_next_question() -> None:
    async def main() -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await asyncio.sleep(0)

        device = text(f"serial:{path()}", pause=7.5, poll=0.5)
        simulation, port = simulate({"dev": device}, Clock()), FakePort()
        await simulation.start()
        task = asyncio.create_task(SerialConnector("dev", device, port, sleep=sleep).run(lambda: None))
        await port.value("b", 0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await simulation.stop()
        assert [seconds for seconds in slept if 7 < seconds <= 7.5]

    run(main())


def test_a_simulation_does_not_take_the_place_of_a_device() -> None:
    async def main() -> None:
        device = text("serial:/dev/null")
        with pytest.raises(FileExistsError, match="is there already"):
            await simulate({"dev": device}, Clock()).start()
        with pytest.raises(ValueError, match="no fault 'exception'"):
            simulate({"dev": device}, Clock()).fault("dev", "exception", 2)

    run(main())
