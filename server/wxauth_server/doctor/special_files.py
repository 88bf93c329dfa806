"""Pipes and devices in place of files: they can hang or never end, so no check reads one."""

from __future__ import annotations

import stat
from pathlib import Path


def is_special(file: Path | None) -> bool:
    """Whether there is something there that is no regular file; a directory counts as one.

    What a pipe holds it gives once, and that may be meant for a server.
    """
    if file is None:
        return False
    try:
        mode = file.stat().st_mode
    except OSError:  # whoever reads it says so
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
