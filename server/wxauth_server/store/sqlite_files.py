"""The place of the embedded database: private, or refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wxauth_server.store.interface import StoreUnusable


def make_private_directory(directory: Path) -> None:
    """Make the data directory, for its owner only. Raises: StoreUnusable."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnusable(
            f"the data directory {directory} cannot be made: {error.strerror}"
        ) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StoreUnusable(f"the data directory {directory} is not writable: permission denied")


def refuse_readable_by_others(path: Path) -> None:
    """Make the file if there is none. Raises: StoreUnusable, also when others can read it."""
    # Made here, so that neither it nor the files SQLite puts beside it, which
    # take their mode from it, are ever readable by others (reliability.md F22).
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be opened: {error.strerror}") from None
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise StoreUnusable(
            f"{path} can be read by others (mode {mode:04o}): run chmod 600 on it first"
        )
