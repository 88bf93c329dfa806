"""What some files say, read again when one of them changes, while the process goes on.

For certificates, keys and tokens, which are replaced under a process that runs.
A polled look, not a notification: what orchestrators mount changes by exchanged
links, and network file systems notify nobody.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

log = logging.getLogger("wxauth.files")

ValueT = TypeVar("ValueT")

#: Seconds between two looks.
INTERVAL_S = 1.0

# What tells one state of a file from another; None: it is not there.
_Mark = tuple[int, int, int, int] | None


class FileUnusable(Exception):
    """Files cannot be used. The text names them and what to do; nothing of their content."""


class FileWatch(Generic[ValueT]):
    """The value that files stand for; the last good one while they are broken.

    `read` gives the value and raises FileUnusable. `subject` is what the files
    are, for the log. Thread-safe.
    """

    def __init__(self, subject: str, files: Sequence[Path], read: Callable[[], ValueT]) -> None:
        """Raises: FileUnusable."""
        self.subject = subject
        self._files = tuple(files)
        self._read = read
        self._lock = threading.Lock()
        # Looked at before it is read: what changes in between is another state next time.
        self._marks = self._look()
        # What was wrong at the last look, and what the log has said is wrong.
        self._problem = ""
        self._said = ""
        #: The value as of the last look.
        self.value = read()

    def refresh(self) -> bool:
        """Look now; whether there is another value.

        Files that cannot be used leave the value as it is, with an error in the log.
        That is said at the second look in a row, once: a certificate and its key are
        two files, and whoever replaces them does so one after the other.
        """
        with self._lock:
            return self._refresh()

    def _refresh(self) -> bool:
        marks = self._look()
        value = self.value
        if marks != self._marks:
            try:
                value = self._read()
            except FileUnusable as problem:
                # The marks stay: what is wrong may pass without a trace on the files,
                # as a process that has too many files open.
                self._complain(str(problem))
                return False
        self._marks = marks
        if self._said:
            log.info("%s: can be used again", self.subject)
        self._problem = self._said = ""
        if value == self.value:
            return False
        self.value = value
        log.info("%s: exchanged", self.subject)
        return True

    def _complain(self, problem: str) -> None:
        if problem == self._problem and problem != self._said:
            log.error(
                "%s: the new one cannot be used, the old one stays: %s", self.subject, problem
            )
            self._said = problem
        self._problem = problem

    def _look(self) -> list[_Mark]:
        return [_mark(file) for file in self._files]


def _mark(file: Path) -> _Mark:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
