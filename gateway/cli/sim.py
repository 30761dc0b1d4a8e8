"""``gateway sim``: plays the devices of a settings file on this machine, with faults by a script."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gateway import kinds
from gateway.cli.where import loaded_of
from gateway.clock import Clock
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.connectors.scenario import Fail, Put, Scenario, Script, unknown
from gateway.connectors.simulation import Simulation
from gateway.errors import ConfigError, GatewayError, Rejected

TICK: Final = 0.5
"""Seconds between two steps of the values."""


def register(subparsers: Any) -> None:
    """Add the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sim",
        help="play the devices of a settings file on this machine, with faults by a script",
        description="The devices are where the settings say. Where that is another machine, --write makes a copy of "
        "the settings with all of them here; start gateway run with that. Ends with Ctrl-C.",
    )
    parser.add_argument("settings", metavar="FILE", help="the settings file that the gateway uses too")
    parser.add_argument("--script", metavar="FILE", help="steps: values and faults over time (TOML)")
    parser.add_argument("--write", metavar="FILE", help="play on free ports here, and write the settings that say so")
    parser.add_argument("--json", action="store_true", help="print what happens as JSON lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 after Ctrl-C or SIGTERM."""
    loaded = loaded_of(args.settings)
    if args.write:
        target = Path(args.write)
        target.write_text(here(loaded, target.absolute().parent))
        loaded = loaded_of(str(target))
    if not loaded.value.device:
        raise GatewayError(f"{args.settings} has no device to play")
    script = None
    if args.script:
        read_script = read(Path(args.script), Script)
        problems = unknown(read_script.value, loaded.value.device)
        if problems:
            raise ConfigError(read_script.source.problems(problems))
        script = read_script.value
    stage = Stage(loaded, Scenario(loaded.value.device, script), _tell_json if args.json else _tell)
    asyncio.run(stage.play())
    return 0


def here(loaded: Loaded[Settings], folder: Path) -> str:
    """The settings with every device on this machine: free ports of 127.0.0.1, serial lines below ``folder``."""
    lines = loaded.source.path.read_text().split("\n")
    moved: dict[str, str] = {}
    for name, device in loaded.value.device.items():
        url = getattr(device, "url", None)
        line = loaded.source.line(f"device.{name}.url")
        if url is None or line is None:
            continue
        if url not in moved:
            moved[url] = _local(str(url), folder / f"{name}.line")
        # The key itself when the url stands in a table of one line; the line of the table otherwise.
        lines[line - 1] = lines[line - 1].replace(f'"{url}"', f'"{moved[url]}"')
    return "\n".join(lines)


def _local(url: str, line: Path) -> str:
    parts = urlsplit(url)
    if not parts.netloc:
        return f"{parts.scheme}:{line}" + (f"?{parts.query}" if parts.query else "")
    kind = socket.SOCK_DGRAM if parts.scheme in ("coap", "coaps", "bacnet") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return parts._replace(netloc=f"127.0.0.1:{probe.getsockname()[1]}").geturl()


class Stage:
    """All simulated devices of one settings file, and the scenario that moves them."""

    def __init__(self, loaded: Loaded[Settings], scenario: Scenario, tell: Any, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._scenario = scenario
        self._tell = tell
        self._devices = loaded.value.device
        by_kind: dict[str, dict[str, Any]] = {}
        for name, device in self._devices.items():
            by_kind.setdefault(loaded.kinds[f"device.{name}"], {})[name] = device
        self._simulations = {kind: _simulate(kind, devices, self._clock) for kind, devices in by_kind.items()}
        self._of = {name: self._simulations[kind] for kind, devices in by_kind.items() for name in devices}

    async def play(self) -> None:
        """Play until SIGINT or SIGTERM."""
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end.set)
        await self.start()
        try:
            begin = self._clock.now()
            while not end.is_set():
                self.step(self._clock.now() - begin)
                try:
                    async with asyncio.timeout(TICK):
                        await end.wait()
                except TimeoutError:
                    pass
        finally:
            await self.stop()

    async def start(self) -> None:
        """Bind everything. Raises GatewayError with the way out."""
        try:
            for simulation in self._simulations.values():
                await simulation.start()
        except OSError as error:
            await self.stop()
            raise GatewayError(
                f"cannot play there: {error}; with --write LOCAL.toml all devices are played on this machine"
            ) from None
        for name, device in self._devices.items():
            self._tell(name, f"at {getattr(device, 'url', '-')}, {len(device.point)} points")

    async def stop(self) -> None:
        """Release everything."""
        for simulation in self._simulations.values():
            await simulation.stop()

    def step(self, at: float) -> None:
        """All that happens up to ``at`` seconds after the start."""
        for event in self._scenario.until(at):
            simulation = self._of[event.device]
            if isinstance(event, Fail):
                self._fail(simulation, event)
            else:
                self._put(simulation, event)

    def _fail(self, simulation: Simulation, event: Fail) -> None:
        try:
            simulation.fault(event.device, event.kind, event.amount)
        except ValueError as error:
            self._tell(event.device, f"cannot be {event.kind}: {error}")
        else:
            self._tell(event.device, f"fault {event.kind}" + (f" {event.amount:g}" if event.amount else ""))

    def _put(self, simulation: Simulation, event: Put) -> None:
        for value in (event.value, bool(event.value) if isinstance(event.value, float) else event.value):
            try:
                simulation.set(event.device, event.point, value)
                return
            except Rejected as error:
                refusal = str(error)
        self._scenario.still(event.device, event.point)
        self._tell(event.device, f"{event.point} keeps its value: {refusal}")


def _simulate(kind: str, devices: Mapping[str, Any], clock: Clock) -> Simulation:
    module = kinds.beside("device", kind, "sim")
    if module is None or not hasattr(module, "simulate"):
        raise GatewayError(f'devices of kind "{kind}" cannot be played; leave {", ".join(devices)} out')
    simulation: Simulation = module.simulate(devices, clock)
    return simulation


def _tell(device: str, text: str) -> None:
    print(f"{device}: {text}", flush=True)


def _tell_json(device: str, text: str) -> None:
    print(json.dumps({"device": device, "text": text}), flush=True)
    sys.stdout.flush()
