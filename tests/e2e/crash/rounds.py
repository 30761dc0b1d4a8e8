"""``python -m e2e.crash.rounds``: kill -9 the gateway so many times under mixed load, drain everything, judge.

Each round starts the gateway on the same state folder and kills it at a random moment: while it starts, right after
its clients are back, under load, or while it stops after SIGTERM; now and then it may stop in peace. The link to its
cloud is cut and healed meanwhile. The database is looked at after every fifth kill. The first problem ends the run.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from e2e.crash.ledger import Ledger
from e2e.crash.stage import Stage
from e2e.crash.tables import problems as table_problems
from e2e.crash.verdict import Failed, judge, say, told
from e2e.crash.world import RULES, World, settings_text
from e2e.rig.gateway import GatewayProcess
from e2e.rig.proxy import FaultProxy
from e2e.rig.waiting import free_port
from peers.mosquitto import Mosquitto

START_SECONDS = 20.0
DRAIN_SECONDS = 60.0
LOOK_EVERY = 5
MOMENTS = ("load",) * 6 + ("early",) * 3 + ("start",) * 2 + ("stop", "clean")
CLOUD = ("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 100", "set_tcp_nodelay true")
"""Of a cloud that is never killed, and so keeps everything in memory."""

FAULTS = ("reset", "cut", "black_hole", "heal", "heal")


class Crash:
    """One run. ``say``: takes a line of progress."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack) -> None:
        self.seed = seed
        self.source = random.Random(seed)
        self.ledger = Ledger(folder / "history.log")
        stack.callback(self.ledger.close)
        cloud = stack.enter_context(Mosquitto(folder, CLOUD, persistence=False))
        self.proxy = stack.enter_context(FaultProxy(cloud.port))
        port = free_port()
        self.gateway = GatewayProcess(folder / "gateway", settings_text(port, self.proxy.port))
        (self.gateway.rules / "rules.toml").write_text(RULES)
        stack.callback(self._end)
        self.stage = Stage(port, self.source, self.ledger)
        stack.callback(self.stage.selector.close)
        self.world = World(self.stage, self.ledger, cloud.port)
        for client in self.world.clients:
            stack.callback(client.close)
        self.seconds_to_ready: list[float] = []
        self._scratch = folder / "copy"

    def run(self, rounds: int, every: int) -> str:
        """So many kills, and the judgement; a line that says what there was. Raises Failed."""
        begin = time.monotonic()
        self._start()
        if not self.stage.run(START_SECONDS, lambda: self.world.is_settled):
            raise Failed("the clients do not come in")
        # What is published at the cloud before the uplink has subscribed there is for nobody.
        while self.gateway.status()["uplinks"]["cloud"]["reason"] != "caught_up":
            self.stage.run(0.1)
        self.stage.is_loaded = True
        self.stage.run(0.5)
        for number in range(1, rounds + 1):
            self.ledger.round = number
            self._round(number)
            if number % LOOK_EVERY == 0 or number == rounds:
                for text in table_problems(self.gateway.state / "gateway.db", self._scratch):
                    self.ledger.problem(text)
            judge(self.ledger, f"SEED={self.seed}")
            if number % every == 0:
                say(f"round {number}/{rounds}, {time.monotonic() - begin:.0f} s: {self.world.figures}")
        self._drain()
        self.world.judge()
        judge(self.ledger, f"SEED={self.seed}")
        return f"{self.world.figures}; start {max(self.seconds_to_ready):.2f} s at most"

    def _round(self, number: int) -> None:
        """Start it if need be, and kill it."""
        source = self.source
        moment = source.choice(MOMENTS)
        self.ledger.mark(moment)
        if moment == "start" and number > 1:
            self.gateway.launch()
            self.stage.run(source.uniform(0.0, 0.8))
        else:
            self._start()
            if moment == "early":
                self.stage.run(source.uniform(0.0, 0.15))
            else:
                end = time.monotonic() + source.uniform(0.15, 0.9)
                while (left := end - time.monotonic()) > 0:
                    getattr(self.proxy, source.choice(FAULTS))()
                    self.stage.run(min(left, source.uniform(0.05, 0.6)))
            if not self.gateway.runs:
                raise Failed(f"the gateway has ended by itself:\n{self.gateway.log_text()[-3000:]}")
            if moment in ("stop", "clean"):
                self.gateway.signal(signal.SIGTERM)
                longest = source.uniform(0.0, 0.15) if moment == "stop" else START_SECONDS
                self.stage.run(longest, lambda: not self.gateway.runs)
        self.gateway.kill()
        self.ledger.mark("killed")

    def _start(self) -> None:
        if self.gateway.runs:
            return
        self.gateway.launch()
        if not self.stage.run(START_SECONDS, lambda: self.gateway.is_ready or not self.gateway.runs):
            raise Failed(f"the gateway is not ready within {START_SECONDS:g} s")
        if not self.gateway.runs:
            raise Failed(f"the gateway has ended by itself:\n{self.gateway.log_text()[-3000:]}")
        self.seconds_to_ready.append(self.gateway.seconds_to_ready)

    def _drain(self) -> None:
        """Everything comes to rest: what is missing then is lost."""
        world, stage = self.world, self.stage
        self.ledger.round += 1
        self.ledger.mark("drain")
        self.proxy.heal()
        self._start()
        stage.is_loaded = False
        looks = world.probe.looks
        if not stage.run(DRAIN_SECONDS, lambda: world.is_drained and world.probe.looks > looks + 1):
            self._missing()
            return
        # Poison is tried until it is a dead letter; what nobody waits for settles meanwhile.
        stage.run(DRAIN_SECONDS, lambda: self._pending() == 0)
        depths = self._depths()
        undertaker = world.undertaker()
        dead = depths["$dlq/orders"]
        stage.run(DRAIN_SECONDS, lambda: undertaker.confirmed >= dead)
        stage.run(0.3)
        undertaker.close()
        if sum(len(causes) for causes in world.book.dead.values()) != dead:
            self.ledger.problem(f"{dead} dead letters are counted, {len(world.book.dead)} came")
        depths |= {"$dlq/orders": self._depths()["$dlq/orders"]}
        for address in ("$queue/orders", "$queue/jobs", "$dlq/orders"):
            if depths[address]:
                self.ledger.problem(f"{address} has {depths[address]} messages after everything was settled")
        self._check_sessions()
        self.gateway.kill()
        for text in table_problems(self.gateway.state / "gateway.db", self._scratch):
            self.ledger.problem(text)

    def _check_sessions(self) -> None:
        """Nothing waits for anybody, nothing is left of what was delayed, and nothing was dropped in the last run."""
        status = self.gateway.status()
        if status["delayed"]["count"]:
            self.ledger.problem(f"delayed messages are left: {status['delayed']}")

    def _missing(self) -> None:
        for client in self.world.publishers:
            for out in list(client.unanswered.values())[:1]:
                self.ledger.problem(f"{client.client_id} has no answer", out.series, out.number)
        for inbox in self.ledger.inboxes:
            for series, number in inbox.missing():
                self.ledger.problem(f"{inbox.name} has lost {series.name} {number}", series, number)
        for series, number in self.world.book.unsettled():
            self.ledger.problem(f"no worker has got {series.name} {number}", series, number)

    def _queues(self) -> dict[str, dict[str, int]]:
        return {one["address"]: one for one in self.gateway.status()["queues"]}

    def _pending(self) -> int:
        queues = self._queues()
        return sum(queues[address]["pending"] for address in ("$queue/orders", "$queue/jobs"))

    def _depths(self) -> dict[str, int]:
        return {address: one["depth"] for address, one in self._queues().items()}

    def _end(self) -> None:
        if self.gateway.runs:
            self.gateway.kill()
        self.gateway.notify.close()


def crash(folder: Path, rounds: int, seed: int, every: int = 10) -> str:
    """So many kills in a folder; a line that says what there was. Raises Failed with the seed and the history."""
    with ExitStack() as stack:
        return Crash(folder, seed, stack).run(rounds, every)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m e2e.crash.rounds", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="kills (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: another one each time")
    arguments = parser.parse_args()
    seed = arguments.seed or time.time_ns() % 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    say(f"SEED={seed}, files in {folder}")
    return told(lambda: crash(folder, arguments.rounds, seed), folder)


if __name__ == "__main__":
    raise SystemExit(main())
