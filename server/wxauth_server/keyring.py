"""The key ring: secrets that protect the database, kept outside of it.

A JSON file of mode 0600. Each key has a purpose and never serves another one:
`pepper` keys the hashes of passwords; `seal` encrypts WeChat's session_keys;
`digest` is for digests of names that must not be guessed back: usernames that
were tried, openids where the audit log leaves the database, pseudonyms.
The active key of a purpose is used for what is new; the others still open what
is old, or wait to become active until every server has them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from wxauth_client.file_watch import FileUnusable
from wxauth_client.guarded_file import FileMissing, read_guarded_file
from wxauth_server.private_file import locked_directory, replace_private_file

#: 256 bits: the output size of HMAC-SHA-256 (RFC 2104 section 3), an AES-256 key.
_KEY_BYTES = 32
#: 128 bits tell two keys apart for certain, and are of no use for guessing one.
CHECK_VALUE_BYTES = 16
# Holds a NUL, which no password does: it is no pre-hash of one either.
_CHECKED_TEXT = b"wxauth\0check value of a key"
_FORMAT = 1
_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
FILE_NAME = "keyring.json"
_EXPOSED = "can be read by others (mode {mode}): run chmod 600 on it first"


class Purpose(StrEnum):
    """What a key is for."""

    PEPPER = "pepper"
    SEAL = "seal"
    DIGEST = "digest"


class State(StrEnum):
    """What a key is used for now."""

    #: Not used yet: it waits until every server has it.
    NEW = "new"
    #: Protects what is new.
    ACTIVE = "active"
    #: Opens what it protected while it was active.
    OLD = "old"


class KeyRingUnusable(Exception):
    """The key ring cannot be used. The text names the file and what to do, no secret."""


@dataclass(frozen=True)
class Key:
    """One key. `id` is public: it stands beside what the key protects."""

    purpose: Purpose
    id: str
    state: State
    secret: bytes = field(repr=False)

    @classmethod
    def create(cls, purpose: Purpose, state: State) -> Key:
        """A new random key."""
        id_ = f"{purpose}-{secrets.token_hex(4)}"
        return cls(purpose, id_, state, secrets.token_bytes(_KEY_BYTES))

    @property
    def check_value(self) -> bytes:
        """Tells this secret from another one of the same id; 16 bytes, fit for the database."""
        return hmac.digest(self.secret, _CHECKED_TEXT, hashlib.sha256)[:CHECK_VALUE_BYTES]


class KeyRing:
    """The keys by purpose. Never changes: a change makes another ring.

    Raises: KeyRingUnusable when a purpose has more than one active key. It may
    have none, as in the ring of a version that did not know the purpose yet:
    `require_complete` says so to whoever wants to use it.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {(key.purpose, key.id): key for key in keys}
        self._active: dict[Purpose, Key] = {}
        for key in self._keys.values():
            if key.state is State.ACTIVE:
                if key.purpose in self._active:
                    raise KeyRingUnusable(
                        f"the key ring has more than one active {key.purpose} key"
                    )
                self._active[key.purpose] = key

    def active(self, purpose: Purpose) -> Key:
        """The key for what is new.

        Raises: KeyRingUnusable when there is none, with the command that helps.
        """
        if purpose not in self._active:
            waiting = [key.id for key in self if key.purpose is purpose]
            command = f"activate {waiting[-1]}" if waiting else f"add {purpose} --activate"
            raise KeyRingUnusable(
                f"the key ring has no active {purpose} key: run wxauth keys {command}"
            )
        return self._active[purpose]

    def require_complete(self) -> None:
        """Raises: KeyRingUnusable unless each purpose has an active key."""
        for purpose in Purpose:
            self.active(purpose)

    def find(self, purpose: Purpose, key_id: str) -> Key | None:
        """The key that protects something old, or None."""
        return self._keys.get((purpose, key_id))

    def with_key(self, key: Key) -> KeyRing:
        """This ring and one key more, last. An active one takes the place of the active one."""
        ring = KeyRing([*self, replace(key, state=State.NEW)])
        return ring.with_active(key) if key.state is State.ACTIVE else ring

    def with_active(self, chosen: Key) -> KeyRing:
        """This ring with one of its keys active, and the one that was active old."""

        def state(key: Key) -> State:
            if key.purpose is not chosen.purpose:
                return key.state
            if key.id == chosen.id:
                return State.ACTIVE
            return State.OLD if key.state is State.ACTIVE else key.state

        return KeyRing(replace(key, state=state(key)) for key in self)

    def without(self, dropped: Key) -> KeyRing:
        """This ring without one of its keys."""
        return KeyRing(
            key for key in self if (key.purpose, key.id) != (dropped.purpose, dropped.id)
        )

    def __iter__(self) -> Iterator[Key]:
        """All keys, in the order of the file."""
        return iter(self._keys.values())


