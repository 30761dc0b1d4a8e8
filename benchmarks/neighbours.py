"""What well-behaved clients feel of a neighbour that is a nuisance, beside mosquitto in the same run.

Twenty pairs exchange messages of QoS 1 at a fixed rate (latency counts from when a message was due), and a further
client sends PINGREQ every 5 ms: before, during and after each trouble of ``troubles.py``. Others *keep their latency*
when no message is lost and the p99 during it, of messages and of pings alike, is at most twice that before and
10 ms on top. Only the comparison of one run means anything.

    PYTHONPATH=tests python -m benchmarks.neighbours [--full] [--only TEXT] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import trustme

from benchmarks.broker import build_load, faults, load
from benchmarks.subjects import COMPILED, ROOT, GatewaySubject, MosquittoSubject, Subject
from benchmarks.troubles import TROUBLES
from e2e.rig.waiting import free_port
from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect, PingReq

PAIRS: Final = 20
RATE: Final = 200
"""Messages a second of each pair."""

PING_EVERY: Final = 0.005
READY_SECONDS: Final = 120.0
MANY: Final = "a message to 5000 receivers"
PHASES: Final = ("before", "during", "after")

Result = dict[str, Any]


def limit(before: float) -> float:
    """Most milliseconds of p99 during a trouble, by what it was before."""
    return 2 * before + 10


class Pings(threading.Thread):
    """One client that pings; its latencies in milliseconds."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.took: list[float] = []
        self._over = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(encode(Connect("neighbour", 4, True, 0), 4))
        self._socket.recv(4)

    def run(self) -> None:
        packet = encode(PingReq(), 4)
        due = time.monotonic()
        while not self._over.is_set():
            self._socket.sendall(packet)
            self._socket.recv(2)
            # From when it was due: one that is late makes those after it late.
            self.took.append((time.monotonic() - due) * 1000)
            due += PING_EVERY
            time.sleep(max(0.0, due - time.monotonic()))

    def end(self) -> dict[str, float]:
        self._over.set()
        self.join()
        self._socket.close()
        took = sorted(self.took)
        return {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100], "max": took[-1]}


class Trouble:
    """One kind of nuisance in a process of its own, ready to begin."""

    def __init__(self, name: str, subject: Subject, tls_port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.troubles", name, str(subject.port), str(tls_port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", f"{name} could not begin"

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def end(self) -> None:
        """With what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def watch(subject: Subject, seconds: float, trouble: Trouble | None = None) -> Result:
    """One phase: latencies of messages and of pings."""
    pings = Pings(subject.port)
    if trouble is not None:
        trouble.begin()
    pings.start()
    rate = PAIRS * RATE
    options = f"pairs --qos 1 --clients {PAIRS} --patience 30 --count {int(rate * seconds)} --rate {rate}"
    messages = load(subject, options, seconds + 1)
    found: Result = {"pings": pings.end(), "faults": faults(messages)}
    if "latency_us" in messages:
        found["messages"] = {name: messages["latency_us"][name] / 1000 for name in ("p50", "p99", "max")}
    return found


def measure(name: str, subject: Subject, tls_port: int, seconds: float) -> Result:
    """The three phases of one trouble at one broker."""
    trouble = Trouble(name, subject, tls_port)
    try:
        phases = {"before": watch(subject, seconds), "during": watch(subject, seconds, trouble)}
        if not trouble.lives:
            phases["during"]["faults"] += " the trouble ended by itself"
    finally:
        trouble.end()
    time.sleep(0.5)
    phases["after"] = watch(subject, seconds)
    return {"phases": phases, "verdict": verdict(phases)}


def verdict(phases: dict[str, Result]) -> str:
    """``kept``, or what was not."""
    for phase in PHASES:
        if phases[phase]["faults"]:
            return f"{phase}: {phases[phase]['faults']}"
    for what in ("messages", "pings"):
        before, during = (phases[phase][what]["p99"] for phase in ("before", "during"))
        if during > limit(before):
            return f"{what} wait: p99 {during:.0f} ms, not {limit(before):.0f}"
    return "kept"


@contextlib.contextmanager
def subjects(folder: Path) -> Iterator[dict[str, tuple[Subject, int]]]:
    """mosquitto and the gateway with either fan-out, each with a TLS listener: by name, with its TLS port."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    tree = COMPILED if COMPILED.exists() else ROOT
    found: dict[str, tuple[Subject, int]] = {}
    with contextlib.ExitStack() as stack:
        for name in ("mosquitto", "gateway", "gateway, async"):
            tls_port = free_port()
            place = folder / name.replace(", ", "-")
            subject: Subject
            if name == "mosquitto":
                subject = MosquittoSubject(name, place, nodelay=True)
                # Started by root it would become a user who may not read the key.
                text = f"user {getpass.getuser()}\nlistener {tls_port} 127.0.0.1\ncertfile {cert}\nkeyfile {key}\n"
                _append(place / "mosquitto.conf", text)
            else:
                subject = GatewaySubject(name, place, tree)
                _append(
                    place / "gateway.toml",
                    f'\n[listener.tls]\nkind = "mqtt"\nbind = "127.0.0.1:{tls_port}"\n'
                    f'tls = {{ cert = "{cert}", key = "{key}" }}\n',
                )
                if name.endswith("async"):
                    config = place / "gateway.toml"
                    config.write_text(config.read_text().replace("[mqtt]\n", '[mqtt]\nfan_out = "async"\n'))
            stack.callback(subject.stop)
            subject.start()
            found[name] = subject, tls_port
        yield found


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def table(rows: dict[str, dict[str, Result]]) -> Iterator[str]:
    """Markdown: p50 / p99 / max in milliseconds."""
    yield "| trouble | broker | messages before | during | after | pings before | during | after | others |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name, row in rows.items():
        for broker, result in row.items():
            cells = [name, broker]
            for what in ("messages", "pings"):
                for phase in PHASES:
                    one = result["phases"][phase].get(what)
                    cells.append(f"{one['p50']:.1f} / {one['p99']:.1f} / {one['max']:.0f}" if one else "-")
            yield "| " + " | ".join([*cells, result["verdict"]]) + " |"


def main() -> int:
    """0 when the gateway's clients kept their latency in every trouble (the last with ``fan_out = "async"``)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="longer phases (6 s, not 1)")
    parser.add_argument("--only", default="", help="troubles whose name holds this text")
    parser.add_argument("--json", action="store_true", help="print everything as JSON at the end")
    options = parser.parse_args()
    if MosquittoSubject.program() is None:
        print("mosquitto is not installed: nothing to compare with", file=sys.stderr)
        return 2
    build_load()
    rows: dict[str, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory(prefix="gateway-neighbours-") as folder, subjects(Path(folder)) as found:
        for name in TROUBLES:
            if options.only not in name:
                continue
            rows[name] = {}
            for broker, (subject, tls_port) in found.items():
                if broker.endswith("async") and name != MANY:
                    continue
                print(f"{name}: {broker} ...", file=sys.stderr, flush=True)
                rows[name][broker] = measure(name, subject, tls_port, 6.0 if options.full else 1.0)
    print("\n".join(table(rows)))
    if options.json:
        print(json.dumps(rows))
    kept = {
        name: row["gateway, async" if name == MANY else "gateway"]["verdict"] == "kept" for name, row in rows.items()
    }
    print(f"\nothers keep their latency in {sum(kept.values())} of {len(kept)} troubles")
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
