"""What may happen to the gateway, its cloud and the line between them; one of these is a round."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from e2e.crash.stage import Stage
from e2e.rig.gateway import GatewayProcess
from e2e.rig.proxy import FaultProxy
from e2e.uplink.clouds import Cloud
from e2e.uplink.world import FOUND_DEAD

LOSS: Final = 0.3
DELAY: Final = 2.0
"""Part of the segments, and seconds, in each direction."""

NOTICED: Final = FOUND_DEAD + 15.0
"""Seconds until a gateway that has found its line dead must have come again."""


class Rig(Protocol):
    """What a fault has to work with. ``start_gateway``: start it, and wait until it is ready."""

    source: random.Random
    stage: Stage
    proxy: FaultProxy
    cloud: Cloud
    gateway: GatewayProcess

    def start_gateway(self) -> None: ...
    def lose(self, part: float) -> None: ...
    def problem(self, text: str) -> None: ...


class Fault(NamedTuple):
    """``act`` lets it happen and puts it right again; ``weight``: how often it is chosen."""

    name: str
    weight: int
    act: Callable[[Rig], None]


def _wait(rig: Rig, least: float, most: float) -> None:
    rig.stage.run(rig.source.uniform(least, most))


def _on_the_line(begin: Callable[[Rig], None], least: float, most: float) -> Callable[[Rig], None]:
    def act(rig: Rig) -> None:
        begin(rig)
        _wait(rig, least, most)
        heal(rig)

    return act


def heal(rig: Rig) -> None:
    """The line is good again."""
    rig.proxy.heal()
    rig.lose(0.0)


def _truncate(rig: Rig) -> None:
    rig.proxy.truncate(rig.source.randint(1, 3000))


def _half_open(rig: Rig) -> None:
    """The gateway must find out by itself."""
    before = rig.proxy.connections
    rig.proxy.half_open()
    if not rig.stage.run(NOTICED, lambda: rig.proxy.connections > before):
        rig.problem(f"a half-open line was not given up within {NOTICED:g} s")


def _kill(rig: Rig) -> None:
    rig.gateway.kill()
    _wait(rig, 0.0, 0.5)
    rig.start_gateway()


def _kill_early(rig: Rig) -> None:
    """While it starts, or sends what has gathered."""
    rig.gateway.kill()
    if rig.source.random() < 0.3:
        rig.gateway.launch()
        _wait(rig, 0.0, 0.8)
    else:
        rig.start_gateway()
        _wait(rig, 0.0, 0.4)
    _kill(rig)


def _kill_in_a_fault(rig: Rig) -> None:
    fault = rig.source.choice((FaultProxy.reset, FaultProxy.cut, FaultProxy.refuse, FaultProxy.black_hole))
    fault(rig.proxy)
    _wait(rig, 0.0, 1.5)
    rig.gateway.kill()
    if rig.source.random() < 0.5:
        heal(rig)
    rig.start_gateway()
    _wait(rig, 0.0, 0.5)
    heal(rig)


def _stop(rig: Rig) -> None:
    rig.gateway.signal(signal.SIGTERM)
    if not rig.stage.run(10.0, lambda: not rig.gateway.runs):
        rig.problem("SIGTERM does not end it within 10 s")
    rig.gateway.kill()
    rig.start_gateway()


def _kill_cloud(rig: Rig) -> None:
    """kill -9 of the cloud's broker, when it has written what it has: what a broker loses is not our loss."""
    rig.proxy.black_hole()
    rig.stage.run(0.2)
    rig.cloud.kill()
    rig.proxy.cut()
    _wait(rig, 0.1, 1.0)
    rig.cloud.start()
    heal(rig)


def _kill_both(rig: Rig) -> None:
    rig.proxy.black_hole()
    rig.gateway.kill()
    rig.stage.run(0.2)
    rig.cloud.kill()
    rig.proxy.cut()
    rig.start_gateway()
    _wait(rig, 0.0, 1.0)
    rig.cloud.start()
    heal(rig)


LINE: Final = (
    Fault("reset", 6, lambda rig: rig.proxy.reset()),
    Fault("truncate", 6, _on_the_line(_truncate, 0.1, 1.5)),
    Fault("cut", 4, _on_the_line(lambda rig: rig.proxy.cut(), 0.2, 2.0)),
    Fault("refuse", 4, _on_the_line(lambda rig: rig.proxy.refuse(), 0.2, 2.0)),
    Fault("hole", 4, _on_the_line(lambda rig: rig.proxy.black_hole(), 0.3, 4.0)),
    Fault("hole up", 4, _on_the_line(lambda rig: rig.proxy.black_hole(down=False), 0.3, 4.0)),
    Fault("hole down", 5, _on_the_line(lambda rig: rig.proxy.black_hole(up=False), 0.3, 4.0)),
    Fault("half open", 3, _half_open),
    Fault("delay", 3, _on_the_line(lambda rig: rig.proxy.delay(DELAY), 4.0, 6.0)),
    Fault("loss", 4, _on_the_line(lambda rig: rig.lose(LOSS), 2.0, 5.0)),
)
"""After which the same gateway goes on."""

DEATHS: Final = (
    Fault("kill", 14, _kill),
    Fault("kill early", 6, _kill_early),
    Fault("kill in a fault", 10, _kill_in_a_fault),
    Fault("stop", 3, _stop),
    Fault("kill cloud", 4, _kill_cloud),
    Fault("kill both", 3, _kill_both),
)


def choose(source: random.Random, faults: tuple[Fault, ...] = LINE + DEATHS) -> Fault:
    """One of them."""
    return source.choices(faults, [fault.weight for fault in faults])[0]
