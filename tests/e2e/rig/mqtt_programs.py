"""One face for the MQTT clients of other people, so that each scenario runs over all of them.

A client here can subscribe, publish, and be a program that dies with a will set.
"""

from __future__ import annotations

import json
import queue
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from e2e.rig.programs import NODE_MODULES, PEERS, need, need_node
from e2e.rig.waiting import NotInTime

ANSWER_SECONDS = 10.0
PAHO_VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


class Got(NamedTuple):
    """A message as the client showed it."""

    qos: int
    retain: bool
    payload: str


class Target(NamedTuple):
    """Where the broker listens; ``ca`` makes it TLS."""

    port: int
    ca: Path | None = None


class Subscription(Protocol):
    """A live subscription in some client."""

    def get(self) -> Got:
        """The next message. Raises NotInTime."""

    def close(self) -> None:
        """End the client."""


class Client(Protocol):
    """One client program in one protocol version."""

    def subscribe(self, target: Target, topic: str, qos: int) -> Subscription: ...

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None: ...

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        """Connect with a will, then end without DISCONNECT."""


class _Lines:
    """A program that prints one line for each message, after one that holds ``ready``."""

    def __init__(self, command: list[str], ready: str, environment: dict[str, str] | None = None) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        self._seen: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self._early: list[Got] = []
        while ready not in (line := self._next()):
            # A retained message may come with the SUBACK and be shown before it.
            if (got := _parse(line)) is not None:
                self._early.append(got)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))

    def _next(self) -> str:
        try:
            line = self._lines.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            command = " ".join(map(str, self._process.args if isinstance(self._process.args, list) else []))
            raise NotInTime(f"no line from {command}; so far {self._seen}") from None
        self._seen.append(line)
        return line

    def get(self) -> Got:
        if self._early:
            return self._early.pop(0)
        while (got := _parse(self._next())) is None:
            pass
        return got

    def close(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _parse(line: str) -> Got | None:
    qos, _, rest = line.partition(" ")
    retain, space, payload = rest.partition(" ")
    if qos in ("0", "1", "2") and retain in ("0", "1") and space:
        return Got(int(qos), retain == "1", payload)
    return None


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS * 2, env=environment)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"


class MosquittoTools:
    """mosquitto_sub and mosquitto_pub."""

    def __init__(self, version: str) -> None:
        self._version = {"3.1.1": "mqttv311", "5": "mqttv5"}[version]

    def _command(self, program: str, target: Target) -> list[str]:
        command = [need(program), "-V", self._version, "-h", "127.0.0.1", "-p", str(target.port)]
        return command if target.ca is None else [*command, "--cafile", str(target.ca)]

    def subscribe(self, target: Target, topic: str, qos: int) -> _Lines:
        # stdbuf: mosquitto_sub keeps its lines back when nobody looks at a terminal; -d: it says when it is subscribed.
        command = [need("stdbuf"), "-oL", *self._command("mosquitto_sub", target)]
        return _Lines([*command, "-d", "-t", topic, "-q", str(qos), "-F", "%q %r %p"], "Subscribed")

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        command = [*self._command("mosquitto_pub", target), "-t", topic, "-m", payload, "-q", str(qos)]
        _run([*command, "-r"] if retain else command)

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        command = [need("stdbuf"), "-oL", *self._command("mosquitto_sub", target), "-d", "-t", "nothing"]
        will = ["--will-topic", topic, "--will-payload", payload, "--will-qos", str(qos)]
        _Lines([*command, *will], "Subscribed").close(signal.SIGKILL)


class MqttJs:
    """mqtt.js in node; see ``tests/peers/mqtt_client.js``."""

    def __init__(self, version: str) -> None:
        self._version = {"3.1.1": 4, "5": 5}[version]

    def _command(self, target: Target, act: str, topic: str, **more: Any) -> list[str]:
        scheme = "mqtt" if target.ca is None else "mqtts"
        order = {
            "url": f"{scheme}://127.0.0.1:{target.port}",
            "version": self._version,
            "act": act,
            "topic": topic,
            **more,
        }
        if target.ca is not None:
            order["ca"] = str(target.ca)
        return [need_node("mqtt"), str(PEERS / "mqtt_client.js"), json.dumps(order)]

    @property
    def _environment(self) -> dict[str, str]:
        return {"NODE_PATH": str(NODE_MODULES)}

    def subscribe(self, target: Target, topic: str, qos: int) -> _Lines:
        return _Lines(self._command(target, "subscribe", topic, qos=qos), "subscribed", self._environment)

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        _run(self._command(target, "publish", topic, payload=payload, qos=qos, retain=retain), self._environment)

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        command = self._command(target, "will", topic, payload=payload, qos=qos)
        _Lines(command, "connected", self._environment).close(signal.SIGKILL)


class Paho:
    """paho-mqtt."""

    def __init__(self, version: str) -> None:
        self._version = PAHO_VERSIONS[version]

    def _client(self, target: Target, before: Any = None) -> tuple[paho.Client, threading.Event]:
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=self._version, reconnect_on_failure=False)
        if target.ca is not None:
            client.tls_set_context(ssl.create_default_context(cafile=str(target.ca)))
        if before is not None:
            before(client)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.connect("127.0.0.1", target.port)
        client.loop_start()
        if not connected.wait(ANSWER_SECONDS):
            raise NotInTime(f"paho: no CONNACK from port {target.port}")
        return client, connected

    def subscribe(self, target: Target, topic: str, qos: int) -> _PahoSubscription:
        return _PahoSubscription(self._client(target)[0], topic, qos)

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        client, _ = self._client(target)
        client.publish(topic, payload, qos, retain).wait_for_publish(ANSWER_SECONDS)
        client.disconnect()
        client.loop_stop()

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        client, _ = self._client(target, lambda new: new.will_set(topic, payload, qos))
        wire = client.socket()
        assert isinstance(wire, socket.socket)
        wire.shutdown(socket.SHUT_RDWR)
        client.loop_stop()


class _PahoSubscription:
    def __init__(self, client: paho.Client, topic: str, qos: int) -> None:
        self._client = client
        self._messages: queue.SimpleQueue[Got] = queue.SimpleQueue()
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _d, m: self._messages.put(Got(m.qos, m.retain, m.payload.decode()))
        client.subscribe(topic, qos)
        if not subscribed.wait(ANSWER_SECONDS):
            raise NotInTime("paho: no SUBACK")

    def get(self) -> Got:
        try:
            return self._messages.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise NotInTime("paho: no message") from None

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


FAMILIES: dict[str, Callable[[str], Client]] = {"mosquitto": MosquittoTools, "paho": Paho, "mqttjs": MqttJs}
NAMES = [f"{family}-{version}" for family in FAMILIES for version in ("3.1.1", "5")]


def client(name: str) -> Client:
    """The client called, for example, ``paho-5``."""
    family, _, version = name.partition("-")
    return FAMILIES[family](version)
