"""A line as slow as its baud rate says: what its characters take is not counted against the unit."""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from pathlib import Path

import pytest

from connectors.fakes import run
from gateway.connectors.modbus.endpoint import parse_url
from gateway.connectors.modbus.pdu import Timeout
from gateway.connectors.modbus.sim import Simulator
from gateway.connectors.modbus.wire import open_wire

SPEEDS = {termios.B1200: 1200, termios.B9600: 9600, termios.B115200: 115_200}


class PacedLine:
    """Joins a simulated line at ``far`` to a pseudo-terminal at ``near``, at the speed that the near end is set to."""

    def __init__(self, near: Path, far: Path) -> None:
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        near.symlink_to(os.ttyname(self._theirs))
        self._far = os.open(far, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        os.set_blocking(self._ours, False)
        self._loop = asyncio.get_running_loop()
        self._free = {self._ours: 0.0, self._far: 0.0}
        self._loop.add_reader(self._ours, self._pass, self._ours, self._far)
        self._loop.add_reader(self._far, self._pass, self._far, self._ours)

    def _pass(self, source: int, target: int) -> None:
        data = os.read(source, 4096)
        at = max(self._free[source], self._loop.time())
        character = 10 / SPEEDS[termios.tcgetattr(self._theirs)[4]]
        for start in range(0, len(data), 8):
            piece = data[start : start + 8]
            at += len(piece) * character
            self._loop.call_at(at, os.write, target, piece)
        self._free[source] = at

    def close(self) -> None:
        for file in (self._ours, self._far):
            self._loop.remove_reader(file)
        for file in (self._ours, self._theirs, self._far):
            os.close(file)


@pytest.mark.parametrize(("baud", "seconds"), [(9600, 0.139), (115_200, 0.012)])
def test_sixty_registers_take_what_their_characters_take(baud: int, seconds: float, tmp_path: Path) -> None:
    async def main() -> None:
        simulator = Simulator()
        simulator.unit(1).holding.update({n: n for n in range(60)})
        simulator.plug(str(tmp_path / "far"))
        loop = asyncio.get_running_loop()
        wire = None
        line = PacedLine(tmp_path / "near", tmp_path / "far")
        try:
            wire = await open_wire(parse_url(f"serial:{tmp_path / 'near'}?baud={baud}&parity=N"), 1.0)
            began = loop.time()
            # 50 ms are enough for a unit that answers at once, although 133 characters at 9600 baud take longer.
            assert await wire.read("holding", 1, 0, 60, 0.05, 0.05) == list(range(60))
            assert loop.time() - began >= seconds - 0.01
            with pytest.raises(Timeout):
                await wire.read("holding", 2, 0, 1, 0.05, 0.05)
        finally:
            if wire is not None:
                wire.close()
            line.close()
            await simulator.stop()

    run(main())
