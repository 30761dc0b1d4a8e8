"""The gateway against mosquitto: CPU for a message, throughput, latency and memory, in turn in one run.

Each cell runs on every broker one after the other, round by round, so that whatever else the machine does hits all
alike; the median of the rounds counts. Ratios are against the cheaper of mosquitto's two settings of that cell. A
lost, doubled or disordered message fails a cell whatever it costs. Only ratios of one run mean anything.

    make bench                              about four minutes, with the others
    PYTHONPATH=tests python -m benchmarks.broker --full
    PYTHONPATH=tests python -m benchmarks.broker --amqtt
    PYTHONPATH=tests python -m benchmarks.broker --only "at a time" --tree before=../before --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks import byte_code
from benchmarks.footprint import resident_mb
from benchmarks.subjects import AMQTT, COMPILED, ROOT, AmqttSubject, GatewaySubject, MosquittoSubject, Subject
from benchmarks.targets import GROUPS, MEMORY, PLAIN, Cell, Group

SOURCES: Final = ROOT / "benchmarks" / "load"
LOAD: Final = ROOT / "build" / "load"
RUN_LIMIT: Final = 120.0
"""Seconds after which a load is given up; each bounds itself long before."""

PROCESSORS: Final = os.sched_getaffinity(0)
FILLS: Final = 30
"""Seconds of load that fill the small outbox, at most."""

SAVED: Final = "saved each second"
"""mosquitto that keeps what a client that is away is to have, in the durable cells only. It is no reference: its
answers do not wait for what it writes."""

Result = dict[str, Any]


class Plan(NamedTuple):
    """How much is measured: seconds of a run, rounds, whether all cells, whether amqtt too, and whether the brokers
    have a processor of their own."""

    seconds: float
    rounds: int
    full: bool
    amqtt: bool = False
    pinned: bool = False


def build_load() -> None:
    """Compile the load generator when its source is newer."""
    sources = sorted(SOURCES.glob("*.[ch]"))
    if LOAD.exists() and LOAD.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    LOAD.parent.mkdir(exist_ok=True)
    files = [str(source) for source in sources if source.suffix == ".c"]
    subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(LOAD), *files], check=True)


def load(subject: Subject, options: str, seconds: float) -> Result:
    """One run of the load generator; ``{"failed": why}`` when there is nothing to report."""
    command = [str(LOAD), *options.split(), "--port", str(subject.port), "--pid", str(subject.pid)]
    command += ["--seconds", f"{seconds:g}"]
    if "--rate" not in options and "--count" not in options and not options.startswith(("storm", "idle", "filters")):
        command += ["--count", "20000000"]
    before = subject.written()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT)
    except subprocess.TimeoutExpired:
        return {"failed": f"no end after {RUN_LIMIT:g} s"}
    if not done.stdout:
        return {"failed": done.stderr.strip().removeprefix("load: ")}
    result: Result = json.loads(done.stdout)
    after = subject.written()
    if before is not None and after is not None and result.get("published"):
        result["written_each"] = (after - before) / result["published"]
    return result


def faults(result: Result) -> str:
    """What went wrong with the messages of a run, in words; empty when nothing did."""
    if "failed" in result:
        return str(result["failed"])
    kinds = ("lost", "duplicated", "disordered", "wrong", "unanswered")
    return ", ".join(f"{result[kind]} {kind}" for kind in kinds if result.get(kind))


def median(results: list[Result]) -> Result:
    """The round in the middle by CPU for a message; its faults are those of every round."""
    bad = [result for result in results if faults(result)]
    if bad:
        return bad[0]
    return sorted(results, key=lambda result: float(result["cpu_us"]))[len(results) // 2]


@contextlib.contextmanager
def running(subjects: list[Subject]) -> Iterator[list[Subject]]:
    """Start them all, and end them whatever happens."""
    with contextlib.ExitStack() as stack:
        for subject in subjects:
            stack.callback(subject.stop)
            subject.start()
        yield subjects


def pin(subjects: list[Subject]) -> None:
    """The brokers on one processor, the load on another, as on two machines. The kernel tends to run who is sent to
    where the sender runs: then the load's work stands between two of the broker's, and both share caches."""
    os.sched_setaffinity(0, {min(PROCESSORS)})
    for subject in subjects:
        for task in Path(f"/proc/{subject.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {max(PROCESSORS)})


def fill(gateway: GatewaySubject, cell: Cell) -> None:
    """Publish until the outbox drops what is oldest. Raises RuntimeError when it does not."""
    for _ in range(FILLS):
        load(gateway, cell.options, 1.0)
        if gateway.dropped():
            return
    raise RuntimeError(f"the outbox of {gateway.name} is not full after {FILLS} seconds of load")


def mosquittos(folder: Path) -> list[Subject]:
    return [
        MosquittoSubject("mosquitto", folder / "mosquitto", nodelay=False),
        MosquittoSubject("mosquitto nodelay", folder / "mosquitto-nodelay", nodelay=True),
    ]


def measure_cell(cell: Cell, subjects: list[Subject], plan: Plan) -> dict[str, Result]:
    """Every subject in turn, round by round; the median round of each."""
    seconds = plan.seconds * cell.longer
    if "--rate" in cell.options:
        count = float(cell.options.rpartition("--rate ")[2]) * seconds
        options = f"{cell.options} --count {max(100, int(count))}"
    else:
        options = cell.options
    rounds: dict[str, list[Result]] = {subject.name: [] for subject in subjects}
    for _ in range(plan.rounds):
        for subject in subjects:
            if isinstance(subject, AmqttSubject) and "--version 5" in options:
                rounds[subject.name].append({"failed": "speaks no MQTT 5"})
                continue
            rounds[subject.name].append(load(subject, options, seconds + 1 if "--rate" in options else seconds))
    return {name: median(results) for name, results in rounds.items()}


def measure_group(group: Group, trees: dict[str, Path], folder: Path, plan: Plan) -> list[Result]:
    """A row for each cell of the group."""
    folder = folder / group.title.replace(" ", "-").replace(",", "").replace(":", "")
    gateways = [
        GatewaySubject(name, folder / name, tree, group.durable, group.full, group.gather)
        for name, tree in trees.items()
    ]
    others: list[Subject] = []
    if group.durable:
        others.append(MosquittoSubject(SAVED, folder / "saved", nodelay=False, saved=1))
    if plan.amqtt:
        others.append(AmqttSubject("amqtt", folder / "amqtt"))
    rows: list[Result] = []
    with running([*mosquittos(folder), *gateways, *others]) as subjects:
        if plan.pinned:
            pin(subjects)
        for subject in subjects:
            load(subject, "pairs --qos 1 --count 20000", 0.3)  # warm: caches, specialised code
        if group.full:
            for gateway in gateways:
                fill(gateway, group.cells[0])
        for cell in group.cells:
            if plan.full or cell.quick:
                results = measure_cell(cell, subjects, plan)
                rows.append(judged(group, cell, results, list(trees)))
                print_row(rows[-1])
    return rows


def judged(group: Group, cell: Cell, results: dict[str, Result], gateways: list[str]) -> Result:
    """The row of a cell: every result, and for each gateway its ratios to the cheaper mosquitto."""
    sound = [r for name, r in results.items() if name.startswith("mosquitto") and "cpu_us" in r]
    row: Result = {"cell": cell.name, "must": group.must, "aim": group.aim, "results": results, "ratios": {}}
    if not sound:
        return row
    row["cheaper"] = cheaper = min(sound, key=lambda result: float(result["cpu_us"]))
    fastest = max(float(r["delivered_per_second"]) for r in sound)
    for name in gateways:
        own = results[name]
        if "cpu_us" not in own:
            row["ratios"][name] = {"faults": faults(own), "verdict": "FAILS"}
            continue
        cpu = own["cpu_us"] / cheaper["cpu_us"]
        row["ratios"][name] = {
            "cpu": cpu,
            "throughput": own["delivered_per_second"] / fastest,
            "faults": faults(own),
            "verdict": verdict(
                cpu, group, faults(own), own["delivered_per_second"] / fastest, own["latency_us"]["p50"]
            ),
        }
    plain, amqtt = results.get("plain", {}), results.get("amqtt", {})
    if "cpu_us" in plain and "cpu_us" in amqtt:
        row["of_amqtt"] = plain["cpu_us"] / amqtt["cpu_us"]
    return row


def verdict(cpu: float, group: Group, wrong: str, throughput: float, p50: float) -> str:
    """In a word, and how far it is when it is not there."""
    if wrong:
        return "FAILS"
    if cpu > group.must:
        return f"misses must by {cpu / group.must:.2f}x"
    if group.durable and throughput < 1:
        return f"misses must: throughput {throughput:.2f}x"
    if group.latency is not None and p50 > 1000 * group.latency:
        return f"misses must: p50 {p50 / 1000:.2f} ms, not {group.latency:g}"
    return "aim" if cpu <= group.aim else f"must; aim {cpu / group.aim:.2f}x away"


def print_row(row: Result) -> None:
    cheaper = row.get("cheaper")
    reference = f"{cheaper['cpu_us']:7.2f} us {latencies(cheaper)}" if cheaper else "mosquitto failed"
    print(f"{row['cell']:32} mosquitto {reference}", flush=True)
    for name, ratio in row["ratios"].items():
        own = row["results"][name]
        if "cpu" not in ratio:
            print(f"    {name:28} {ratio['verdict']}: {ratio['faults']}")
            continue
        print(
            f"    {name:28} {own['cpu_us']:7.2f} us {latencies(own)}  CPU {ratio['cpu']:5.2f}x"
            f"  throughput {ratio['throughput']:6.2f}x  {ratio['verdict']}"
            + (f" ({ratio['faults']})" if ratio["faults"] else "")
            + (f"  written {own['written_each']:.0f} B a message" if SAVED in row["results"] else ""),
            flush=True,
        )
    for name, own in row["results"].items():
        if name in row["ratios"] or not (faults(own) or name in (SAVED, "amqtt")):
            continue
        text = faults(own)
        if "cpu_us" in own:
            text = f"{own['cpu_us']:7.2f} us {latencies(own)}  {own['delivered_per_second']:.0f} messages/s  {text}"
        if name == SAVED and "written_each" in own:
            text += f"  written {own['written_each']:.0f} B a message"
        print(f"    {name:28} {text}")
    if "of_amqtt" in row:
        ratio = row["of_amqtt"]
        print(f"    plain is {ratio:.2f}x amqtt, must <= {PLAIN:g}x: {'kept' if ratio <= PLAIN else 'MISSED'}")


def latencies(result: Result) -> str:
    return f"p50 {result['latency_us']['p50'] / 1000:6.2f} p99 {result['latency_us']['p99'] / 1000:7.2f} ms"


def measure_memory(trees: dict[str, Path], folder: Path, full: bool) -> Result:
    """What a fresh process holds, and what connections and subscriptions add to it."""
    connections, filters = (4000, 40_000) if full else (1000, 10_000)
    found: Result = {}
    for make in range(1 + len(trees)):
        name = list(trees)[make - 1] if make else "mosquitto"
        place = folder / f"memory-{make}"
        with running([one_subject(name, trees, place / "idle")]) as (subject,):
            idle, ready = resident_mb(subject.pid), subject.seconds_to_ready
            # Once before, so that what is allocated at the first connection is not counted for each.
            load(subject, "idle --count 100", 5)
            each = load(subject, f"idle --count {connections}", 5)
            storm = load(subject, f"storm --count {5000 if full else 2000}", 5)
        with running([one_subject(name, trees, place / "filters")]) as (subject,):
            load(subject, "filters --count 1000", 5)
            filter_bytes = load(subject, f"filters --count {filters}", 5)
        found[name] = {
            "idle daemon": idle,
            "idle connection": each.get("bytes_each", float("nan")) / 1024,
            "plain subscription": filter_bytes.get("bytes_each", float("nan")),
            "start to READY": ready,
            "connections a second": storm.get("connections_per_second", float("nan")),
        }
    return found


def one_subject(name: str, trees: dict[str, Path], folder: Path) -> Subject:
    return GatewaySubject(name, folder, trees[name]) if name in trees else MosquittoSubject(name, folder, False)


def print_memory(found: Result) -> None:
    for what, unit, most in MEMORY:
        values = "  ".join(f"{name} {values[what]:8.2f}" for name, values in found.items())
        kept = all(values[what] <= most for name, values in found.items() if name != "mosquitto")
        print(f"{what:20} {unit:4} {values}   must <= {most:g}: {'kept' if kept else 'MISSED'}")
    print("connections a second      " + "  ".join(f"{n} {v['connections a second']:8.0f}" for n, v in found.items()))


def main() -> int:
    """0 when every ``must`` was kept by the compiled gateway (the plain one where there is no other), else 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all cells, longer, three rounds (about 15 minutes)")
    parser.add_argument("--seconds", type=float, help="of each run (0.5; full: 2)")
    parser.add_argument("--rounds", type=int, help="of each cell (1; full: 3)")
    parser.add_argument("--only", default="", help="groups whose title holds this text; 'memory' for that alone")
    parser.add_argument("--tree", action="append", default=[], metavar="NAME=DIR", help="another gateway to run too")
    parser.add_argument("--amqtt", action="store_true", help="beside amqtt too, from build/amqtt or PATH")
    parser.add_argument("--pin", action="store_true", help="the brokers on one processor, the load on another")
    parser.add_argument("--json", action="store_true", help="print everything as JSON at the end")
    options = parser.parse_args()
    if MosquittoSubject.program() is None:
        print("mosquitto is not installed: nothing to compare with", file=sys.stderr)
        return 2
    build_load()
    full: bool = options.full
    with_amqtt: bool = options.amqtt and AmqttSubject.program() is not None
    if options.amqtt and not with_amqtt:
        print(
            f"without amqtt, which is not installed: python -m venv {AMQTT.relative_to(ROOT)} && "
            f"{AMQTT.relative_to(ROOT)}/bin/pip install amqtt",
            file=sys.stderr,
        )
    plan = Plan(
        options.seconds or (2.0 if full else 0.5), options.rounds or (3 if full else 1), full, with_amqtt, options.pin
    )
    trees = {"plain": ROOT} | ({"compiled": COMPILED} if COMPILED.exists() else {})
    trees |= {name: Path(path).resolve() for name, _, path in (tree.partition("=") for tree in options.tree)}
    byte_code.keep(*trees.values())
    rows: list[Result] = []
    memory: Result = {}
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as folder:
        for group in GROUPS:
            if options.only in group.title:
                print(f"\n{group.title}: must <= {group.must:g}x, aim <= {group.aim:g}x")
                rows += measure_group(group, trees, Path(folder), plan)
        if options.only in "memory":
            print("\nmemory and start")
            memory = measure_memory(trees, Path(folder), full)
            print_memory(memory)
    if options.json:
        print(json.dumps({"plan": plan._asdict(), "rows": rows, "memory": memory}))
    return summary(rows, "compiled" if "compiled" in trees else "plain")


def summary(rows: list[Result], judge: str) -> int:
    ratios = [row["ratios"].get(judge, {"verdict": "FAILS"}) for row in rows]
    kept = sum(ratio["verdict"].startswith(("aim", "must;")) for ratio in ratios)
    aims = sum(ratio["verdict"] == "aim" for ratio in ratios)
    print(f"\n{judge}: {kept} of {len(rows)} cells keep their must, {aims} their aim")
    cpu = [ratio["cpu"] for ratio in ratios if "cpu" in ratio]
    if cpu:
        print(f"geometric mean of CPU ratios: {statistics.geometric_mean(cpu):.3f}")
    beside = [row["of_amqtt"] for row in rows if "of_amqtt" in row]
    if beside:
        print(f"plain beside amqtt: {min(beside):.2f} to {max(beside):.2f}x, must <= {PLAIN:g}x")
    return 0 if kept == len(rows) and all(ratio <= PLAIN for ratio in beside) else 1


if __name__ == "__main__":
    sys.exit(main())
