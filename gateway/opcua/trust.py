"""Whose certificates we accept: two folders of DER files in the state folder, and who may be moved between them.

``trusted/`` holds certificates of applications and of those who sign them. ``rejected/`` holds what was shown to us
and was not trusted, for ``gateway opcua trust`` to take up: nobody types a certificate. A certificate that lies in
``trusted/`` itself is accepted by that, also when it has expired or names another host: somebody looked at it and
said so, and many devices never get a second one. One that is signed by a trusted authority must be in its time.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization

from gateway.errors import GatewayError
from gateway.opcua.identity import FOLDER, application_uri, load_certificate

TRUSTED: Final = "trusted"
REJECTED: Final = "rejected"

MOST_REJECTED: Final = 20
"""Certificates put aside; a stranger may show us as many as he likes. The oldest go."""

LARGEST: Final = 64 * 1024
"""Bytes of a certificate or chain that is looked at."""

SHORTEST_PREFIX: Final = 6
"""Characters of a thumbprint that name a certificate to a person."""


class Entry(NamedTuple):
    """One certificate in one of the folders."""

    thumbprint: str
    subject: str
    uri: str
    ends: datetime.datetime
    is_authority: bool
    is_trusted: bool
    path: Path

    def __str__(self) -> str:
        return f'"{self.subject}" {self.thumbprint[:16]}'


class TrustList:
    """The list below one state folder. Reads the files at every question: a command that changes them needs tell
    nobody. Raises GatewayError when the folders cannot be used."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def refusal(self, data: bytes, time: float) -> str | None:
        """Why the certificate (DER, perhaps with its chain) is not accepted at this wall clock time; None when it is.
        One that is not trusted is put aside."""
        if len(data) > LARGEST:
            return f"its certificate has {len(data)} bytes; {LARGEST} are looked at"
        try:
            certificate = load_certificate(data, "what it shows")
        except GatewayError as error:
            return str(error)
        print_ = thumbprint(certificate)
        if self._holds(certificate, print_):
            return None
        authority = self._authority_of(certificate)
        if authority is None:
            self._put_aside(certificate, print_)
            return (
                f'its certificate "{subject(certificate)}" is not trusted. If {print_} is what the other side shows '
                f"as its own, run: gateway opcua trust {print_[:16]}"
            )
        now = datetime.datetime.fromtimestamp(time, datetime.UTC)
        for one in (certificate, authority):
            if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
                return (
                    f'the certificate "{subject(one)}" is valid from {one.not_valid_before_utc:%Y-%m-%d} to '
                    f"{one.not_valid_after_utc:%Y-%m-%d}, and it is {now:%Y-%m-%d}; renew it, or set the clock"
                )
        return None

    def entries(self) -> list[Entry]:
        """Everything in the folders, trusted first."""
        return [*self._in(TRUSTED), *self._in(REJECTED)]

    def trust(self, name: str) -> Entry:
        """Trust a certificate that was put aside, by the beginning of its thumbprint. Raises GatewayError."""
        entry = self._find(name, REJECTED)
        self._move(entry.path, self._make(TRUSTED) / entry.path.name)
        return entry._replace(is_trusted=True)

    def reject(self, name: str) -> Entry:
        """Trust a certificate no more; it is put aside. Connections that stand are not ended. Raises GatewayError."""
        entry = self._find(name, TRUSTED)
        self._move(entry.path, self._make(REJECTED) / entry.path.name)
        return entry._replace(is_trusted=False)

    def add(self, data: bytes, where: str) -> Entry:
        """Trust the certificate in a file's data (PEM or DER). Raises GatewayError."""
        certificate = load_certificate(data, where)
        path = self._make(TRUSTED) / f"{thumbprint(certificate)}.der"
        self._write(path, certificate)
        (self._folder / REJECTED / path.name).unlink(missing_ok=True)
        return _entry(certificate, path, True)

    # -- files ---------------------------------------------------------------------------------------------

    def _in(self, folder: str) -> Iterator[Entry]:
        try:
            paths = sorted((self._folder / folder).glob("*.der"))
        except OSError:
            return
        for path in paths:
            try:
                certificate = load_certificate(path.read_bytes(), str(path))
            except (OSError, GatewayError):
                continue
            yield _entry(certificate, path, folder == TRUSTED)

    def _holds(self, certificate: x509.Certificate, print_: str) -> bool:
        """Whether it lies among the trusted itself: byte for byte, SHA-1 alone would not do."""
        try:
            kept = (self._folder / TRUSTED / f"{print_}.der").read_bytes()
        except OSError:
            return False
        return kept == certificate.public_bytes(serialization.Encoding.DER)

    def _find(self, name: str, folder: str) -> Entry:
        wanted = name.replace(":", "").strip().lower()
        found = [entry for entry in self._in(folder) if entry.thumbprint.startswith(wanted)]
        if len(wanted) < SHORTEST_PREFIX:
            raise GatewayError(f"give at least {SHORTEST_PREFIX} characters of the thumbprint; see: gateway opcua list")
        if not found:
            raise GatewayError(f"no {folder} certificate has a thumbprint that begins with {wanted}")
        if len(found) > 1:
            raise GatewayError(f"{len(found)} {folder} certificates begin with {wanted}; give more of it")
        return found[0]

    def _authority_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        for entry in self._in(TRUSTED):
            if entry.is_authority:
                authority = load_certificate(entry.path.read_bytes(), str(entry.path))
                try:
                    certificate.verify_directly_issued_by(authority)
                except (ValueError, TypeError, InvalidSignature):
                    continue
                return authority
        return None

    def _put_aside(self, certificate: x509.Certificate, print_: str) -> None:
        folder = self._make(REJECTED)
        path = folder / f"{print_}.der"
        if path.exists():
            return
        kept = sorted(folder.glob("*.der"), key=lambda one: one.stat().st_mtime)
        for old in kept[: max(0, len(kept) - MOST_REJECTED + 1)]:
            old.unlink(missing_ok=True)
        self._write(path, certificate)

    def _make(self, folder: str) -> Path:
        path = self._folder / folder
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise GatewayError(f"cannot make {path}: {error.strerror}") from None
        return path

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        new = path.with_suffix(".new")
        try:
            new.write_bytes(certificate.public_bytes(serialization.Encoding.DER))
            os.replace(new, path)
        except OSError as error:
            raise GatewayError(f"cannot write {path}: {error.strerror}") from None

    def _move(self, old: Path, new: Path) -> None:
        try:
            os.replace(old, new)
        except OSError as error:
            raise GatewayError(f"cannot move {old}: {error.strerror}") from None


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 of the certificate in hexadecimal: what OPC-UA tools show (Part 6, 6.2.3 names certificates by it). It
    names, it does not protect: what is trusted is the file."""
    return certificate.fingerprint(hashes.SHA1()).hex()


def subject(certificate: x509.Certificate) -> str:
    """Who it says it is, in one line of at most 120 characters."""
    text = certificate.subject.rfc4514_string() or "without a name"
    return "".join(c if c.isprintable() else "?" for c in text)[:120]


def _entry(certificate: x509.Certificate, path: Path, is_trusted: bool) -> Entry:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        found = False
    return Entry(
        thumbprint(certificate),
        subject(certificate),
        application_uri(certificate),
        certificate.not_valid_after_utc,
        found,
        is_trusted,
        path,
    )
