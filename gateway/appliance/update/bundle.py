"""A bundle file: made, and read in one pass with a few hundred KiB of memory (docs/updates.md has every byte)."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.appliance.update.manifest import MOST_BYTES, PARTS, Manifest, Part, UpdateError, parse, render

BLOCK = 1 << 18
BOOT_FILES = ("vmlinuz", "initrd.img", "version")


def hashed(file: IO[bytes], most: int) -> Part:
    """Size and hash of what comes next in a file, of ``most`` bytes at most."""
    digest, size = hashlib.sha256(), 0
    while block := file.read(min(BLOCK, most - size)):
        digest.update(block)
        size += len(block)
    return Part(size, digest.hexdigest())


def part_of(path: Path) -> Part:
    """Size and hash of a whole file."""
    with path.open("rb") as file:
        return hashed(file, path.stat().st_size)


def write_boot(out: Path, folder: Path) -> None:
    """Make ``boot.tar`` of the files below a folder; the same files give the same bytes.

    Raises UpdateError when one is missing without which a slot does not start.
    """
    for name in BOOT_FILES:
        if not (folder / name).is_file():
            raise UpdateError(f"{folder / name}: is no file; a slot needs {', '.join(BOOT_FILES)}")
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                head = tarfile.TarInfo(str(path.relative_to(folder)))
                head.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(head, file)


def write(out: Path, manifest: Manifest, files: dict[str, Path], key: Path) -> None:
    """Make the bundle ``out``; appears whole or not at all. ``key`` is an Ed25519 private key in PEM."""
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (ValueError, TypeError):  # no key; one with a password
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise UpdateError(f"{key}: must be an Ed25519 key without a password; gateway update key makes one")
    text = render(manifest)
    fresh = out.with_name(out.name + ".new")
    with tarfile.open(fresh, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("manifest.json", text), ("manifest.sig", private.sign(text))):
            head = tarfile.TarInfo(name)
            head.size = len(data)
            tar.addfile(head, io.BytesIO(data))
        for name in PARTS:
            head = tarfile.TarInfo(name)
            head.size = manifest.parts[name].size
            with files[name].open("rb") as file:
                tar.addfile(head, file)
    fresh.rename(out)


def trusted(keys: Path) -> list[Ed25519PublicKey]:
    """The public keys ``*.pub`` (PEM) of a folder. Raises UpdateError when there is none, or one that is damaged."""
    good: list[Ed25519PublicKey] = []
    for path in sorted(keys.glob("*.pub")):
        try:
            key = load_pem_public_key(path.read_bytes())
        except ValueError as error:
            raise UpdateError(f"{path}: is no public key in PEM; put it right or take it away") from error
        if isinstance(key, Ed25519PublicKey):
            good.append(key)
    if not good:
        raise UpdateError(f"{keys}: holds no Ed25519 public key (*.pub), so no bundle can be trusted")
    return good


class Stream:
    """One part as a stream that hashes what is read from it."""

    def __init__(self, name: str, file: IO[bytes], promised: Part) -> None:
        self.name, self._file, self._promised = name, file, promised
        self._digest, self._size = hashlib.sha256(), 0

    def read(self, count: int = BLOCK) -> bytes:
        """The next bytes, none at the end."""
        data = self._file.read(count)
        self._digest.update(data)
        self._size += len(data)
        return data

    def finish(self) -> None:
        """Read the rest; raise UpdateError when it is not what the manifest promised."""
        while self.read():
            pass
        if Part(self._size, self._digest.hexdigest()) != self._promised:
            raise UpdateError(f"bundle: {self.name} is not what its manifest says; fetch the bundle again")


def _member(tar: tarfile.TarFile, name: str) -> tuple[tarfile.TarInfo, IO[bytes]]:
    head = tar.next()
    if head is None or head.name != name or not head.isreg():
        raise UpdateError(f"bundle: {name} must be next, not {head.name if head else 'the end'}; fetch it again")
    file = tar.extractfile(head)
    assert file is not None
    return head, file


def read(path: Path, keys: list[Ed25519PublicKey]) -> Generator[Manifest | Stream, None, None]:
    """The manifest once its signature is good, then each part, to be read before the next is asked for.

    A part that was not read, or not to its end, is read then. Raises UpdateError.
    """
    try:
        with path.open("rb") as source, tarfile.open(fileobj=source, mode="r|") as tar:
            head, file = _member(tar, "manifest.json")
            if head.size > MOST_BYTES:
                raise UpdateError(f"bundle: its manifest must have at most {MOST_BYTES} bytes, not {head.size}")
            text = file.read()
            head, file = _member(tar, "manifest.sig")
            signature = file.read(65)
            if not any(_signed(key, signature, text) for key in keys):
                raise UpdateError("bundle: is not signed by a key that this machine trusts; nothing was changed")
            manifest = parse(text)
            yield manifest
            for name in PARTS:
                head, file = _member(tar, name)
                part = Stream(name, file, manifest.parts[name])
                yield part
                part.finish()
    except (tarfile.TarError, EOFError) as error:
        raise UpdateError(f"{path}: is cut short or no bundle ({error}); fetch it again") from error
    except OSError as error:
        raise UpdateError(f"{path}: cannot be read: {error.strerror}; is the stick still there?") from error


def verify(path: Path, keys: list[Ed25519PublicKey]) -> Manifest:
    """Signature and every hash; nothing is written. Raises UpdateError."""
    found = read(path, keys)
    manifest = next(found)
    assert isinstance(manifest, Manifest)
    for _ in found:
        pass
    return manifest


def _signed(key: Ed25519PublicKey, signature: bytes, text: bytes) -> bool:
    try:
        key.verify(signature, text)
    except InvalidSignature:
        return False
    return True


def public_pem(private: Ed25519PrivateKey) -> bytes:
    """What goes into the folder of trusted keys."""
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
