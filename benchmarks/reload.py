"""What a reload costs a running gateway: 500 points in 10 devices, 200 rules with a case each, one point changed.

    PYTHONPATH=tests python -m benchmarks.reload [--rounds 3] [--memory 200]

A real process with a probe in its loop: a task that wants to run each millisecond and notes how late it was. The
reload is asked for over the control socket. Counted: connections that the simulated device server saw, samples
that are missing (a gap in the source times of a point), and how late the loop was while the reload
ran, in total and at most, beside a stretch as long without one. ``--memory``: so many more reloads, of which each
changes a point and all rules, one after the other; what the process holds then must not grow with their number.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.footprint import resident_mb
from e2e.rig import settings
from e2e.rig.clients import Collector
from e2e.rig.waiting import free_port, is_listening, wait_until
from gateway.check import checked
from gateway.connectors.modbus.sim import Simulator
from gateway.control import ask

DEVICES, POINTS, RULES = 10, 50, 200
POLL = 0.5
NOISE = 0.002
"""Seconds; a timer that is less late was only a timer."""

RULE = """[[action]]
name = "r{n}"
on = {{ topic = "other/{n}/+" }}
when = "q == 'good' and mean_over(v, '1m') > {n}"
do = [{{ publish = {{ topic = "out/{n}", value = {{ v = "round(v * 2, 2)", n = {n} }} }} }}]
[[case]]
name = "r{n}"
given = [{{ topic = "other/{n}/x", value = {{ v = 500, q = "good" }} }}]
expect = [{{ topic = "out/{n}", value = {{ v = 1000, n = {n} }} }}]
"""


def child(config: str, state: str, notes: str) -> None:
    """A gateway whose loop is watched."""
    from gateway import kinds
    from gateway.app import App
    from gateway.clock import Clock
    from gateway.config.load import read
    from gateway.config.settings import Settings
    from gateway.loop import EventLoop
    from gateway.systemd import Notifier

    loaded = read(Path(config), Settings, kinds)
    late: list[tuple[float, float]] = []

    async def probe() -> None:
        while True:
            due = time.monotonic() + 0.001
            await asyncio.sleep(0.001)
            now = time.monotonic()
            if now - due > NOISE:
                late.append((now, now - due))

    async def main() -> None:
        app = App(loaded, checked(loaded), Path(state), "bench", Notifier(os.environ, os.getpid()), Clock())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.stop)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        watching = asyncio.create_task(probe())
        await app.run()
        watching.cancel()

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main())
    Path(notes).write_text(json.dumps(late))


def config(port: int, server: int, scale: str) -> str:
    text = settings.listener(port)
    for unit in range(1, DEVICES + 1):
        points = [settings.point(f"p{number}", f"holding:{number}") for number in range(POINTS)]
        if unit == 1:
            points[0] = settings.point("p0", "holding:0", scale=scale) if scale else points[0]
        text += settings.modbus(f"d{unit}", server, points, unit=unit, poll=f"{POLL * 1000:.0f}ms")
    return text


def missing(received: list[Any]) -> int:
    """Samples that should be between two of one point, and are not."""
    seen: dict[str, float] = {}
    lost = 0
    for one in received:
        at = datetime.fromisoformat(json.loads(one.payload)["t"]).timestamp()
        if one.topic in seen:
            lost += max(0, round((at - seen[one.topic]) / POLL) - 1)
        seen[one.topic] = at
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="reloads to look at the memory")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    simulator = Simulator()
    for unit in range(1, DEVICES + 1):
        simulator.unit(unit).holding.update({address: address for address in range(POINTS)})
    server = asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
    try:
        with tempfile.TemporaryDirectory() as name:
            _measure(Path(name), server, simulator, args.rounds, args.memory)
    finally:
        asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _measure(folder: Path, server: int, simulator: Simulator, rounds: int, memory: int) -> None:
    port, path, state, notes = free_port(), folder / "gateway.toml", folder / "state", folder / "late.json"
    state.mkdir()
    (folder / "rules").mkdir()
    rules = folder / "rules" / "many.toml"
    rules.write_text("".join(RULE.format(n=n) for n in range(RULES)))
    path.write_text(config(port, server, ""))
    command = [sys.executable, __file__, "--child", str(path), str(state), str(notes)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    spans: list[tuple[float, float]] = []
    try:
        wait_until(lambda: is_listening(port), 20, "the gateway is there")
        collector = Collector(port, "plant/#")
        collector.wait_for(f"plant/d{DEVICES}/p{POINTS - 1}", 20)
        time.sleep(2)
        accepted = simulator.accepted
        for number in range(rounds):
            path.write_text(config(port, server, f"0.{number + 1}"))
            begin = time.monotonic()
            report = ask(state, "reload", 30)
            spans.append((begin, time.monotonic()))
            assert report["restarted"] == ["device.d1"], report
            time.sleep(2)
        sockets = simulator.accepted - accepted
        received = list(collector.received)
        collector.close()
        _grow(process.pid, path, rules, partial(config, port, server), state, memory)
    finally:
        process.terminate()
        process.wait(20)
    late = [(at, how) for at, how in json.loads(notes.read_text())]
    print(f"{rounds} reloads, {DEVICES * POINTS} points, {RULES} rules with cases, one point changed each time")
    print(f"connections opened anew: {sockets}; samples missing: {missing(received)} of {len(received)}")
    for begin, end in spans:
        during = [how * 1000 for at, how in late if begin <= at <= end + 0.1]
        quiet = [how * 1000 for at, how in late if end + 0.3 <= at <= end + 0.4 + (end - begin)]
        print(
            f"reload took {(end - begin) * 1000:.0f} ms; loop late {sum(during):.0f} ms in total, "
            f"{max(during, default=0):.1f} ms at most; "
            f"as long without one: {sum(quiet):.0f} and {max(quiet, default=0):.1f} ms"
        )


def _grow(pid: int, path: Path, rules: Path, config_of: Callable[[str], str], state: Path, count: int) -> None:
    """Reload so many times, and say now and then what the process holds."""
    for number in range(count):
        path.write_text(config_of(f"0.{number + 1}"))
        rules.write_text("".join(RULE.format(n=n).replace("* 2", f"* 2 + 0 * {number}") for n in range(RULES)))
        ask(state, "reload", 60)
        if number % max(1, count // 8) == 0 or number == count - 1:
            print(f"after {number + 1} reloads of everything: {resident_mb(pid):.1f} MB", flush=True)


if __name__ == "__main__":
    main()
