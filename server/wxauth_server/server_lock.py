"""One server for a data directory: the lock that a command which serves holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

#: In the data directory, mode 0600, empty. It stays there: a file that is removed
#: takes its lock away with it, and a second server would get another one.
LOCK_NAME = "server.lock"


class ServerLockFailed(Exception):
    """There can be no server on the data directory. The text says why, and what to do."""


@contextlib.contextmanager
def only_server(directory: Path) -> Iterator[None]:
    """Be the only server on a data directory, which is made if it is not there.

    The lock is the kernel's, so it ends with its process, however that ends.
    Commands that do not serve take no notice of it. Raises: ServerLockFailed when
    another process serves there, or when that cannot be found out.
    """
    path = directory / LOCK_NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ServerLockFailed(
            f"the data directory {directory} cannot be made: {error.strerror}"
        ) from None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServerLockFailed(f"{path} is not writable: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerLockFailed(
                f"another wxauth serve or wxauth dev runs on the data directory {directory}: "
                "there is one server for a data directory, stop that one first, or, where "
                "several share a PostgreSQL, give this one a directory of its own with --data"
            ) from None
        except OSError as error:
            raise ServerLockFailed(f"{path} cannot be locked: {error.strerror}") from None
        yield
    finally:
        os.close(descriptor)
