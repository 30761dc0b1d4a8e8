"""A host application for tests: an MQTT client nobody here wrote, payloads read by Google's protobuf.

``check`` holds all that came against the rules of Eclipse Sparkplug 3.0.0; each rule names its id in the TCK.
"""

from __future__ import annotations

import json
import threading
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from sparkplug.proto import command, parse, properties_of, value_of


class Event(NamedTuple):
    """One message on a Sparkplug topic."""

    kind: str
    device: str | None
    payload: Any
    qos: int
    retain: bool

    @property
    def metrics(self) -> dict[str, Any]:
        """Values by name (or alias)."""
        found = {}
        for metric in self.payload.metrics:
            value = value_of(metric)
            found[metric.name or metric.alias] = None if value is None else value[1]
        return found


class Host:
    """Sees every message of a group from its construction on."""

    def __init__(self, port: int, group: str = "G", node: str = "gw1") -> None:
        self.events: list[Event] = []
        self._group = group
        self._node = node
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(f"spBv1.0/{group}/#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _take(self, client: Any, data: Any, message: Any) -> None:
        _, _, kind, _, *rest = message.topic.split("/")
        if kind not in ("NCMD", "DCMD"):
            payload = parse(message.payload)
            self.events.append(Event(kind, rest[0] if rest else None, payload, message.qos, message.retain))

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if event.kind in kinds]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def rebirth(self) -> None:
        payload = command("Node Control/Rebirth", True, "boolean_value")
        self._client.publish(f"spBv1.0/{self._group}/NCMD/{self._node}", payload, 0).wait_for_publish(5)

    def write(self, device: str, payload: bytes, retain: bool = False) -> None:
        topic = f"spBv1.0/{self._group}/DCMD/{self._node}/{device}"
        self._client.publish(topic, payload, 0, retain).wait_for_publish(5)

    def state(self, host: str, online: bool, timestamp: int) -> None:
        payload = json.dumps({"online": online, "timestamp": timestamp})
        self._client.publish(f"spBv1.0/STATE/{host}", payload, 1, True).wait_for_publish(5)


def check(events: list[Event]) -> None:
    """Every message in the order that a host needs, and made as the standard says."""
    seq: int | None = None
    bdseq: int | None = None
    born: dict[str | None, set[Any]] = {}
    newest: dict[tuple[str | None, Any], int] = {}
    for event in events:
        payload, kind = event.payload, event.kind
        assert not event.retain, "payloads-*-retain"
        assert payload.HasField("timestamp"), "payloads-*-timestamp"
        if kind == "NDEATH":
            assert not payload.HasField("seq"), "payloads-ndeath-seq"
            assert [metric.name for metric in payload.metrics] == ["bdSeq"], "topics-ndeath-payload"
            if seq is not None:
                assert event.metrics["bdSeq"] == bdseq, "payloads-ndeath-bdseq"
            seq, born = None, {}
            continue
        assert event.qos == 0, "payloads-*-qos"
        times = [metric.timestamp for metric in payload.metrics if not metric.is_historical]
        assert times == sorted(times), "operational-behavior-data-publish-*-order"
        assert 0 <= payload.seq <= 255
        if kind == "NBIRTH":
            assert payload.seq == 0, "topics-nbirth-seq-num"
            again = event.metrics["bdSeq"]
            assert seq is None or again == bdseq, "operational-behavior-data-commands-rebirth-action-3"
            bdseq, seq, born = again, 0, {None: set()}
            by_name = {metric.name: metric for metric in payload.metrics}
            assert by_name["bdSeq"].datatype == 4, "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq"
            rebirth = by_name["Node Control/Rebirth"]
            assert (rebirth.datatype, rebirth.boolean_value) == (11, False), "payloads-nbirth-rebirth-req"
            assert not rebirth.HasField("alias"), "operational-behavior-data-commands-rebirth-name-aliases"
            assert all(metric.HasField("timestamp") for metric in payload.metrics)
            continue
        assert seq is not None, f"{kind} before NBIRTH"
        assert payload.seq == (seq + 1) % 256, "payloads-sequence-num-incrementing"
        seq = payload.seq
        if kind == "DBIRTH":
            aliases = [metric.alias for metric in payload.metrics if metric.HasField("alias")]
            assert len(aliases) in (0, len(payload.metrics)) and len(set(aliases)) == len(aliases)
            assert all(m.name and m.HasField("timestamp") and m.datatype for m in payload.metrics)
            born[event.device] = {metric.alias or metric.name for metric in payload.metrics}
            others = {one for name, known in born.items() if name != event.device for one in known}
            assert not others & set(aliases), "payloads-alias-uniqueness"
            for metric in payload.metrics:
                newest[event.device, metric.alias or metric.name] = metric.timestamp
                assert properties_of(metric)["Quality"] in (0, 192, 500)
        elif kind == "DDEATH":
            assert event.device in born, "DDEATH of a device that was not born"
            del born[event.device]
        elif kind == "DDATA":
            assert event.device in born, "payloads-ddata-order"
            assert payload.metrics
            for metric in payload.metrics:
                key = metric.alias or metric.name
                assert key in born[event.device], "a metric that no birth has told"
                assert not (metric.HasField("alias") and metric.HasField("name"))
                assert not metric.HasField("datatype"), "payloads-metric-datatype-not-req"
                assert metric.HasField("timestamp"), "payloads-name-birth-data-requirement"
                if not metric.is_historical:
                    assert metric.timestamp >= newest[event.device, key], "operational-behavior-data-publish-*-order"
                    newest[event.device, key] = metric.timestamp
        else:
            raise AssertionError(f"unexpected {kind}")
