"""``python -m e2e.uplink.rounds``: kill the gateway and its cloud and spoil the line between them, and judge.

Each round one fault happens under 200 messages a second and is put right; mostly everything may catch up then, now
and then the next fault comes at once. At the end all is drained, and a last run without kills says whether the
gateway's own books are those of the cloud. The first problem ends the run.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, get_args

from e2e.crash.ledger import Ledger
from e2e.crash.stage import Stage
from e2e.crash.tables import problems as table_problems
from e2e.crash.verdict import SHOWN, Failed, judge, say, told
from e2e.rig.gateway import GatewayProcess
from e2e.rig.memory import memory_folder
from e2e.rig.proxy import FaultProxy
from e2e.rig.waiting import free_port
from e2e.uplink import books
from e2e.uplink.arrivals import Arrivals
from e2e.uplink.clouds import KINDS
from e2e.uplink.faults import LINE, choose, heal
from e2e.uplink.loss import Loss, enter
from e2e.uplink.world import Receiver, publishers, settings_text
from gateway.uplinks.packing.pack import Format

START_SECONDS: Final = 60.0
"""For a machine that has other things to do; what takes longer hangs."""

CATCH_UP_SECONDS: Final = 90.0
"""The gateway may wait a minute before it tries to connect again."""

LOOK_EVERY: Final = 0.1
ON_THE_WAY: Final = 5
"""Messages that were acknowledged a moment ago and have not come yet, when all is well."""

PATIENT: Final = 0.7
"""Part of the rounds after which everything may catch up; else the next fault comes at once."""

STEADY: Final = (2.0, 8.0)
"""Seconds of quiet after a fault. A gateway in the field has days; a short run has none."""

SHORT: Final = (0.0, 0.3)

MOST_REPEATS: Final = 0.005
"""Part of all arrivals, over so many rounds that chance has no say."""

MANY: Final = 100
WINDOW: Final = 64
"""What may be under way: a fault makes the gateway repeat so much at most, on average."""

MOST_REPEATS_PACKED: Final = 0.1
WINDOW_PACKED: Final = 1500
"""The same of rows in parcels: all that comes while a silent line is not yet found dead has room in the window."""

LAST_FAULTS: Final = 4


class Cut:
    """One run in a folder."""

    def __init__(self, folder: Path, cloud: str, seed: int, stack: ExitStack, packed: str | None = None) -> None:
        self.seed = seed
        self.source = random.Random(seed)
        self.ledger = Ledger(folder / "history.log")
        stack.callback(self.ledger.close)
        kind = KINDS[cloud]
        self._window = WINDOW_PACKED if packed else WINDOW
        self._most_repeats = MOST_REPEATS_PACKED if packed else MOST_REPEATS
        self.cloud = kind.make(Path(stack.enter_context(memory_folder())))
        self.cloud.start()
        stack.callback(self.cloud.kill)
        self.proxy = stack.enter_context(FaultProxy(self.cloud.port, seed))
        self._loss = Loss(self.proxy.port) if Loss.is_possible() else None
        port = free_port()
        text = settings_text(port, self.proxy.port, kind.version, packed)
        self.gateway = GatewayProcess(folder / "gateway", text, interpreter=("-X", "faulthandler"))
        stack.callback(self._end)
        self.stage = Stage(port, self.source, self.ledger)
        stack.callback(self.stage.selector.close)
        level = 5 if kind.version == "5" else 4
        self.arrivals = Arrivals(self.ledger, has_ids=level == 5)
        self.receiver = Receiver(self.stage, self.arrivals, level=level, port=self.cloud.port)
        self.publishers = publishers(self.stage)
        for client in (self.receiver, *self.publishers):
            stack.callback(client.close)
        self.happened: Counter[str] = Counter()
        self._repeated: Counter[str] = Counter()
        self._steady = STEADY
        self._scratch = folder / "copy"

    # For the faults

    def start_gateway(self) -> None:
        self.gateway.launch()
        if not self.stage.run(START_SECONDS, lambda: self.gateway.is_ready or not self.gateway.runs):
            self.gateway.signal(signal.SIGABRT)  # it writes where each of its threads is
            self.stage.run(5.0, lambda: not self.gateway.runs)
            text = self.gateway.log_text()[-3000:]
            raise Failed(f"SEED={self.seed}: the gateway is not ready within {START_SECONDS:g} s:\n{text}")
        if not self.gateway.runs:
            raise Failed(f"the gateway has ended by itself:\n{self.gateway.log_text()[-3000:]}")

    def lose(self, part: float) -> None:
        if self._loss is not None:
            self._loss.lose(part)
        else:
            self.proxy.lose(part)

    def problem(self, text: str) -> None:
        self.ledger.problem(text)

    # The run

    def run(self, rounds: int, every: int) -> str:
        """So many faults, and the judgement; a line that says what there was. Raises Failed."""
        begin = time.monotonic()
        self._steady = STEADY if rounds >= MANY else SHORT
        self._settle()
        for number in range(1, rounds + 1):
            self.ledger.round = number
            self._round()
            if number % every == 0:
                say(f"round {number}/{rounds}, {time.monotonic() - begin:.0f} s: {self.figures}")
        self._drain()
        self.ledger.round += 1
        self._last_run(min(LAST_FAULTS, rounds // 2))
        self._judge(rounds)
        happened = ", ".join(f"{name} {n}" for name, n in self.happened.most_common())
        repeated = ", ".join(f"{name} {n}" for name, n in self._repeated.most_common() if n)
        return f"{time.monotonic() - begin:.0f} s: {self.figures}\nfaults: {happened}\nrepeats after: {repeated}"

    def _settle(self) -> None:
        self.start_gateway()
        clients = (self.receiver, *self.publishers)
        if not self.stage.run(START_SECONDS, lambda: all(client.has_session for client in clients)):
            raise Failed("the clients do not come in")
        self.stage.is_loaded = True
        self.stage.run(1.0)

    def _round(self) -> None:
        fault, before = choose(self.source), self.arrivals.repeats
        self._happen(fault.name)
        fault.act(self)
        if self.source.random() < PATIENT:
            self._catch_up()
            self.stage.run(self.source.uniform(*self._steady))
        if not self.gateway.runs:
            raise Failed(f"the gateway has ended by itself:\n{self.gateway.log_text()[-3000:]}")
        self._repeated[fault.name] += self.arrivals.repeats - before
        self._raise()

    def _happen(self, name: str) -> None:
        self.happened[name] += 1
        self.ledger.mark(name)

    def _catch_up(self) -> None:
        if not self.stage.run(CATCH_UP_SECONDS, self._now_and_then(lambda: len(self.arrivals.missing()) <= ON_THE_WAY)):
            self._tell_missing()

    def _now_and_then(self, condition: Callable[[], bool]) -> Callable[[], bool]:
        """``condition``, looked at every ``LOOK_EVERY`` seconds; False between."""
        due = 0.0

        def looked() -> bool:
            nonlocal due
            if self.stage.now < due:
                return False
            due = self.stage.now + LOOK_EVERY
            return condition()

        return looked

    def _drain(self) -> None:
        """Everything comes to rest: what is missing then is lost."""
        self.ledger.mark("drain")
        self.stage.is_loaded = False
        heal(self)
        if not self.stage.run(CATCH_UP_SECONDS, self._is_drained):
            self._tell_missing()
        # What has arrived is answered for later: after a loss the acknowledgements come as TCP sends them again.
        self.stage.run(CATCH_UP_SECONDS, self._now_and_then(lambda: books.is_answered(self.gateway)))
        for text in books.at_rest(self.gateway):
            self.ledger.problem(text)
        self._raise()

    def _is_drained(self) -> bool:
        return not any(client.unanswered for client in self.publishers) and not self.arrivals.missing()

    def _last_run(self, faults: int) -> None:
        """A start of its own, in which only the line fails: each row that it counts has arrived under its number."""
        self.gateway.stop()
        self.start_gateway()
        before = books.stored(self.gateway)
        self.stage.is_loaded = True
        self.stage.run(1.0)
        for _ in range(faults):
            fault = choose(self.source, LINE)
            self._happen(fault.name)
            fault.act(self)
            self.stage.run(0.5)
        self._drain()
        if self.arrivals.has_ids:
            for text in books.of_one_run(self.gateway, before, self.arrivals.boots):
                self.ledger.problem(text)
        self.gateway.stop()
        for text in table_problems(self.gateway.state / "gateway.db", self._scratch):
            self.ledger.problem(text)

    def _judge(self, rounds: int) -> None:
        arrivals = self.arrivals
        many = self._most_repeats * arrivals.total if rounds >= MANY else self._window * rounds
        if arrivals.repeats > many:
            text = f"{arrivals.repeats} of {arrivals.total} arrivals are repeats: {dict(self._repeated)}"
            self.ledger.problem(text)
        self._raise()

    def _tell_missing(self) -> None:
        missing = self.arrivals.missing()
        status = self.gateway.status()
        self.ledger.problem(f"{len(missing)} are missing; the uplink: {status['uplinks']['cloud']}")
        for client in self.publishers:
            for out in list(client.unanswered.values())[:1]:
                self.ledger.problem(f"{client.client_id} waits for an answer", out.series, out.number)
        for series, number in missing[: 2 * SHOWN]:
            self.ledger.problem(f"{series.name} {number} is missing ({len(missing)} in all)", series, number)

    def _raise(self) -> None:
        judge(self.ledger, f"SEED={self.seed}", lambda: f"; {self.figures}")

    @property
    def figures(self) -> str:
        """How much there was."""
        series, arrivals = self.ledger.series.values(), self.arrivals
        sent, acked = sum(one.sent for one in series), sum(len(one.acked) for one in series)
        part = 100 * arrivals.repeats / max(1, arrivals.total)
        return (
            f"{sent} published, {acked} acknowledged, {arrivals.total} arrived ({arrivals.replayed} as replay): "
            f"{len(arrivals.missing())} missing, {arrivals.repeats} repeats of the uplink ({part:.2f} %), "
            f"{arrivals.redelivered} of the cloud, {arrivals.republished} of publishers without an answer"
        )

    def _end(self) -> None:
        if self.gateway.was_launched:
            self.gateway.kill()
        self.gateway.notify.close()


def cut(
    folder: Path, rounds: int, seed: int, cloud: str = "mosquitto", every: int = 10, packed: str | None = None
) -> str:
    """So many faults in a folder; a line that says what there was. Raises Failed with the seed and the history."""
    with ExitStack() as stack:
        return Cut(folder, cloud, seed, stack, packed).run(rounds, every)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m e2e.uplink.rounds", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="faults (20)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: another one each time")
    parser.add_argument("--cloud", choices=sorted(KINDS), default="mosquitto", help="the cloud's broker (mosquitto)")
    parser.add_argument("--packed", choices=get_args(Format), help="rows share parcels of this format")
    arguments = parser.parse_args()
    enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # nothing is left running
    seed = arguments.seed or time.time_ns() % 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="cut-"))
    loss = "of the kernel" if Loss.is_possible() else "in a model of TCP: no root, or no nft"
    say(f"SEED={seed}, {arguments.cloud}, {arguments.packed or 'row by row'}, loss {loss}, files in {folder}")
    return told(lambda: cut(folder, arguments.rounds, seed, arguments.cloud, packed=arguments.packed), folder)


if __name__ == "__main__":
    raise SystemExit(main())
