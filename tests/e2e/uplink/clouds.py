"""Clouds of the cut rig: brokers of other people that keep what they have acknowledged over kill -9."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from e2e.rig.programs import Program, need
from e2e.rig.waiting import free_port
from peers.mosquitto import Mosquitto


class Cloud(Protocol):
    """A broker on 127.0.0.1:``port``. ``start`` returns when it listens, and is called again after ``kill``."""

    @property
    def port(self) -> int: ...
    def start(self) -> None: ...
    def kill(self) -> None: ...


class Kind(NamedTuple):
    """``make`` takes a folder, in memory if it is to be fast; skips the test where the program is not installed."""

    make: Callable[[Path], Cloud]
    version: Literal["5", "3.1.1"]


def _mosquitto(folder: Path) -> Cloud:
    """Its state is written after every change, so that kill -9 loses nothing once it has had a moment."""
    lines = ("allow_anonymous true", "max_queued_messages 0", "max_inflight_messages 1000", "set_tcp_nodelay true")
    return Mosquitto(folder, lines)


def _nats(folder: Path) -> Cloud:
    """The MQTT listener of nats-server; messages lie in JetStream files before they are acknowledged."""
    program, port, config = need("nats-server"), free_port(), folder / "nats.conf"
    config.write_text(
        f"server_name: cloud\nlisten: 127.0.0.1:{free_port()}\n"
        f'jetstream {{ store_dir: "{folder / "jetstream"}" }}\n'
        f"mqtt {{ listen: 127.0.0.1:{port}, max_ack_pending: 1000 }}\n"
    )
    return Program("nats-server", [program, "-c", str(config)], folder / "nats.log", port)


KINDS: Final = {"mosquitto": Kind(_mosquitto, "5"), "nats": Kind(_nats, "3.1.1")}
