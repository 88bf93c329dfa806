"""The key ring: whether it is there, complete, and the one that the database needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wxauth_server.doctor.database_state import database_state
from wxauth_server.doctor.findings import (
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.keyring import KeyRing, KeyRingUnusable, Purpose, State, load_keyring
from wxauth_server.store.inspection import InspectionFailed
from wxauth_server.store.keys import noted_keys
from wxauth_server.store.opening import refuse_wrong_keys
from wxauth_server.store.sqlite import DATABASE_NAME

_PUT_BACK = "put back the copy of the key ring that was in use with this database"


def check_key_ring(installation: Installation) -> Iterator[Finding]:
    path = installation.configuration.keyring_file
    try:
        ring = load_keyring(path)
    except KeyRingUnusable as error:
        yield _unusable(installation, path, str(error))
        yield skipped(Check.KEYRING_NEEDED, "there is no key ring to compare with the database")
        return
    yield ok(Check.KEYRING_FILE, f"{path} can be used and is closed to others")
    yield from _complete(installation, ring)
    yield from _waiting(installation, ring)
    yield _needed(installation, ring)
    yield _place(installation, path)


def _unusable(installation: Installation, path: Path, what: str) -> Finding:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if installation.configuration.store.is_postgresql:
            return problem(
                Check.KEYRING_FILE,
                f"{path} does not exist",
                f"{_PUT_BACK}: the one of another server; if there was none, "
                f"{installation.command('keys init')}",
            )
        if _has_database(installation):
            return problem(
                Check.KEYRING_FILE,
                f"{path} does not exist, but the database does",
                f"{_PUT_BACK}, or correct keyring.file",
            )
        if installation.configuration.is_development:
            return skipped(Check.KEYRING_FILE, f"there is no {path}: wxauth dev makes it")
        return problem(
            Check.KEYRING_FILE, f"{path} does not exist", installation.command("keys init")
        )
    except PermissionError:
        return problem(Check.KEYRING_FILE, what, "run wxauth doctor as wxauth's user, or as root")
    except OSError:
        return problem(Check.KEYRING_FILE, what, "correct keyring.file or store.directory")
    if mode & 0o077:
        return problem(
            Check.KEYRING_FILE,
            f"{path} can be read by others (mode {mode:04o})",
            f"chmod 600 {path}; rotate its keys if others had access (docs/operations.md)",
        )
    return problem(Check.KEYRING_FILE, what, _PUT_BACK)


def _complete(installation: Installation, ring: KeyRing) -> Iterator[Finding]:
    missing = False
    for purpose in Purpose:
        try:
            ring.active(purpose)
        except KeyRingUnusable as error:
            missing = True
            what, _, command = str(error).partition(": run wxauth ")
            yield problem(Check.KEYRING_COMPLETE, what, installation.command(command))
    if not missing:
        yield ok(Check.KEYRING_COMPLETE, "each purpose has an active key")


def _waiting(installation: Installation, ring: KeyRing) -> Iterator[Finding]:
    waiting = [key.id for key in ring if key.state is State.NEW]
    for key_id in waiting:
        yield warning(
            Check.KEYRING_WAITING,
            f"{key_id} waits to be activated",
            "copy the key ring to every server, then "
            f"{installation.command(f'keys activate {key_id}')}, and restart",
        )
    if not waiting:
        yield ok(Check.KEYRING_WAITING, "no key waits to be activated")


def _needed(installation: Installation, ring: KeyRing) -> Finding:
    if not _has_database(installation):
        return skipped(Check.KEYRING_NEEDED, "there is no database yet")
    try:
        with database_state(installation) as state:
            refuse_wrong_keys(noted_keys(state), ring)
    except InspectionFailed:
        return skipped(Check.KEYRING_NEEDED, "the database cannot be read")
    except KeyRingUnusable as error:
        return problem(Check.KEYRING_NEEDED, str(error).partition(": put back")[0], _PUT_BACK)
    return ok(Check.KEYRING_NEEDED, "the key ring has every key that the database needs")


def _has_database(installation: Installation) -> bool:
    """True for PostgreSQL, which is made apart from us."""
    return installation.configuration.store.is_postgresql or os.path.exists(
        installation.directory / DATABASE_NAME
    )


def _place(installation: Installation, path: Path) -> Finding:
    apart = installation.configuration.store.is_postgresql or (
        os.path.dirname(os.path.realpath(path)) != os.path.realpath(installation.directory)
    )
    return ok(
        Check.KEYRING_PLACE,
        "the key ring is apart from the database"
        if apart
        else "the key ring lies beside the database: whoever copies the directory has both",
        "" if apart else "better: keyring.file on another disk, and backups of the two kept apart",
    )