class KeyRingFile:
    """A ring's file while this process alone may change it; see `changing_keyring`."""

    def __init__(self, path: Path, owner: os.stat_result, ring: KeyRing) -> None:
        self._path = path
        self._owner = owner
        #: What the file holds.
        self.ring = ring

    def replace(self, ring: KeyRing) -> None:
        """Let the file hold another ring.

        Raises: KeyRingUnusable when it cannot be written; it is as it was then.
        """
        _write(self._path, ring, owner=self._owner)
        self.ring = ring


def load_keyring(path: Path) -> KeyRing:
    """Read the ring of a file.

    Raises: KeyRingUnusable when the file is missing, readable by others, or not
    a key ring.
    """
    return _read(path)[1]


@contextlib.contextmanager
def changing_keyring(path: Path) -> Iterator[KeyRingFile]:
    """The ring of a file, to change it; another process that wants to must wait.

    A symbolic link is followed, and what it points to is replaced. The file
    keeps its owner. Raises: what `load_keyring` raises, and KeyRingUnusable when
    the file belongs to somebody else.
    """
    target = Path(os.path.realpath(path))
    with contextlib.ExitStack() as stack:
        if os.path.exists(target):  # else reading it says best what is wrong
            try:
                stack.enter_context(locked_directory(target.parent))
            except OSError as error:
                raise KeyRingUnusable(f"{path} cannot be locked: {error.strerror}") from None
        owner, ring = _read(path)
        if os.geteuid() not in {0, owner.st_uid}:
            raise KeyRingUnusable(f"{path} belongs to another user: run this as that user")
        yield KeyRingFile(target, owner, ring)


def create_keyring(path: Path) -> KeyRing:
    """Write a ring with one new active key for each purpose, mode 0600.

    Raises: KeyRingUnusable when the file exists already or cannot be written.
    """
    ring = KeyRing(Key.create(purpose, State.ACTIVE) for purpose in Purpose)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:  # FileExistsError too: the parent is a file
        raise KeyRingUnusable(f"{path.parent} cannot be made: {error.strerror}") from None
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_directory(path.parent))
        except OSError as error:
            raise KeyRingUnusable(f"{path} cannot be locked: {error.strerror}") from None
        if os.path.lexists(path):
            raise KeyRingUnusable(f"{path} exists already and is left as it is")
        _write(path, ring, owner=None)
    return ring


def _read(path: Path) -> tuple[os.stat_result, KeyRing]:
    """The ring of a file, and whose the file is."""
    try:
        content, status = read_guarded_file(path, forbidden=0o077, exposed=_EXPOSED)
    except FileMissing:
        raise KeyRingUnusable(f"{path} does not exist: run wxauth keys init") from None
    except FileUnusable as problem:
        raise KeyRingUnusable(str(problem)) from None
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
                state=State(entry["state"]),
                secret=base64.b64decode(entry["secret"], validate=True),
            )
            for entry in document["keys"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError):
        # Without the cause: its text may hold part of the file.
        raise KeyRingUnusable(f"{path} is not a key ring") from None
    if len({key.id for key in keys}) != len(keys):
        raise KeyRingUnusable(f"{path} has the id of a key more than once")
    if any(len(key.secret) != _KEY_BYTES for key in keys):
        raise KeyRingUnusable(f"{path} holds a key that is not {_KEY_BYTES} bytes long")
    try:
        return status, KeyRing(keys)
    except KeyRingUnusable as error:
        raise KeyRingUnusable(f"{path}: {error}") from None


def _write(path: Path, ring: KeyRing, *, owner: os.stat_result | None) -> None:
    document = {
        "format": _FORMAT,
        "keys": [
            {
                "purpose": key.purpose.value,
                "id": key.id,
                "state": key.state.value,
                "secret": base64.b64encode(key.secret).decode("ascii"),
            }
            for key in ring
        ],
    }
    content = json.dumps(document, indent=2).encode() + b"\n"
    try:
        replace_private_file(path, content, owner=owner)
    except OSError as error:
        raise KeyRingUnusable(f"{path} cannot be written: {error.strerror}") from None
