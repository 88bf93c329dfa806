"""Reads a secret from a file of its own, such as an AppSecret or the URL of a database."""

from __future__ import annotations

import stat
from pathlib import Path

from wxauth_client.file_watch import FileUnusable
from wxauth_client.guarded_file import read_guarded_file

# Its group may read it, as where an orchestrator mounts it.
_STRANGERS = stat.S_IRWXO | stat.S_IWGRP
_EXPOSED = "can be read or changed by others (mode {mode}): run chmod 600 on it"


def read_secret(file: Path, *, closed: bool = False) -> str:
    """What a file says, without the blanks around it.

    `closed`: refused while others have access; for the rest `wxauth serve` warns of
    that (secret_files.py). Raises: FileUnusable; nothing of the content is in its text.
    """
    content, _ = read_guarded_file(file, forbidden=_STRANGERS if closed else 0, exposed=_EXPOSED)
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise FileUnusable(f"{file} is not UTF-8") from None
