"""The way to the broker step by step: what each step says when it works and when it does not."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.__main__ import main
from gateway.config.declare import File, Secret
from gateway.mqtt.packets import ConnAck, Connect, Disconnect, Publish
from gateway.uplinks.mqtt.config import MqttUplink, Receive
from gateway.uplinks.mqtt.probe import Step, probe
from peers.mosquitto import Certificates, Mosquitto
from uplinks.bench import Cloud, play, until
from uplinks.test_hosts import nobody_there

RECEIVE_MAXIMUM, MAXIMUM_PACKET = 0x21, 0x27


async def walk(cloud: Cloud | None, publish: str | None = None, **settings: Any) -> list[Step]:
    given = {"connect_timeout": 2.0, **({} if cloud is None else {"url": f"mqtt://127.0.0.1:{cloud.port}"}), **settings}
    return [step async for step in probe(MqttUplink(**given), "gw-site-7-test", lambda: 1e9, publish)]


def said(steps: list[Step]) -> list[tuple[str, bool]]:
    return [(step.step, step.ok) for step in steps]


def test_all_is_well() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = ConnAck(False, 0, ((RECEIVE_MAXIMUM, 20), (MAXIMUM_PACKET, 268_435)))
            receive = (Receive(filter="site-7/cmd/#"),)
            steps = await walk(cloud, "site-7/test", username="me", password=Secret("word"), receive=receive)
            assert said(steps) == [(name, True) for name in ("dns", "tcp", "connect", "subscribe", "publish")]
            texts = [step.text for step in steps]
            assert texts[0] == "127.0.0.1 is 127.0.0.1"
            assert texts[2] == "welcome as 'gw-site-7-test', MQTT 5; receive maximum 20, largest packet 268435 bytes"
            assert texts[3:] == ["site-7/cmd/# with QoS 1", "site-7/test was acknowledged"]
            (connect,) = cloud.of(Connect)
            assert (connect.client_id, connect.clean, connect.username, connect.password, dict(connect.props)) == (
                "gw-site-7-test", True, "me", b"word", {},
            )  # fmt: skip
            await until(lambda: cloud.of(Disconnect))

    play(main())


def test_nothing_is_published_unless_asked() -> None:
    async def main() -> None:
        async with Cloud(4) as cloud:
            assert said(await walk(cloud, version="3.1.1")) == [("dns", True), ("tcp", True), ("connect", True)]
            assert cloud.of(Publish) == []

    play(main())


@pytest.mark.parametrize(
    ("connack", "words"),
    [
        (ConnAck(False, 0x86), "check username and password"),
        (ConnAck(False, 0x87), "if the broker ties the login to one, use --client-id"),
        (None, "sent no CONNACK within 0.3 s; is it an MQTT broker?"),
    ],
)
def test_no_welcome(connack: ConnAck | None, words: str) -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = connack
            steps = await walk(cloud, connect_timeout=0.3)
            assert said(steps) == [("dns", True), ("tcp", True), ("connect", False)]
            assert words in steps[-1].text

    play(main())


def test_a_filter_that_is_refused_does_not_hide_the_next() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.suback = lambda packet: (0x87 if packet.filters[0].pattern == "no" else 1,)
            cloud.on_publish = lambda packet: 0x10 if packet.topic == "yes" else 0x87
            receive = (Receive(filter="no"), Receive(filter="yes"))
            steps = await walk(cloud, "no", receive=receive)
            assert said(steps)[3:] == [("subscribe", False), ("subscribe", True), ("publish", False)]
            assert "may not read there" in steps[3].text
            assert "may not write there" in steps[5].text
            assert "nobody subscribes to it" in (await walk(cloud, "yes"))[-1].text

    play(main())


def test_each_host_has_its_steps() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            urls = (f"mqtt://127.0.0.1:{nobody_there()}", f"mqtt://127.0.0.1:{cloud.port}")
            steps = await walk(None, url=urls)
            assert said(steps) == [("dns", True), ("tcp", False), ("dns", True), ("tcp", True), ("connect", True)]
            assert "nothing listens there; check the port" in steps[1].text

    play(main())


def test_a_name_without_an_address() -> None:
    steps = play(walk(None, url="mqtt://nowhere.invalid"))
    assert said(steps) == [("dns", False)]
    assert "check url, and that this machine can resolve names" in steps[0].text


def test_a_port_without_tls() -> None:
    async def main() -> None:
        async with Cloud() as cloud:
            cloud.connack = None
            steps = await walk(None, url=f"mqtts://127.0.0.1:{cloud.port}", connect_timeout=0.5)
            assert said(steps) == [("dns", True), ("tcp", True), ("tls", False)]

    play(main())


def test_what_speaks_no_mqtt() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            steps = await walk(None, url=f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            assert said(steps)[-1] == ("connect", False)
            assert "sent what is not MQTT" in steps[-1].text
            await asyncio.sleep(0.01)

    play(main())


def settings(folder: Path, port: int) -> str:
    file = folder / "gateway.toml"
    file.write_text(f'[uplink.cloud]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{port}"\nconnect_timeout = "1s"\n')
    return str(file)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        file = settings(tmp_path, sock.getsockname()[1])
        assert main(["uplink", "test", "cloud", "--config", file]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert "  dns        ok      127.0.0.1 is" in lines[0]
        assert "  tcp        FAILED  no connection to" in lines[1]
        assert main(["uplink", "test", "cloud", "--config", file, "--json"]) == 1
        assert [step["ok"] for step in json.loads(capsys.readouterr().out)] == [True, False]
        assert main(["uplink", "test", "moon", "--config", file]) == 1
        assert "there is no uplink 'moon' in the settings; there are: cloud" in capsys.readouterr().err
        assert main(["uplink", "test", "cloud", "--publish", "a/#", "--config", file]) == 2
        assert "--publish must be a topic name" in capsys.readouterr().err


def tls(certificates: Certificates, **changes: Any) -> dict[str, Any]:
    files = {"ca": certificates.ca, "cert": certificates.cert, "key": certificates.key, **changes}
    return {name: File(str(path)) for name, path in files.items() if path is not None}


@pytest.mark.slow
def test_certificates(tmp_path: Path) -> None:
    """Against mosquitto: name, date, chain and our own certificate."""

    async def main() -> None:
        certificates = Certificates(tmp_path)
        other, stranger = tmp_path / "other.pem", trustme.CA()
        stranger.cert_pem.write_to_path(other)
        with Mosquitto(tmp_path, listener=certificates.listener(require=True)) as broker:
            url = f"mqtts://localhost:{broker.port}"
            steps = await walk(None, url=url, **tls(certificates))
            assert said(steps) == [("dns", True), ("tcp", True), ("tls", True), ("connect", True)]
            assert "certificate for localhost, 127.0.0.1, signed by" in steps[2].text
            cases = [
                (tls(certificates, ca=other), "tls", "set ca"),
                (tls(certificates, cert=None, key=None), "connect", "client certificate"),
                (tls(certificates) | {"url": url.replace("localhost", "127.0.0.2")}, "tls", "another address"),
            ]
            for given, step, words in cases:
                steps = await walk(None, **({"url": url} | given))
                if steps[-1].step == "tcp":
                    continue  # the broker listens on one address only
                assert said(steps)[-1] == (step, False)
                assert words in steps[-1].text
        authority = trustme.CA()
        authority.cert_pem.write_to_path(certificates.ca)
        old = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        old.private_key_pem.write_to_path(certificates.server_key)
        old.cert_chain_pems[0].write_to_path(certificates.server_cert)
        with Mosquitto(tmp_path, listener=certificates.listener()) as broker:
            steps = await walk(None, url=f"mqtts://localhost:{broker.port}", **tls(certificates, cert=None, key=None))
            assert said(steps)[-1] == ("tls", False)
            assert "it has expired; check its date and the clock of this machine" in steps[-1].text

    play(main())
