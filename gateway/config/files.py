"""Settings that name a file: it must be there when the settings are read, not when it is used at night."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any, Final

from gateway.config.declare import File, Folder, Secret
from gateway.config.types import WrongValue, literal, wrong_type

MAX_SECRET_BYTES: Final = 64 * 1024
"""More than any password or token; a wrong path must not pull a database into memory."""


_CREDENTIAL_NAME: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,255}")


def read_file(folder: Path, value: Any) -> str:
    """Absolute path of a file that exists and can be read. Links are kept: the file behind may be renewed."""
    path = _path(folder, value, File)
    try:
        if not path.is_file():
            raise WrongValue(f"{literal(value)} is a folder, not a file" if path.is_dir() else _missing("file", path))
        path.open("rb").close()
    except OSError as error:
        raise WrongValue(f"cannot read {path}: {error.strerror}") from None
    return str(path)


def read_folder(folder: Path, value: Any) -> str:
    """Absolute path of a folder that exists."""
    path = _path(folder, value, Folder)
    try:
        if not path.is_dir():
            raise WrongValue(f"{literal(value)} is a file, not a folder" if path.exists() else _missing("folder", path))
    except OSError as error:
        raise WrongValue(f"cannot read {path}: {error.strerror}") from None
    return str(path)


SYSTEM_CREDENTIALS: Final = Path("/run/credentials/gateway.service")
"""Where systemd lays the credentials of our unit, which other commands of the same user may want to read too."""


def read_secret(folder: Path, value: Any, credentials: Path = SYSTEM_CREDENTIALS) -> Secret:
    """The secret itself, without the white space around it: from the text, from ``{ file = "path" }``, or from
    ``{ credential = "NAME" }``, a file in the folder ``credentials``."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, dict) and value.keys() == {"file"}:
        text = _secret_from(Path(read_file(folder, value["file"])))
    elif isinstance(value, dict) and value.keys() == {"credential"}:
        text = _secret_from(_credential(credentials, value["credential"]))
    else:
        raise wrong_type(Secret, value)
    if not text.strip():
        raise WrongValue("the secret is empty")
    return Secret(text.strip())


def _credential(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or not _CREDENTIAL_NAME.fullmatch(name):
        raise WrongValue("a credential's name must be 1 to 255 letters, digits, '.', '-' and '_'")
    path = folder / name
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise WrongValue(f"cannot read {path}: {error.strerror}") from None
    raise WrongValue(
        f"systemd has given no credential {literal(name)}: no such file in {folder}; "
        f"put LoadCredential={name}:PATH, or LoadCredentialEncrypted=, into the unit"
    )


def _secret_from(path: Path) -> str:
    try:
        status = path.stat()
        if status.st_mode & stat.S_IROTH:
            raise WrongValue(f"every user of this machine can read {path}; run: chmod o-r {path}")
        if status.st_size > MAX_SECRET_BYTES:
            raise WrongValue(f"{path} is too large for a secret: {status.st_size} bytes, at most {MAX_SECRET_BYTES}")
        return path.read_text("utf-8")
    except OSError as error:
        raise WrongValue(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongValue(f"{path} does not hold text (UTF-8)") from None


def _path(folder: Path, value: Any, kind: Any) -> Path:
    if not isinstance(value, str):
        raise wrong_type(kind, value)
    if not value or "\0" in value:
        raise WrongValue(f"must be the path of a {'file' if kind is File else 'folder'}, not {literal(value)}")
    return (folder / value).absolute()


def _missing(what: str, path: Path) -> str:
    return f"no such {what}: {path}"
