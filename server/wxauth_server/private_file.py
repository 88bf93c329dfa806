"""Files for their owner only, replaced whole or not at all. Nothing here knows what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger("wxauth.files")


@contextlib.contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Hold a directory's lock; waits for another process that holds it.

    The lock is on the directory, since a file that is replaced takes its locks
    away with it, and a lock of the kernel's ends with its process. Raises: OSError.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting for another change", extra={"directory": str(directory)})
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def replace_private_file(path: Path, content: bytes, *, owner: os.stat_result | None) -> None:
    """Let `path` hold `content`, mode 0600, durably; `owner` is whose it shall be.

    The caller holds the lock of its directory. When this raises OSError, what
    was there before is there still.
    """
    new = path.with_name(path.name + ".new")
    # Left by a crash: nobody else is at work on it while we hold the lock.
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            if owner is not None and owner.st_uid != os.geteuid():
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
