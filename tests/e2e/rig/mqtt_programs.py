"""MQTT clients that are programs: those of mosquitto, and mqtt.js in one node that serves all tests of a run."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
from itertools import count
from typing import Any

from e2e.rig.mqtt_face import ANSWER_SECONDS, WEBSOCKET_PATH, Got, Target
from e2e.rig.programs import NODE_MODULES, PEERS, need, need_node
from e2e.rig.waiting import NotInTime


def _parse(line: str) -> Got | None:
    qos, _, rest = line.partition(" ")
    retain, space, payload = rest.partition(" ")
    if qos in ("0", "1", "2") and retain in ("0", "1") and space:
        return Got(int(qos), retain == "1", payload)
    return None


class _Answers:
    """Lines that say something or are messages, in the order they came."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._seen: list[str] = []
        self._early: list[Got] = []

    def put(self, line: str) -> None:
        self._lines.put(line)

    def wait(self, word: str) -> None:
        """Read up to the line that holds ``word``. A retained message may be shown before its SUBACK: it is kept."""
        while word not in (line := self._next()):
            if (got := _parse(line)) is not None:
                self._early.append(got)

    def get(self) -> Got:
        if self._early:
            return self._early.pop(0)
        while (got := _parse(self._next())) is None:
            pass
        return got

    def _next(self) -> str:
        try:
            line = self._lines.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise NotInTime(f"no line from {self._owner}; so far {self._seen}") from None
        self._seen.append(line)
        return line


class _Program:
    """A program that prints one line for each message, after one that holds ``ready``."""

    def __init__(self, command: list[str], ready: str) -> None:
        self._answers = _Answers(" ".join(command))
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.get = self._answers.get
        try:
            self._answers.wait(ready)
        except NotInTime:
            self.close(signal.SIGKILL)
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line.rstrip("\n"))

    def close(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class MosquittoTools:
    """mosquitto_sub, mosquitto_pub and mosquitto_rr."""

    def __init__(self, version: str) -> None:
        self._version = {"3.1.1": "mqttv311", "5": "mqttv5"}[version]

    def _command(self, program: str, target: Target) -> list[str]:
        command = [need(program), "-V", self._version, "-h", "127.0.0.1", "-p", str(target.port)]
        return command if target.ca is None else [*command, "--cafile", str(target.ca)]

    def subscribe(self, target: Target, topic: str, qos: int) -> _Program:
        # stdbuf: mosquitto_sub keeps its lines back when nobody looks at a terminal; -d: it says when it is subscribed.
        command = [need("stdbuf"), "-oL", *self._command("mosquitto_sub", target)]
        return _Program([*command, "-d", "-t", topic, "-q", str(qos), "-F", "%q %r %p"], "Subscribed")

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        command = [*self._command("mosquitto_pub", target), "-t", topic, "-m", payload, "-q", str(qos)]
        _run([*command, "-r"] if retain else command)

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        command = [need("stdbuf"), "-oL", *self._command("mosquitto_sub", target), "-d", "-t", "nothing"]
        will = ["--will-topic", topic, "--will-payload", payload, "--will-qos", str(qos)]
        _Program([*command, *will], "Subscribed").close(signal.SIGKILL)

    def request(self, target: Target, topic: str, answer_topic: str, payload: str, qos: int, mark: str) -> str:
        """Send a request and return the answer; in version 5 followed by its correlation data, which is ``mark``."""
        command = [*self._command("mosquitto_rr", target), "-t", topic, "-e", answer_topic, "-m", payload]
        command += ["-q", str(qos), "-W", str(int(ANSWER_SECONDS)), "-F", "%p"]
        if self._version == "mqttv5":
            command[-1] = "%p %D"
            command += ["-D", "publish", "correlation-data", mark]
        return _run(command).rstrip("\n")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SECONDS * 2)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Node:
    """One node that plays any number of mqtt.js clients; see ``tests/peers/mqtt_client.js``. Starts when first used."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._numbers = count()
        self._answers: dict[str, _Answers] = {}

    def order(self, **order: Any) -> tuple[str, _Answers]:
        """Give one order: its number, and where its answers come."""
        if self._process is None:
            command = [need_node("mqtt"), str(PEERS / "mqtt_client.js")]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"NODE_PATH": str(NODE_MODULES)}
            )
            self._thread = threading.Thread(target=self._read, args=(self._process,), daemon=True)
            self._thread.start()
        number = str(next(self._numbers))
        answers = self._answers[number] = _Answers(f"mqtt.js {order}")
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, **order}) + "\n")
        self._process.stdin.flush()
        return number, answers

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            number, _, text = line.rstrip("\n").partition(" ")
            self._answers[number].put(text)

    def close(self) -> None:
        """End it, and with it all clients that are left."""
        if self._process is None or self._thread is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_SECONDS)
        self._thread.join()
        self._process.stdout.close()
        self._process = None


class _NodeSubscription:
    def __init__(self, node: Node, number: str, answers: _Answers) -> None:
        self._node = node
        self._number = number
        self.get = answers.get

    def close(self) -> None:
        self._node.order(act="close", of=self._number)[1].wait("closed")


class MqttJs:
    """mqtt.js."""

    def __init__(self, version: str, node: Node) -> None:
        self._version = {"3.1.1": 4, "5": 5}[version]
        self._node = node

    def _order(self, target: Target, **order: Any) -> tuple[str, _Answers]:
        scheme = ("ws" if target.is_websocket else "mqtt") + ("s" if target.ca is not None else "")
        path = WEBSOCKET_PATH if target.is_websocket else ""
        if target.ca is not None:
            order["ca"] = str(target.ca)
        return self._node.order(url=f"{scheme}://127.0.0.1:{target.port}{path}", version=self._version, **order)

    def subscribe(self, target: Target, topic: str, qos: int) -> _NodeSubscription:
        number, answers = self._order(target, act="subscribe", topic=topic, qos=qos)
        answers.wait("subscribed")
        return _NodeSubscription(self._node, number, answers)

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        order = self._order(target, act="publish", topic=topic, payload=payload, qos=qos, retain=retain)
        order[1].wait("published")

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        self._order(target, act="die", topic=topic, payload=payload, qos=qos)[1].wait("dead")
