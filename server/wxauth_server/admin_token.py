"""The token of AdminService: a file in the server's data directory, for its owner only.

Whoever can read the file may do what an operator does. To replace it, remove the
file and start the server again.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from wxauth_client.credentials import TOKEN_FORM
from wxauth_client.file_watch import FileUnusable
from wxauth_client.guarded_file import FileMissing, read_guarded_file
from wxauth_server.callers.caller import SERVER_ADMIN_NAME
from wxauth_server.callers.tokens import ADMIN_PREFIX, digest_of, new_token
from wxauth_server.private_file import locked_directory, replace_private_file

#: Its owner is known by the name of the file.
FILE_NAME = SERVER_ADMIN_NAME

_EXPOSED = (
    "can be read by others (mode {mode}): run chmod 600 on it, or remove it and start the server "
    "again for a new one"
)


class AdminTokenUnusable(Exception):
    """The file of the token cannot be used. The text names it and what to do, no secret."""


class AdminToken:
    """Tells the token from any other text. Keeps its digest only."""

    def __init__(self, token: str) -> None:
        self._digest = digest_of(token)

    def is_token(self, text: str) -> bool:
        """Whether this is the token; takes as long for every other text of its length."""
        return hmac.compare_digest(digest_of(text), self._digest)


def server_token(directory: Path) -> AdminToken:
    """The token of a server's data directory; it is made if there is none.

    Raises: AdminTokenUnusable when others can read it, or it cannot be read or made.
    """
    path = directory / FILE_NAME
    try:
        with locked_directory(directory):
            if not os.path.lexists(path):
                token = new_token(ADMIN_PREFIX)
                replace_private_file(path, token.encode() + b"\n", owner=None)
    except OSError as error:
        raise AdminTokenUnusable(f"{path} cannot be written: {error.strerror}") from None
    return AdminToken(read_token(path))


def read_token(path: Path) -> str:
    """The token of a file, as a caller sends it.

    Raises: AdminTokenUnusable when it is missing, readable by others, or no token.
    """
    try:
        content, _ = read_guarded_file(path, forbidden=0o077, exposed=_EXPOSED)
    except FileMissing:
        raise AdminTokenUnusable(
            f"{path} does not exist: a server makes it in its data directory when it starts"
        ) from None
    except FileUnusable as problem:
        raise AdminTokenUnusable(str(problem)) from None
    token = content.strip().decode("ascii", errors="replace")
    if not token.startswith(ADMIN_PREFIX) or TOKEN_FORM.fullmatch(token) is None:
        raise AdminTokenUnusable(
            f"{path} holds no token: remove it, and the server makes one when it starts"
        )
    return token
