"""A file that a command writes for its owner only: there whole, or as it was before."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wxauth_server.cli.output import CommandFailed


@contextlib.contextmanager
def private_output(path: Path) -> Iterator[IO[str]]:
    """A text file, mode 0600, that takes the place of `path` when the block ends well.

    Until then, and whenever the block raises, `path` is as it was. What is written
    goes to the disk as it comes. A symbolic link is followed. Raises: CommandFailed
    when it cannot be written, the disk being full included.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise CommandFailed(f"{path} is no file: leave out --output to write to standard output")
    try:
        # Beside it, since a file is renamed within its file system only. Mode 0600.
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from None
