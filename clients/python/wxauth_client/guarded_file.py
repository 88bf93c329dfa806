"""Files that decide who gets in: read whole, refused while strangers have access."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from wxauth_client.file_watch import FileUnusable

#: No certificate chain, bundle of authorities, token or key ring of ours is longer.
MAX_BYTES = 1_048_576


class FileMissing(FileUnusable):
    """There is no such file."""


def read_guarded_file(
    file: Path, *, forbidden: int = 0, exposed: str = "", most_bytes: int = MAX_BYTES
) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, and what is known of it.

    `forbidden` are the bits that its mode must not have; `exposed` says, after its
    name, what is wrong then, with the mode in place of {mode}.

    Raises: FileMissing, FileUnusable; also when it is longer, which is not read to its end.
    """
    try:
        # Not blocking: else the open of a pipe would wait for somebody who writes. What a
        # pipe holds it gives once, and these are read again and again.
        with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as f:
            status = os.fstat(f.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileUnusable(f"{file} is no regular file")
            content = f.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise FileMissing(f"{file} cannot be read: {error.strerror}") from None
    except OSError as error:
        raise FileUnusable(f"{file} cannot be read: {error.strerror}") from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise FileUnusable(f"{file} {exposed.format(mode=f'{mode:04o}')}")
    if len(content) > most_bytes:
        raise FileUnusable(f"{file} is longer than {most_bytes} bytes")
    return content, status
