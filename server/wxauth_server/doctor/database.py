"""The database: whether it opens and is whole, and whether a server runs on it."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from wxauth_server.doctor.findings import (
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.doctor.postgresql import check_postgresql
from wxauth_server.server_lock import LOCK_NAME
from wxauth_server.store.inspection import (
    SHM_SUFFIX,
    WAL_SUFFIX,
    Inspection,
    InspectionFailed,
    inspected,
)
from wxauth_server.store.schema import CODE_VERSION
from wxauth_server.store.sqlite import DATABASE_NAME

#: quick_check reads the whole file; what is larger than it reads in this time is left.
CONTENT_CHECK_S = 5.0

_MIB = 1024 * 1024
#: Below one of the two a write-ahead log that grows, or a backup, may fill the disk.
LEAST_FREE_BYTES = 1024 * _MIB
LEAST_FREE_SHARE = 0.1
#: SQLite begins the log anew after 4 MiB (wal_autocheckpoint, 1,000 pages), unless somebody
#: reads from its beginning all the while.
MOST_WAL_BYTES = 64 * _MIB

_RESTORE = "put back the last good copy (docs/operations.md, Restore)"


def check_database(installation: Installation) -> Iterator[Finding]:
    directory = installation.directory
    if installation.configuration.store.is_postgresql:
        yield from check_postgresql(installation)
        yield _server(directory)
        return
    path = directory / DATABASE_NAME
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        yield _missing(installation, path)
        return
    except OSError as error:
        yield problem(
            Check.DATABASE_FILE,
            f"{path} cannot be reached: {error.strerror}",
            "run wxauth doctor as wxauth's user, or as root"
            if isinstance(error, PermissionError)
            else "correct store.directory, or name the directory with --data",
        )
        return
    yield from _modes(directory)
    yield _space(directory)
    yield _wal(directory)
    yield _server(directory)
    try:
        with inspected(directory) as inspection:
            yield from _opened(path, inspection)
    except InspectionFailed as failed:
        yield _unreadable(path, str(failed))


def _missing(installation: Installation, path: Path) -> Finding:
    if installation.configuration.is_development:
        return skipped(Check.DATABASE_FILE, f"there is no {path}: nothing was served from here yet")
    return warning(
        Check.DATABASE_FILE,
        f"{path} does not exist: the first start makes it",
        "if there was one, correct store.directory, or name the directory with --data",
    )


def _unreadable(path: Path, reason: str) -> Finding:
    if reason.startswith("SQLITE_CANTOPEN"):
        shm = path.with_name(path.name + SHM_SUFFIX)
        if not shm.exists():
            return warning(
                Check.DATABASE_FILE,
                f"{path} has a write-ahead log and no {shm.name}: only a server can open it",
                "start the server, which makes that file, and run wxauth doctor again",
            )
        return problem(
            Check.DATABASE_FILE,
            f"{path} cannot be opened ({reason})",
            "run wxauth doctor as wxauth's user, or as root",
        )
    if reason.startswith("SQLITE_CORRUPT"):
        return problem(Check.DATABASE_CONTENT, f"{path} is damaged ({reason})", _RESTORE)
    return problem(Check.DATABASE_FILE, f"{path} is no database of wxauth ({reason})", _RESTORE)


def _opened(path: Path, inspection: Inspection) -> Iterator[Finding]:
    [(version, oldest)] = inspection.execute("SELECT version, oldest_compatible FROM schema_state")
    yield ok(Check.DATABASE_FILE, f"{path} can be opened")
    yield _schema(int(version), int(oldest))
    try:
        sound = inspection.is_sound(CONTENT_CHECK_S)
    except InspectionFailed as failed:
        yield problem(Check.DATABASE_CONTENT, f"{path} is damaged ({failed})", _RESTORE)
        return
    if inspection.overtaken:
        yield skipped(Check.DATABASE_CONTENT, "a server began to write meanwhile: run this again")
    elif sound is None:
        yield skipped(
            Check.DATABASE_CONTENT,
            f"not done within {CONTENT_CHECK_S:.0f} s, the file is large: let "
            f'sqlite3 {path} "PRAGMA quick_check" run at a quiet time',
        )
    elif sound:
        yield ok(Check.DATABASE_CONTENT, "SQLite finds no fault in it")
    else:
        yield problem(Check.DATABASE_CONTENT, f"{path} is damaged", _RESTORE)


def _schema(version: int, oldest: int) -> Finding:
    if oldest > CODE_VERSION:
        return problem(
            Check.DATABASE_SCHEMA,
            f"the database has schema {version}, which needs a wxauth that knows schema {oldest} "
            f"or later; this one knows {CODE_VERSION}",
            "install the newer wxauth again",
        )
    if version < CODE_VERSION:
        return warning(
            Check.DATABASE_SCHEMA,
            f"the database has schema {version}; the next start brings it to {CODE_VERSION}",
            "make a copy of it first (docs/operations.md, Backup), then restart the server",
        )
    return ok(Check.DATABASE_SCHEMA, f"schema {version}; this wxauth knows {CODE_VERSION}")


def _modes(directory: Path) -> Iterator[Finding]:
    in_order = True
    database = directory / DATABASE_NAME
    owner = database.stat().st_uid
    for file in (database, *(directory / f"{DATABASE_NAME}{s}" for s in (WAL_SUFFIX, SHM_SUFFIX))):
        try:
            found = file.stat()
        except OSError:  # the two beside the database come and go
            continue
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            in_order = False
            yield problem(
                Check.DATABASE_MODES,
                f"{file} is open to others (mode {mode:04o})",
                f"chmod 600 {file}",
            )
        if found.st_uid != owner:
            in_order = False
            yield problem(
                Check.DATABASE_MODES,
                f"{file} belongs to another user than {database.name}",
                f"chown --reference={database} {file}; run commands as wxauth's user",
            )
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077:
        in_order = False
        can_write = mode & (stat.S_IWGRP | stat.S_IWOTH)
        say = problem if can_write else warning
        what = "others can replace what is in it" if can_write else "others can look into it"
        yield say(
            Check.DATABASE_MODES,
            f"{directory} has the mode {mode:04o}: {what}",
            f"chmod 700 {directory}",
        )
    if in_order:
        yield ok(Check.DATABASE_MODES, "the database and its directory are closed to others")


def _space(directory: Path) -> Finding:
    usage = shutil.disk_usage(directory)
    return free_space(usage.free, usage.total)


def free_space(free: int, total: int) -> Finding:
    """What to think of so many bytes free of so many."""
    share = free / total if total else 0.0
    what = f"{free // _MIB:,} MiB of the disk are free ({share:.0%})"
    if free < LEAST_FREE_BYTES or share < LEAST_FREE_SHARE:
        return warning(
            Check.DATABASE_SPACE,
            what,
            "make room: on a full disk nobody can log in or out (audit.keep_days bounds the log "
            "of decisions)",
        )
    return ok(Check.DATABASE_SPACE, what)


def _wal(directory: Path) -> Finding:
    try:
        size = (directory / f"{DATABASE_NAME}{WAL_SUFFIX}").stat().st_size
    except OSError:
        size = 0
    what = f"the write-ahead log has {size // _MIB:,} MiB"
    if size > MOST_WAL_BYTES:
        return warning(
            Check.DATABASE_WAL,
            what,
            "end programs other than wxauth that have the database open, backups aside; a "
            "restart of the server empties the log",
        )
    return ok(Check.DATABASE_WAL, what)


def _server(directory: Path) -> Finding:
    lock = directory / LOCK_NAME
    if not lock.exists():
        return ok(Check.DATABASE_SERVER, "no server runs on it")
    try:
        # The lock is not tried: a server that starts just then would be refused.
        locks = Path("/proc/locks").read_text("ascii")
    except OSError:
        return skipped(Check.DATABASE_SERVER, "this system does not say who holds a lock")
    inode = lock.stat().st_ino
    for line in locks.splitlines():
        # "1: FLOCK  ADVISORY  WRITE 4711 fe:00:2146843 0 EOF", see proc_locks(5)
        _, kind, _, _, process, file, *_ = [*line.split(), "", "", "", "", "", ""]
        if kind == "FLOCK" and file.endswith(f":{inode}"):
            return ok(Check.DATABASE_SERVER, f"a server runs on it, process {process}")
    return ok(Check.DATABASE_SERVER, "no server runs on it")
