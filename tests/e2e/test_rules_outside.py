"""A running gateway whose rules ask Python functions, use a secret and refuse what does not fit; and its reload."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from e2e.rig import settings
from e2e.rig.clients import Collector, Publisher
from e2e.rig.gateway import GatewayProcess
from e2e.rig.waiting import free_port, wait_until

pytestmark = pytest.mark.slow

RULES = """
[[schema]]
name = "number"
topic = "in/#"
must.type = "number"

[[action]]
name = "ask"
on = { topic = "in/#" }
do = [
  { python = "work.run", with = { x = "v" }, into = "y" },
  { set = { key = "len(secret('key'))", home = "env('HOME') is None" } },
  { publish = { topic = "out", value = { y = "y", key = "key", home = "home" }, qos = 1 } },
]

[[action]]
name = "leak"
on = { topic = "leak" }
do = [{ set = { x = "float(secret('key'))" } }]

[[case]]
name = "the function runs in cases too"
given = [{ topic = "in/x", value = 2 }]
expect = [{ topic = "out", value = { y = 4, key = 10, home = true } }]
"""

FUNCTION = "def run(x):\n    while x == 13:\n        pass\n    return x * 2\n"

SECRET = "hunter2hunter2"


class Asker:
    """A version 5 client that hears the reason code of its PUBLISH."""

    def __init__(self, port: int) -> None:
        self.reasons: list[Any] = []
        self._client = Client(CallbackAPIVersion.VERSION2, "asker", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_publish = lambda client, data, mid, reason, props: self.reasons.append((reason.value, props))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes) -> Any:
        before = len(self.reasons)
        self._client.publish(topic, payload, 1)
        wait_until(lambda: len(self.reasons) > before, 5, "an answer")
        return self.reasons[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_functions_secrets_and_schemas_of_a_running_gateway(tmp_path: Path, closing: ExitStack) -> None:
    port = free_port()
    rules = '[rules]\nfunctions = true\nfunction_time = "300ms"\n[rules.secrets]\nkey = { file = "key.secret" }\n'

    gateway = GatewayProcess(tmp_path / "gateway", settings.listener(port) + rules)
    closing.callback(gateway.close)
    (gateway.folder / "key.secret").write_text(SECRET)
    (gateway.folder / "key.secret").chmod(0o600)
    (gateway.rules / "rules.toml").write_text(RULES)
    (gateway.rules / "functions").mkdir()
    (gateway.rules / "functions" / "work.py").write_text(FUNCTION)
    gateway.start()
    collector = Collector(port, "out")
    publisher = Publisher(port, "three")
    publisher.publish("in/x", b"21")
    collector.wait(lambda got: len(got) == 1, 5, "the answer of the function")
    assert collector.received[-1].payload == b'{"y":42,"key":14,"home":false}'

    publisher.publish("in/x", b"13")
    publisher.publish("in/x", b"5")
    collector.wait(lambda got: len(got) == 2, 5, "the next, though one before it hung")
    assert b'"y":10' in collector.received[-1].payload

    asker = Asker(port)
    reason, props = asker.publish("in/x", b'"text"')
    assert (reason, props.ReasonString) == (0x99, 'schema "number": must be number, not "text"')
    assert asker.publish("in/x", b"1")[0] == 0
    asker.publish("leak", b"")
    asker.close()

    status = gateway.status()
    by_name = {one["name"]: one for one in status["rules"]}
    assert "longer than 0.3 s" in by_name["ask"]["last_error"]
    assert status["functions"]["overruns"] == 1
    assert by_name["schema:number"]["errors"] == 1
    assert by_name["leak"]["errors"] == 1
    assert SECRET not in str(status)
    assert "hunter" not in str(status)

    (gateway.rules / "functions" / "work.py").write_text("def run(x):\n    return x * 2 if x == 2 else 0\n")
    gateway.signal(signal.SIGHUP)

    def is_new() -> bool:
        before = len(collector.received)
        publisher.publish("in/x", b"21")
        collector.wait(lambda got: len(got) > before, 5, "an answer")
        return b'"y":0' in collector.received[-1].payload

    wait_until(is_new, 5, "the changed function answers")
    assert "hunter" not in gateway.log_text()
    publisher.close()
    collector.close()
    gateway.stop()
