"""The long fuzz run: damaged packets and damaged dialogues against the sans-IO MQTT server.

    python benchmarks/fuzz.py [--packets 1000000] [--sessions 10000] [--seed N]

Prints seed, rate, memory, and which packets were sent and came back. Ends with 1 at the first thing that does not
hold, and says which seed and step show it again. What must hold is in ``tests/mqtt/fuzzer.py``.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from mqtt.fuzzer import Crowd  # noqa: E402

CROWD_STEPS = 50_000
"""Packets until all leave and a new crowd with a new server comes: then it is seen that nothing is left."""

HARM = (0.05, 0.3, 0.8)
"""Shares of damaged packets, in turn; dialogues have the first."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the MQTT server without a wire.")
    parser.add_argument("--packets", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    try:
        return max(
            run("dialogues", arguments.seed, HARM[:1], sessions=arguments.sessions),
            run("packets", arguments.seed + 1_000_000, HARM, packets=arguments.packets),
        )
    except KeyboardInterrupt:
        return 1


def run(title: str, seed: int, harm: tuple[float, ...], packets: int = 0, sessions: int = 0) -> int:
    """Crowds one after the other, until so many packets were sent or sessions begun."""
    steps = begun = number = 0
    sent: Counter[str] = Counter()
    got: Counter[str] = Counter()
    closes: Counter[str] = Counter()
    start = time.perf_counter()
    while steps < packets or begun < sessions:
        crowd = Crowd(seed + number, harm=harm[number % len(harm)])
        try:
            while crowd.steps < CROWD_STEPS and (steps + crowd.steps < packets or begun + crowd.sessions < sessions):
                crowd.step()
            crowd.finish()
        except Exception:
            traceback.print_exc()
            print(f"{title}: broken by crowd {seed + number} with harm {harm[number % len(harm)]}, step {crowd.steps}")
            return 1
        number += 1
        steps += crowd.steps
        begun += crowd.sessions
        for total, part in ((sent, crowd.sent), (got, crowd.got), (closes, crowd.closes)):
            total.update(part)
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{title}: {steps} packets, {begun} sessions, {steps / (time.perf_counter() - start):.0f}/s, "
            f"peak {megabytes:.0f} MiB",
            flush=True,
        )
    for what, counter in (("sent", sent), ("came back", got), ("ends", closes)):
        print(f"{title}, {what}: " + ", ".join(f"{name} {count}" for name, count in counter.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
