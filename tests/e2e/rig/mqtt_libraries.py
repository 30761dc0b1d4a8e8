"""MQTT clients that are Python libraries, in the test's own process: paho-mqtt, aiomqtt, gmqtt."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import uuid4

import aiomqtt
import gmqtt
import paho.mqtt.client as paho
from gmqtt.storage import PersistentStorage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from e2e.rig.mqtt_face import ANSWER_SECONDS, WEBSOCKET_PATH, Inbox, Target
from e2e.rig.waiting import NotInTime

T = TypeVar("T")


def _context(target: Target) -> ssl.SSLContext | None:
    return None if target.ca is None else ssl.create_default_context(cafile=str(target.ca))


class Paho:
    """paho-mqtt; ``client`` may be used for what has no method here, and must then be closed."""

    def __init__(self, version: str) -> None:
        self._version = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}[version]

    def client(self, target: Target, will: tuple[str, str, int] | None = None) -> paho.Client:
        """A client that is connected. Raises NotInTime."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            protocol=self._version,
            reconnect_on_failure=False,
            transport="websockets" if target.is_websocket else "tcp",
        )
        if target.is_websocket:
            client.ws_set_options(path=WEBSOCKET_PATH)
        if (context := _context(target)) is not None:
            client.tls_set_context(context)
        if will is not None:
            client.will_set(*will)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.connect("127.0.0.1", target.port)
        client.loop_start()
        if not connected.wait(ANSWER_SECONDS):
            close(client)
            raise NotInTime(f"paho: no CONNACK from port {target.port}")
        return client

    def subscribe(self, target: Target, topic: str, qos: int) -> _PahoSubscription:
        return _PahoSubscription(self.client(target), topic, qos)

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        client = self.client(target)
        client.publish(topic, payload, qos, retain).wait_for_publish(ANSWER_SECONDS)
        close(client)

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        client = self.client(target, (topic, payload, qos))
        _break(client)
        client.loop_stop()


def close(client: paho.Client) -> None:
    """DISCONNECT, and end its thread."""
    client.disconnect()
    client.loop_stop()


def _break(client: paho.Client) -> None:
    wire = client.socket()
    assert isinstance(wire, socket.socket)
    wire.shutdown(socket.SHUT_RDWR)


class _PahoSubscription:
    def __init__(self, client: paho.Client, topic: str, qos: int) -> None:
        self._client = client
        inbox = Inbox("paho")
        self.get = inbox.get
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _c, _d, m: inbox.put(m.qos, m.retain, bytes(m.payload))
        client.subscribe(topic, qos)
        if not subscribed.wait(ANSWER_SECONDS):
            self.close()
            raise NotInTime("paho: no SUBACK")

    def close(self) -> None:
        close(self._client)


class Loop:
    """An event loop in a thread of its own, for the clients that need one. Starts when first used."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``. Raises NotInTime."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
            self._thread.start()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(ANSWER_SECONDS)
        except TimeoutError:
            future.cancel()
            raise NotInTime(f"not within {ANSWER_SECONDS:g} s: {work}") from None

    def close(self) -> None:
        """End the thread."""
        if self._loop is None or self._thread is None:
            return
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = None


class Aiomqtt:
    """aiomqtt."""

    def __init__(self, version: str, loop: Loop) -> None:
        self._version = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}[version]
        self._loop = loop

    def _client(self, target: Target, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            target.port,
            protocol=self._version,
            tls_context=_context(target),
            transport="websockets" if target.is_websocket else "tcp",
            websocket_path=WEBSOCKET_PATH if target.is_websocket else None,
            will=will,
        )

    def subscribe(self, target: Target, topic: str, qos: int) -> _AiomqttSubscription:
        async def begin() -> _AiomqttSubscription:
            client = self._client(target)
            await client.__aenter__()
            await client.subscribe(topic, qos)
            return _AiomqttSubscription(self._loop, client)

        return self._loop.run(begin())

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        async def play() -> None:
            async with self._client(target) as client:
                await client.publish(topic, payload, qos, retain)

        self._loop.run(play())

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        async def play() -> None:
            with contextlib.suppress(aiomqtt.MqttError):
                async with self._client(target, aiomqtt.Will(topic, payload, qos)) as client:
                    _break(client._client)
                    await client._disconnected

        self._loop.run(play())


class _AiomqttSubscription:
    def __init__(self, loop: Loop, client: aiomqtt.Client) -> None:
        self._loop = loop
        self._client = client
        self._inbox = Inbox("aiomqtt")
        self.get = self._inbox.get
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            self._inbox.put(message.qos, message.retain, message.payload)

    def close(self) -> None:
        self._loop.run(self._end())

    async def _end(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._client.__aexit__(None, None, None)


class Gmqtt:
    """gmqtt. It speaks no WebSocket."""

    def __init__(self, version: str, loop: Loop) -> None:
        self._version = {"3.1.1": 4, "5": 5}[version]
        self._loop = loop

    async def _connect(self, client: Any, target: Target) -> Any:
        client.set_config({"reconnect_retries": 0})
        await client.connect("127.0.0.1", target.port, ssl=_context(target) or False, version=self._version)
        return client

    def subscribe(self, target: Target, topic: str, qos: int) -> _GmqttSubscription:
        async def begin() -> _GmqttSubscription:
            inbox = Inbox("gmqtt")
            client = gmqtt.Client(uuid4().hex)
            subscribed = asyncio.Event()
            client.on_subscribe = lambda *_: subscribed.set()

            def take(_client: Any, _topic: str, payload: bytes, qos: int, properties: dict[str, Any]) -> int:
                inbox.put(qos, bool(properties["retain"]), payload)
                return 0

            client.on_message = take
            await self._connect(client, target)
            client.subscribe(topic, qos)
            await subscribed.wait()
            return _GmqttSubscription(self._loop, client, inbox)

        return self._loop.run(begin())

    def publish(self, target: Target, topic: str, payload: str, qos: int, retain: bool = False) -> None:
        async def play() -> None:
            unanswered = PersistentStorage()
            client = await self._connect(gmqtt.Client(uuid4().hex, persistent_storage=unanswered), target)
            client.publish(topic, payload, qos=qos, retain=retain)
            await unanswered.wait_empty()
            await client.disconnect()

        self._loop.run(play())

    def die_with_will(self, target: Target, topic: str, payload: str, qos: int) -> None:
        async def play() -> None:
            will = gmqtt.Message(topic, payload, qos=qos)
            client = await self._connect(gmqtt.Client(uuid4().hex, will_message=will), target)
            client.stop_reconnect()
            await client._connection.close()

        self._loop.run(play())


class _GmqttSubscription:
    def __init__(self, loop: Loop, client: Any, inbox: Inbox) -> None:
        self._loop = loop
        self._client = client
        self.get = inbox.get

    def close(self) -> None:
        self._loop.run(self._client.disconnect())
