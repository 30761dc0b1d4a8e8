"""Our own application certificate: made at first use, kept in the state folder, the same for every connection.

An OPC-UA application is known by its URI, and the certificate must carry that very URI (Part 6, 6.2.2): many servers
refuse a client where the two differ, and say only BadCertificateUriInvalid. So the URI is read from the certificate
wherever it is needed, and never made up a second time: renaming the machine changes nothing.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.clock import EARLIEST
from gateway.durable import write_whole
from gateway.errors import GatewayError

FOLDER: Final = "opcua"
"""Below the state folder."""

CERTIFICATE: Final = "own/certificate.der"
KEY: Final = "own/key.pem"

KEY_BITS: Final = 2048
"""What every policy from Basic256Sha256 on takes (2048 to 4096 bits); a larger one takes a small board seconds."""

LIFETIME: Final = datetime.timedelta(days=20 * 365)
"""A self-signed certificate is trusted by hand; one that ends while the plant runs stops it for nothing."""

LONGEST_HOST: Final = 63


class Identity(NamedTuple):
    """Who we are.

    uri          application URI, as the certificate has it
    certificate  DER
    key          PEM (PKCS #8), without a passphrase
    """

    uri: str
    certificate: bytes
    key: bytes


def own(state: Path, host: str, time: float) -> Identity:
    """The identity that lies in the state folder; made when there is none.

    ``host`` names this machine, ``time`` is the wall clock. Takes up to seconds on a small board when it makes a key:
    call it in a thread. Raises GatewayError when the folder or its files cannot be used.
    """
    folder = state / FOLDER
    try:
        if not (folder / CERTIFICATE).exists():
            _write(folder, *make(host, time))
        return read(folder / CERTIFICATE, folder / KEY)
    except OSError as error:
        raise GatewayError(f"cannot use {folder}: {error.strerror}") from None


def read(certificate: Path, key: Path) -> Identity:
    """An identity from two files, each PEM or DER. Raises GatewayError that says what is wrong with them."""
    found, private = read_pair(certificate, key)
    uri = application_uri(found)
    if not uri:
        raise GatewayError(f"{certificate} has no application URI (a URI among its subject alternative names)")
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Identity(uri, found.public_bytes(serialization.Encoding.DER), pem)


def read_pair(certificate: Path, key: Path) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """A certificate and its RSA key from two files, each PEM or DER. Raises GatewayError that says what is wrong."""
    try:
        found = load_certificate(certificate.read_bytes(), str(certificate))
        data = key.read_bytes()
    except OSError as error:
        raise GatewayError(f"cannot read {error.filename}: {error.strerror}") from None
    try:
        loader = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
        private = loader(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise GatewayError(f"{key} holds no private key without a passphrase") from None
    if not isinstance(private, rsa.RSAPrivateKey):
        raise GatewayError(f"{key} is no RSA key; the policies that we speak need one")
    if private.public_key() != found.public_key():
        raise GatewayError(f"{key} is not the key of {certificate}")
    return found, private


def load_certificate(data: bytes, where: str) -> x509.Certificate:
    """The certificate in PEM or DER data; of a chain, its first. Raises GatewayError that names ``where``."""
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(first_of_chain(data))
    except ValueError:
        raise GatewayError(f"{where} holds no certificate") from None


def first_of_chain(data: bytes) -> bytes:
    """The leading certificate of DER data that may go on with its chain (Part 6, 6.2.6). Raises ValueError."""
    if len(data) < 4 or data[0] != 0x30:
        raise ValueError("no DER sequence")
    if data[1] < 0x80:
        return data[: data[1] + 2]
    size = data[1] & 0x7F
    return data[: int.from_bytes(data[2 : 2 + size], "big") + 2 + size]


def application_uri(certificate: x509.Certificate) -> str:
    """The application URI that a certificate carries; empty when it carries none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if uris else ""


def make(host: str, time: float, uri: str = "") -> tuple[bytes, bytes]:
    """A new self-signed certificate (DER) and its key (PEM) for the application on ``host`` (Part 6, 6.2.2).

    A wall clock that was never set would make a certificate that is valid for nobody: it then begins in 2024.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    label = "".join(c for c in host if c.isascii() and (c.isalnum() or c in "-."))[:LONGEST_HOST] or "localhost"
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "edge-gateway"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, label)]
    )
    begin = datetime.datetime.fromtimestamp(max(time, EARLIEST), datetime.UTC) - datetime.timedelta(days=1)
    alternatives = [x509.UniformResourceIdentifier(uri or f"urn:{label}:edge-gateway"), x509.DNSName(label)]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.DER), pem


def _write(folder: Path, certificate: bytes, key: bytes) -> None:
    """The key first and under its final name last: a certificate that is there has its key."""
    (folder / "own").mkdir(parents=True, exist_ok=True, mode=0o700)
    for path, data, mode in ((folder / KEY, key, 0o600), (folder / CERTIFICATE, certificate, 0o644)):
        write_whole(path, data, mode)
