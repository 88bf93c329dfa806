"""Secrets among the arguments of a command: refused before anything is done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from wxauth_server.callers.caller import SERVER_ADMIN_NAME
from wxauth_server.callers.tokens import ADMIN_PREFIX, CALLER_PREFIX
from wxauth_server.session_id import PREFIX as SESSION_PREFIX

# A SessionId has 49 characters after its prefix; a part of one is no better.
_SECRET = re.compile(
    rf"({CALLER_PREFIX}|{ADMIN_PREFIX}|{SESSION_PREFIX})[0-9A-Za-z_-]{{43}}", re.ASCII
)

_ELSEWHERE = "Give it in a file, by --token-file or WXAUTH_TOKEN_FILE, or in WXAUTH_TOKEN"

# What it is, and what to do about it.
_KINDS: Mapping[str, tuple[str, str]] = {
    CALLER_PREFIX: (
        "a caller's token",
        f"replace it now, with wxauth callers rotate NAME --old-good-for 0. {_ELSEWHERE}",
    ),
    ADMIN_PREFIX: (
        "a server's admin token",
        f"replace it now: remove {SERVER_ADMIN_NAME} and start the server again. {_ELSEWHERE}",
    ),
    SESSION_PREFIX: (
        "a SessionId",
        "end that session now, by the handle that wxauth sessions list shows",
    ),
}


def secret_refusal(arguments: Iterable[str]) -> str | None:
    """Why these arguments are refused, without the secret; None if there is none in them."""
    for argument in arguments:
        if found := _SECRET.search(argument):
            what, to_do = _KINDS[found[1]]
            return (
                f"an argument holds {what} and nothing was done. It stands in the list of "
                f"processes and in the shell's history, so {to_do}."
            )
    return None
