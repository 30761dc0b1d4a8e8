"""Our certificate, and whose certificates are accepted; the commands for both."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from gateway.__main__ import main
from gateway.errors import GatewayError
from gateway.opcua import identity, trust

NOW = 1_800_000_000.0
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def stranger() -> tuple[bytes, bytes]:
    return identity.make("plc", NOW, "urn:plc")


def signed(days: int) -> tuple[bytes, bytes]:
    """(authority, certificate that it has signed and that ends so many days after NOW)."""
    keys = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "plc")]
    begin = datetime.datetime.fromtimestamp(NOW - 86_400, datetime.UTC)
    ends = (begin + datetime.timedelta(days=3650), begin + datetime.timedelta(days=1 + days))
    found = []
    for name, key, end, is_authority in zip(names, keys, ends, (True, False), strict=True):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(keys[0], hashes.SHA256())
        )
        found.append(certificate.public_bytes(serialization.Encoding.DER))
    return found[0], found[1]


def test_it_is_made_once_carries_its_uri_and_is_private(tmp_path: Path) -> None:
    first = identity.own(tmp_path, "board-7", NOW)
    assert first == identity.own(tmp_path, "renamed", NOW + 1e6)
    assert first.uri == "urn:board-7:edge-gateway"
    certificate = x509.load_der_x509_certificate(first.certificate)
    assert identity.application_uri(certificate) == first.uri
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.content_commitment and usage.key_encipherment and usage.data_encipherment
    assert os.stat(tmp_path / "opcua" / "own" / "key.pem").st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "opcua" / "own").st_mode & 0o777 == 0o700


def test_a_clock_that_was_never_set_makes_one_that_will_be_valid() -> None:
    certificate = x509.load_der_x509_certificate(identity.make("x", 0.0)[0])
    assert certificate.not_valid_before_utc.year == 2023 and certificate.not_valid_after_utc.year > 2040


def test_names_that_no_certificate_can_hold() -> None:
    certificate = x509.load_der_x509_certificate(identity.make("bö ard\n" + "x" * 100, NOW)[0])
    assert identity.application_uri(certificate).startswith("urn:bardxxx")


def test_files_that_are_no_pair(tmp_path: Path, stranger: tuple[bytes, bytes]) -> None:
    certificate, key = tmp_path / "c", tmp_path / "k"
    certificate.write_bytes(stranger[0])
    key.write_bytes(stranger[1])
    assert identity.read(certificate, key).uri == "urn:plc"
    key.write_bytes(b"nonsense")
    with pytest.raises(GatewayError, match="holds no private key"):
        identity.read(certificate, key)
    key.write_bytes(identity.make("other", NOW)[1])
    with pytest.raises(GatewayError, match="is not the key of"):
        identity.read(certificate, key)
    certificate.write_bytes(b"nonsense")
    with pytest.raises(GatewayError, match="holds no certificate"):
        identity.read(certificate, key)
    with pytest.raises(GatewayError, match="cannot read"):
        identity.read(tmp_path / "none", key)


def test_a_stranger_is_put_aside_and_can_be_trusted_and_refused_again(
    tmp_path: Path, stranger: tuple[bytes, bytes]
) -> None:
    trusting = trust.TrustList(tmp_path)
    refusal = trusting.refusal(stranger[0], NOW)
    assert refusal is not None and "gateway opcua trust" in refusal
    (entry,) = trusting.entries()
    assert (entry.uri, entry.is_trusted, entry.thumbprint[:16] in refusal) == ("urn:plc", False, True)
    trusting.trust(entry.thumbprint[:8].upper())
    assert trusting.refusal(stranger[0], NOW) is None
    assert trusting.refusal(stranger[0] + stranger[0], 9e9) is None  # with a chain, long after its end
    trusting.reject(entry.thumbprint)
    assert trusting.refusal(stranger[0], NOW) is not None


def test_a_file_with_the_right_name_is_not_enough(tmp_path: Path, stranger: tuple[bytes, bytes]) -> None:
    """SHA-1 names a certificate; what is trusted is its bytes."""
    trusting = trust.TrustList(tmp_path)
    entry = trusting.add(stranger[0], "file")
    entry.path.write_bytes(identity.make("other", NOW)[0])
    assert trusting.refusal(stranger[0], NOW) is not None


def test_who_is_signed_by_a_trusted_authority_is_trusted_in_its_time(tmp_path: Path) -> None:
    authority, certificate = signed(10)
    trusting = trust.TrustList(tmp_path)
    assert trusting.refusal(certificate, NOW) is not None
    trusting.add(authority, "file")
    assert trusting.refusal(certificate, NOW) is None
    late = trusting.refusal(certificate, NOW + 20 * 86_400)
    assert late is not None and "renew it" in late


def test_the_same_name_is_not_the_same_authority(tmp_path: Path) -> None:
    trusting = trust.TrustList(tmp_path)
    trusting.add(signed(10)[0], "file")
    assert trusting.refusal(signed(10)[1], NOW) is not None


def test_one_who_is_no_authority_signs_for_nobody(tmp_path: Path, stranger: tuple[bytes, bytes]) -> None:
    trusting = trust.TrustList(tmp_path)
    entry = trusting.add(stranger[0], "file")
    assert not entry.is_authority


def test_only_so_many_are_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "MOST_REJECTED", 2)
    trusting = trust.TrustList(tmp_path)
    for name in ("a", "b", "c"):
        trusting.refusal(identity.make(name, NOW)[0], NOW)
    assert len(trusting.entries()) == 2


@pytest.mark.parametrize("data", [b"", b"x", b"0\x82\xff\xff", b"0" * (trust.LARGEST + 1)])
def test_nonsense_is_refused(tmp_path: Path, data: bytes) -> None:
    assert trust.TrustList(tmp_path).refusal(data, NOW)


def test_a_beginning_that_names_none_or_too_little(tmp_path: Path) -> None:
    trusting = trust.TrustList(tmp_path)
    with pytest.raises(GatewayError, match="at least 6"):
        trusting.trust("ab")
    with pytest.raises(GatewayError, match="no rejected certificate"):
        trusting.trust("abcdef0")


def test_the_commands(tmp_path: Path, capsys: Capture, stranger: tuple[bytes, bytes]) -> None:
    state = ["--state", str(tmp_path)]
    assert main(["opcua", "list", *state]) == 0
    assert "none" in capsys.readouterr().err
    assert main(["opcua", "own", "--json", "--export", str(tmp_path / "own.der"), *state]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert x509.load_der_x509_certificate((tmp_path / "own.der").read_bytes())
    assert shown["uri"].endswith(":edge-gateway")
    trust.TrustList(tmp_path).refusal(stranger[0], NOW)
    assert main(["opcua", "list", "--json", *state]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["trusted"] is False
    assert main(["opcua", "trust", entry["thumbprint"][:10], *state]) == 0
    assert main(["opcua", "list", *state]) == 0
    assert capsys.readouterr().out.startswith("trusted")
    assert main(["opcua", "reject", entry["thumbprint"], *state]) == 0
    (tmp_path / "plc.der").write_bytes(stranger[0])
    assert main(["opcua", "trust", str(tmp_path / "plc.der"), *state]) == 0
    assert [one.is_trusted for one in trust.TrustList(tmp_path).entries()] == [True]
    assert main(["opcua", "trust", "ffffffff", *state]) == 1
