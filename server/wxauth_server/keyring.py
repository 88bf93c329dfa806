"""The key ring: secrets that protect the database, kept outside of it.

A JSON file of mode 0600. Each key has a purpose and never serves another one:
`pepper` keys the hashes of passwords; `digest` is for digests of names that must
not be guessed back, which nothing makes yet: it is there so that a ring of today
serves a later version.
The active key of a purpose is used for what is new; the others still open what
is old.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

#: 256 bits, the output size of HMAC-SHA-256 (RFC 2104 section 3).
_KEY_BYTES = 32
_FORMAT = 1
_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
FILE_NAME = "keyring.json"


class Purpose(StrEnum):
    """What a key is for."""

    PEPPER = "pepper"
    DIGEST = "digest"


class KeyRingUnusable(Exception):
    """The key ring cannot be used. The text names the file and what to do, no secret."""


@dataclass(frozen=True)
class Key:
    """One key. `id` is public: it stands beside what the key protects."""

    purpose: Purpose
    id: str
    active: bool
    secret: bytes = field(repr=False)


class KeyRing:
    """The keys by purpose.

    Raises: KeyRingUnusable unless each purpose has exactly one active key.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {(key.purpose, key.id): key for key in keys}
        self._active = {}
        for purpose in Purpose:
            active = [key for key in self._keys.values() if key.purpose is purpose and key.active]
            if len(active) != 1:
                raise KeyRingUnusable(f"the key ring needs exactly one active {purpose} key")
            self._active[purpose] = active[0]

    def active(self, purpose: Purpose) -> Key:
        """The key for what is new."""
        return self._active[purpose]

    def find(self, purpose: Purpose, key_id: str) -> Key | None:
        """The key that protects something old, or None."""
        return self._keys.get((purpose, key_id))

    def __iter__(self) -> Iterator[Key]:
        """All keys, in the order of the file."""
        return iter(self._keys.values())


def load_keyring(path: Path) -> KeyRing:
    """Read the ring of a file.

    Raises: KeyRingUnusable when the file is missing, readable by others, or not
    a key ring.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except FileNotFoundError:
        raise KeyRingUnusable(f"{path} does not exist: run wxauth keys init") from None
    except OSError as error:
        raise KeyRingUnusable(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeyRingUnusable(
            f"{path} can be read by others (mode {mode:04o}): run chmod 600 on it first"
        )
    try:
        document = json.loads(content)
        if document["format"] != _FORMAT:
            raise KeyRingUnusable(f"{path} has a format that this wxauth does not know")
        if not all(_ID.fullmatch(entry["id"]) for entry in document["keys"]):
            raise ValueError("no id")
        keys = [
            Key(
                purpose=Purpose(entry["purpose"]),
                id=entry["id"],
                active=entry["state"] == "active",
                secret=base64.b64decode(entry["secret"], validate=True),
            )
            for entry in document["keys"]
        ]
    except (ValueError, KeyError, TypeError):
        # Without the cause: its text may hold part of the file.
        raise KeyRingUnusable(f"{path} is not a key ring") from None
    if len({(key.purpose, key.id) for key in keys}) != len(keys):
        raise KeyRingUnusable(f"{path} has the id of a key more than once")
    if any(len(key.secret) != _KEY_BYTES for key in keys):
        raise KeyRingUnusable(f"{path} holds a key that is not {_KEY_BYTES} bytes long")
    try:
        return KeyRing(keys)
    except KeyRingUnusable as error:
        raise KeyRingUnusable(f"{path}: {error}") from None


def create_keyring(path: Path) -> KeyRing:
    """Write a ring with one new active key for each purpose, mode 0600.

    Raises: KeyRingUnusable when the file exists already or cannot be written.
    """
    keys = [
        Key(purpose, f"{purpose}-{secrets.token_hex(4)}", True, secrets.token_bytes(_KEY_BYTES))
        for purpose in Purpose
    ]
    document = {
        "format": _FORMAT,
        "keys": [
            {
                "purpose": key.purpose.value,
                "id": key.id,
                "state": "active",
                "secret": base64.b64encode(key.secret).decode("ascii"),
            }
            for key in keys
        ],
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:  # FileExistsError too: the parent is a file
        raise KeyRingUnusable(f"{path.parent} cannot be made: {error.strerror}") from None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyRingUnusable(f"{path} exists already and is left as it is") from None
    except OSError as error:
        raise KeyRingUnusable(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return KeyRing(keys)
