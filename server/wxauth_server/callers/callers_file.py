"""callers.json: every caller's name, roles, and what proves it. No secret is in it.

    {"format": 1, "callers": [
      {"name": "gateway", "roles": ["gateway"], "created": "2026-11-01T08:00:00.000Z",
       "certificate_names": ["gateway.internal"]},
      {"name": "orders", "roles": ["service"], "created": "2026-11-01T08:00:00.000Z",
       "tokens": [{"sha256": "…", "created": "2026-11-01T08:00:00.000Z", "ends": null}]}]}

The server reads it again when it changes. Who can write it decides who may call.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wxauth_client.file_watch import FileUnusable
from wxauth_server.callers.caller import NAME_FORM, Caller, CallerBook, CallerToken, Role
from wxauth_server.private_file import locked_directory, replace_private_file

FILE_NAME = "callers.json"

_FORMAT = 1
# Hundreds of callers fit; what is longer is not read to its end.
_MAX_FILE_BYTES = 4_194_304
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CERTIFICATE_NAME = re.compile(r"[!-~]{1,255}")
_CALLER_KEYS = {"name", "roles", "created", "tokens", "certificate_names"}
_TOKEN_KEYS = {"sha256", "created", "ends"}


class CallersUnusable(FileUnusable):
    """The callers cannot be used. The text names the file, what is wrong and what to do."""


class CallersFile:
    """A file of callers while this process alone may change it; see `changing_callers`."""

    def __init__(self, path: Path, owner: os.stat_result | None, book: CallerBook) -> None:
        self._path = path
        self._owner = owner
        #: What the file holds.
        self.book = book

    def replace(self, book: CallerBook) -> None:
        """Let the file hold other callers.

        Raises: CallersUnusable when it cannot be written; it is as it was then.
        """
        try:
            replace_private_file(self._path, _content(book), owner=self._owner)
        except OSError as error:
            raise CallersUnusable(f"{self._path} cannot be written: {error.strerror}") from None
        self.book = book


def load_callers(path: Path) -> CallerBook:
    """The callers of a file; none where there is no file.

    Raises: CallersUnusable when it is no such file, or others can write it.
    """
    return _read(path)[1]


@contextlib.contextmanager
def changing_callers(path: Path) -> Iterator[CallersFile]:
    """The callers of a file, to change them; another process that wants to must wait.

    There need not be a file yet; its directory must be there. A symbolic link is
    followed, and what it points to is replaced. Raises: CallersUnusable.
    """
    target = Path(os.path.realpath(path))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_directory(target.parent))
        except OSError as error:
            raise CallersUnusable(f"{target.parent} cannot be used: {error.strerror}") from None
        owner, book = _read(target)
        if owner is not None and os.geteuid() not in {0, owner.st_uid}:
            raise CallersUnusable(f"{path} belongs to another user: run this as that user")
        yield CallersFile(target, owner, book)


def _read(path: Path) -> tuple[os.stat_result | None, CallerBook]:
    """The callers of a file, and whose the file is."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None, CallerBook()
    except OSError as error:
        raise CallersUnusable(f"{path} cannot be read: {error.strerror}") from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CallersUnusable(
            f"{path} can be written by others (mode {mode:04o}), who could let themselves in: "
            "look at what it holds, then run chmod 600 on it"
        )
    if len(content) > _MAX_FILE_BYTES:
        raise CallersUnusable(f"{path} is longer than {_MAX_FILE_BYTES} bytes")
    try:
        document = json.loads(content)
        if document["format"] != _FORMAT:
            raise CallersUnusable(f"{path} has a format that this wxauth does not know")
        callers = [_caller(entry) for entry in document["callers"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CallersUnusable(
            f"{path} is not a file of callers: wxauth callers writes it"
        ) from None
    try:
        return status, CallerBook(callers)
    except ValueError as problem:  # ours: names only
        raise CallersUnusable(f"{path}: {problem}") from None


def _caller(entry: Mapping[str, Any]) -> Caller:
    """Raises: ValueError, KeyError, TypeError, for whatever is not as we write it."""
    caller = Caller(
        name=_matching(NAME_FORM, entry["name"]),
        roles=frozenset(Role(role) for role in entry["roles"]),
        created_ms=_milliseconds(entry["created"]),
        tokens=tuple(_token(token) for token in entry.get("tokens", [])),
        certificate_names=tuple(
            _matching(_CERTIFICATE_NAME, name) for name in entry.get("certificate_names", [])
        ),
    )
    if not _CALLER_KEYS.issuperset(entry) or not caller.roles:
        raise ValueError("no caller")
    return caller


def _token(entry: Mapping[str, Any]) -> CallerToken:
    if not _TOKEN_KEYS.issuperset(entry):
        raise ValueError("no token")
    ends = entry.get("ends")
    return CallerToken(
        digest=_matching(_DIGEST, entry["sha256"]),
        created_ms=_milliseconds(entry["created"]),
        ends_ms=None if ends is None else _milliseconds(ends),
    )


def _matching(form: re.Pattern[str], text: str) -> str:
    if form.fullmatch(text) is None:
        raise ValueError("not of its form")
    return text


def _content(book: CallerBook) -> bytes:
    callers = []
    for caller in book.callers:
        entry: dict[str, object] = {
            "name": caller.name,
            "roles": sorted(caller.roles),
            "created": _iso(caller.created_ms),
        }
        if caller.tokens:
            entry["tokens"] = [
                {
                    "sha256": token.digest,
                    "created": _iso(token.created_ms),
                    "ends": None if token.ends_ms is None else _iso(token.ends_ms),
                }
                for token in caller.tokens
            ]
        if caller.certificate_names:
            entry["certificate_names"] = list(caller.certificate_names)
        callers.append(entry)
    document = {"format": _FORMAT, "callers": callers}
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"


def _milliseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return round(moment.timestamp() * 1000)


def _iso(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
