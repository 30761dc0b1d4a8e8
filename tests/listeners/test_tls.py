"""TLS listeners: versions, client certificates, revocation, reload, and handshakes that do not end."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from gateway.config.declare import File
from gateway.config.listener import MqttListener as Settings
from gateway.config.listener import Tls
from gateway.listeners.certificates import Certificates
from gateway.listeners.mqtt import MqttListener
from gateway.listeners.tls import BadCertificate, identity, server_context
from gateway.metrics import Metrics
from gateway.mqtt.packets import ConnAck, Connect, Filter, Publish, SubAck, Subscribe
from listeners.stage import Client, Stage, on_stage, trusting, write_pair, write_tls

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def listener(tls: Tls, **more: float) -> Settings:
    return Settings(bind="127.0.0.1:0", tls=tls, **more)  # type: ignore[arg-type]


async def is_let_in(it: Stage, context: ssl.SSLContext) -> bool:
    """TLS 1.3 clients learn only from what comes after their handshake whether their certificate is good."""
    try:
        client = await it.open(context)
        client.send(Connect("c", 5, True, 60))
        return isinstance(await client.next(), ConnAck)
    except (ConnectionError, ssl.SSLError):
        return False


def revocations(authority: trustme.CA, *leaves: trustme.LeafCert, until: datetime = NOW + DAY) -> bytes:
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(NOW - 2 * DAY)
    for leaf in leaves:
        number = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).serial_number
        revoked = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW - DAY).build()
        builder = builder.add_revoked_certificate(revoked)
    crl = builder.next_update(until).sign(key, hashes.SHA256())  # type: ignore[arg-type]
    return crl.public_bytes(serialization.Encoding.PEM)


def served_number(client: Client) -> str:
    certificate = client.writer.get_extra_info("peercert")
    return str(certificate["serialNumber"])


# Who is who


@pytest.mark.parametrize(("kind", "name"), [("cn", "pump-7"), ("san", "pump-7.plant.example")])
def test_a_client_certificate_gives_the_name(tmp_path: Path, authority: trustme.CA, kind: str, name: str) -> None:
    async def play(it: Stage) -> None:
        await it.client("c")
        assert it.server.sessions["c"].username == name

    leaf = authority.issue_cert("pump-7.plant.example", common_name="pump-7")
    on_stage(play, listener(write_tls(tmp_path, authority, identity=kind)), trusting(authority, leaf))


def test_a_certificate_without_the_name_is_none() -> None:
    assert identity({"subject": ((("organizationName", "x"),),)}, "cn") is None
    assert identity({"subjectAltName": (("IP Address", "10.0.0.1"), ("email", "a@b.example"))}, "san") == "a@b.example"
    assert identity({}, "san") is None
    assert identity(None, "cn") is None


@pytest.mark.parametrize(
    ("begin", "end", "is_good"),
    [(-2, 2, True), (-2, -1, False), (1, 2, False)],
    ids=["valid", "expired", "not yet valid"],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_is_good_between_its_dates(
    tls: Tls, authority: trustme.CA, version: ssl.TLSVersion, begin: int, end: int, is_good: bool
) -> None:
    async def play(it: Stage) -> None:
        assert await is_let_in(it, context) is is_good
        assert it.counts.get("handshakes_failed", 0) == (not is_good)

    leaf = authority.issue_cert("c", common_name="c", not_before=NOW + begin * DAY, not_after=NOW + end * DAY)
    context = trusting(authority, leaf)
    context.maximum_version = version
    on_stage(play, listener(tls))


def test_a_certificate_of_strangers_is_refused(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        assert not await is_let_in(it, trusting(authority, trustme.CA().issue_cert("c", common_name="c")))

    on_stage(play, listener(tls))


def test_required_means_required(tmp_path: Path, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        assert not await is_let_in(it, trusting(authority))
        assert await is_let_in(it, trusting(authority, authority.issue_cert("c", common_name="c")))

    on_stage(play, listener(write_tls(tmp_path, authority, client_auth="require")))


def test_tls_older_than_1_2_is_refused(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await it.open(old)
        await it.counted("handshakes_failed")
        new = trusting(authority)
        new.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await is_let_in(it, new)

    old = trusting(authority)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    on_stage(play, listener(tls))


def test_who_is_revoked_stays_out(tmp_path: Path, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        assert await is_let_in(it, trusting(authority, good))
        assert not await is_let_in(it, trusting(authority, bad))
        assert await is_let_in(it, trusting(authority)), "nothing shown, nothing revoked"

    good, bad = (authority.issue_cert(name, common_name=name) for name in ("good", "bad"))
    (tmp_path / "crl.pem").write_bytes(revocations(authority, bad))
    on_stage(play, listener(write_tls(tmp_path, authority, crl=File(str(tmp_path / "crl.pem")))))


def test_an_expired_list_lets_nobody_in(tmp_path: Path, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        assert not await is_let_in(it, trusting(authority, authority.issue_cert("good", common_name="good")))

    (tmp_path / "crl.pem").write_bytes(revocations(authority, until=NOW - DAY))
    on_stage(play, listener(write_tls(tmp_path, authority, crl=File(str(tmp_path / "crl.pem")))))


# Reload


def test_new_files_are_for_new_connections(tls: Tls, tmp_path: Path, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        old = await it.client("old")
        write_pair(tmp_path, authority)
        assert it.listener.reload()
        new = await it.client("new")
        assert served_number(old) != served_number(new)
        await old.ping()
        assert it.counts["certificate_reloads"] == 1

    on_stage(play, listener(tls), trusting(authority))


def test_files_that_change_are_found_at_the_next_handshake(tls: Tls, tmp_path: Path, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        certificates = it.listener._certificates
        assert certificates is not None
        first = certificates.context(100.0)
        assert certificates.context(101.0) is first
        (tmp_path / "key.pem").unlink()
        assert certificates.context(101.5) is first, "the files are not looked at for every handshake"
        assert certificates.context(102.5) is first, "half of the pair is there"
        assert certificates.context(104.0) is first
        assert it.counts["certificate_errors"] == 1, "said once"
        write_pair(tmp_path, authority)
        assert certificates.context(106.0) is not first
        await it.client("c")

    on_stage(play, listener(tls), trusting(authority))


def test_a_reload_revokes(tmp_path: Path, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        context = trusting(authority, leaf)
        assert await is_let_in(it, context)
        crl.write_bytes(revocations(authority, leaf))
        assert it.listener.reload()
        assert not await is_let_in(it, context)

    leaf = authority.issue_cert("c", common_name="c")
    crl = tmp_path / "crl.pem"
    crl.write_bytes(revocations(authority))
    on_stage(play, listener(write_tls(tmp_path, authority, crl=File(str(crl)))))


# Handshakes that do not end


def test_a_hundred_stalled_handshakes_delay_nobody(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        early = await it.client("early")
        for number in range(100):
            stalled = await it.plain()
            stalled.writer.write(b"\x16\x03\x01\x02\x00"[: number % 5 + 1])
        assert it.listener.status()["handshakes"] == 100
        late = await asyncio.wait_for(it.client("late"), 2)
        await asyncio.wait_for(late.ping(), 1)
        await asyncio.wait_for(early.ping(), 1)
        assert it.listener.status()["handshakes"] == 100

    on_stage(play, listener(tls), trusting(authority))


def test_the_oldest_handshake_makes_room(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        stalled = [await it.plain() for _ in range(5)]
        await it.client("c")
        await it.counted("handshakes_dropped", 2)
        assert [await client.is_over() for client in stalled[:2]] == [True, True]
        assert it.listener.status()["handshakes"] == 3

    on_stage(play, listener(tls, max_handshakes=4), trusting(authority))


def test_a_handshake_has_its_time(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        stalled = [await it.plain() for _ in range(3)]
        client = await it.client("c")
        assert [await one.is_over() for one in stalled] == [True, True, True]
        assert it.counts["handshake_timeouts"] == 3
        await client.ping()

    on_stage(play, listener(tls, handshake_timeout=0.2), trusting(authority))


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\0" * 600, b"\xff" * 600]
)
def test_what_is_no_tls_ends_at_once(tls: Tls, authority: trustme.CA, nonsense: bytes) -> None:
    async def play(it: Stage) -> None:
        good = await it.client("good")
        bad = await it.plain()
        bad.writer.write(nonsense)
        while await bad.read():
            pass  # an alert
        assert it.counts["handshakes_failed"] == 1
        await good.ping()

    on_stage(play, listener(tls), trusting(authority))


def test_a_refused_client_reads_why_and_sees_a_clean_end(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        await it.client("one")
        client = await it.open()
        assert (await client.connect("two")).reason == 0x97
        assert await client.next() is None

    on_stage(play, listener(tls), trusting(authority), max_sessions=1)


def test_large_messages_go_through(tls: Tls, authority: trustme.CA) -> None:
    async def play(it: Stage) -> None:
        client = await it.client("c")
        client.send(Subscribe(1, (Filter("t", 0),)))
        assert isinstance(await client.next(), SubAck)
        payload = os.urandom(300_000)
        client.send(Publish("t", payload, 0, False, False, 0))
        got = await client.next()
        assert isinstance(got, Publish)
        assert got.payload == payload

    on_stage(play, listener(tls), trusting(authority), max_output=1 << 20)


# Check


def test_bad_files_are_found_by_check(tls: Tls, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    assert [key for key, _ in MqttListener.check(listener(tls))] == ["tls.cert"]


def test_a_key_that_everybody_can_read_is_a_warning_at_every_start(
    tls: Tls, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Certificates("lan", tls, Metrics())
    assert caplog.records == []
    (tmp_path / "key.pem").chmod(0o644)
    assert list(MqttListener.check(listener(tls))) == []
    Certificates("lan", tls, Metrics())
    (record,) = caplog.records
    assert record.getMessage() == "private key is not private"
    assert vars(record)["reason"] == (
        f"everybody on this machine can read {tmp_path}/key.pem (mode 0644); run: chmod o-rwx {tmp_path}/key.pem"
    )


def test_a_list_that_is_none_is_found_by_check(tmp_path: Path, authority: trustme.CA) -> None:
    tls = write_tls(tmp_path, authority, crl=File(str(tmp_path / "ca.pem")))
    assert [key for key, _ in MqttListener.check(listener(tls))] == ["tls.crl"]


def test_a_key_with_a_passphrase_does_not_ask_for_it(tls: Tls, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    (tmp_path / "key.pem").write_bytes(locked)
    with pytest.raises(BadCertificate, match="no certificate with its key"):
        server_context(tls)
