"""API keys: random tokens of which only the SHA-256 digest is kept, in one JSON file."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

Scope = Literal["submit", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX = "eqm"


class KeysFileError(ValueError):
    """The keys file cannot be read as what it should be."""


@dataclass(frozen=True)
class Key:
    """One key as it is stored: never the token itself."""

    id: str
    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created: str

    def allows(self, scope: Scope) -> bool:
        """Whether the key may do what `scope` names; `admin` may do everything."""
        return scope in self.scopes or "admin" in self.scopes


def digest(token: str) -> str:
    """SHA-256 of a token in hexadecimal; tokens have 256 random bits, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def make_key(name: str, scopes: Iterable[str]) -> tuple[str, Key]:
    """A new token, to be shown once, and the key to be stored for it."""
    chosen = tuple(scope for scope in SCOPES if scope in set(scopes))
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not chosen:
        given = ", ".join(unknown) or "none"
        raise ValueError(f"scopes given: {given}; wanted one or more of {', '.join(SCOPES)}")
    identity = secrets.token_hex(4)
    token = f"{_PREFIX}_{identity}_{secrets.token_urlsafe(32)}"
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return token, Key(id=identity, name=name, sha256=digest(token), scopes=chosen, created=created)


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in a file; a missing file holds none. Raises KeysFileError when it is not a keys file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    try:
        records = json.loads(text)["keys"]
        return tuple(Key(**{**record, "scopes": tuple(record["scopes"])}) for record in records)
    except (ValueError, TypeError, KeyError) as error:
        wanted = 'wanted {"keys": [...]} as written by `equimol keys create`'
        raise KeysFileError(f"{path} is not a keys file ({error}); {wanted}") from error


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Replace the keys file in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".keys-")  # created with mode 600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


class KeyRing:
    """The keys of one file, read again when the file changes, so that revoking needs no restart."""

    def __init__(self, path: Path, *, required: bool = False) -> None:
        self.path = path
        self._required = required
        self._stamp: tuple[int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys as the file has them now."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._keys = None, ()
            return self._keys
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._keys = read_keys(self.path)
            self._stamp = stamp
        return self._keys

    @property
    def required(self) -> bool:
        """Whether callers need a key: from the first key on, even if the file is removed later."""
        self._required = self._required or bool(self.keys)
        return self._required

    def find(self, token: str) -> Key | None:
        """The key of a token, or None; every stored digest is compared, in constant time."""
        given = digest(token)
        found: Key | None = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, given):
                found = key
        return found
