"""callers.json: every caller's name, roles, and what proves it. No secret is in it.

document.py has its form. The server reads it again when it changes. Who can write
it decides who may call.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wxauth_client.file_watch import FileUnusable
from wxauth_client.guarded_file import FileMissing, read_guarded_file
from wxauth_server.callers.caller import CallerBook
from wxauth_server.callers.document import callers_of, content_of
from wxauth_server.private_file import locked_directory, replace_private_file

FILE_NAME = "callers.json"

# Hundreds of callers fit; what is longer is not read to its end.
_MAX_FILE_BYTES = 4_194_304
_EXPOSED = (
    "can be written by others (mode {mode}), who could let themselves in: look at what it holds, "
    "then run chmod 600 on it"
)


class CallersUnusable(FileUnusable):
    """The callers cannot be used. The text names the file, what is wrong and what to do."""


class CallersFile:
    """A file of callers while this process alone may change it; see `changing_callers`."""

    def __init__(
        self, path: Path, former: os.stat_result | None, content: bytes, book: CallerBook
    ) -> None:
        self._path = path
        self._former = former
        self._content = content
        #: What the file holds.
        self.book = book

    def replace(self, book: CallerBook) -> None:
        """Let the file hold other callers. Who could read it before can do so still.

        Raises: CallersUnusable when it cannot be written; it is as it was then.
        """
        content = content_of(book)
        if len(content) > _MAX_FILE_BYTES:
            raise CallersUnusable(f"{self._path} would be longer than {_MAX_FILE_BYTES} bytes")
        try:
            self._write(content)
        except OSError as error:
            raise CallersUnusable(f"{self._path} cannot be written: {error.strerror}") from None
        self.book = book

    @contextlib.contextmanager
    def replaced(self, book: CallerBook) -> Iterator[None]:
        """The same; when the block raises, the file holds again what it held at first.

        Raises: CallersUnusable, also when that could not be put back.
        """
        self.replace(book)
        try:
            yield
        except BaseException:
            self._put_back()
            raise

    def _put_back(self) -> None:
        try:
            if self._former is None:
                self._path.unlink()
            else:
                self._write(self._content)
        except OSError as error:
            raise CallersUnusable(
                f"{self._path} has a change of which nobody was told, and could not be put back: "
                f"{error.strerror}; see wxauth callers list"
            ) from None

    def _write(self, content: bytes) -> None:
        replace_private_file(self._path, content, owner=self._owner())
        if self._former is not None:
            _restore_readers(self._path, self._former)

    def _owner(self) -> os.stat_result | None:
        """Whose the file shall be: of whom it was; of a new one, whose directory it is in."""
        if self._former is not None or os.geteuid() != 0:
            return self._former
        return self._path.parent.stat()  # else a server of another user could not read it


def load_callers(path: Path, *, must_exist: bool = False) -> CallerBook:
    """The callers of a file; none where there is no file, unless it must exist.

    Raises: CallersUnusable when it is no such file, or others can write it.
    """
    status, _, book = _read(path)
    if status is None and must_exist:
        raise CallersUnusable(f"{path} does not exist: wxauth callers add makes it")
    return book


@contextlib.contextmanager
def changing_callers(path: Path) -> Iterator[CallersFile]:
    """The callers of a file, to change them; another process that wants to must wait.

    There need not be a file yet; its directory must be there. A symbolic link is
    followed, and what it points to is replaced. Raises: CallersUnusable.
    """
    target = Path(os.path.realpath(path))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked_directory(target.parent))
        except OSError as error:
            raise CallersUnusable(f"{target.parent} cannot be used: {error.strerror}") from None
        former, content, book = _read(target)
        if former is not None and os.geteuid() not in {0, former.st_uid}:
            raise CallersUnusable(f"{path} belongs to another user: run this as that user")
        yield CallersFile(target, former, content, book)


def _restore_readers(path: Path, former: os.stat_result) -> None:
    # No secret is in it, and a server may read it by its group.
    if os.geteuid() == 0:
        os.chown(path, -1, former.st_gid)
    os.chmod(path, stat.S_IMODE(former.st_mode))


def _read(path: Path) -> tuple[os.stat_result | None, bytes, CallerBook]:
    """What is known of the file, None if it is not there; what it holds; and its callers."""
    try:
        content, status = read_guarded_file(
            path,
            forbidden=stat.S_IWGRP | stat.S_IWOTH,
            exposed=_EXPOSED,
            most_bytes=_MAX_FILE_BYTES,
        )
    except FileMissing:
        return None, b"", CallerBook()
    except FileUnusable as problem:
        raise CallersUnusable(str(problem)) from None
    try:
        return status, content, callers_of(content)
    except ValueError as problem:  # ours: names and keys only
        raise CallersUnusable(f"{path}: {problem}") from None
