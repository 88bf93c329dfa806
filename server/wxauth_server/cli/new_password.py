"""How commands get a new password: typed twice, or from standard input."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, TypedDict

import typer

from wxauth_server.accounts.passwords import MAX_PASSWORD_BYTES, check_new_password
from wxauth_server.cli.output import CommandFailed

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]
HashStdin = Annotated[
    bool,
    typer.Option(
        "--hash-stdin",
        help="Read the hash that another system kept, from standard input, one line: bcrypt, "
        "Django's pbkdf2_sha256, argon2id, or scrypt of werkzeug.",
    ),
]


class Secret(TypedDict, total=False):
    """Exactly one of the two, as the contract's messages have it."""

    password: str
    password_hash: str


def read_secret(password_stdin: bool, hash_stdin: bool) -> Secret:
    """What the flags say, else what is typed at the terminal.

    Never from an argument: those are in the process list and the shell's history.
    Raises: CommandFailed; PasswordRefused for what is typed, before it is typed again.
    """
    if password_stdin:
        return {"password": _line_of_stdin("password")}
    if hash_stdin:
        return {"password_hash": _line_of_stdin("hash")}
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask for the password: use --password-stdin")
    try:
        password = getpass.getpass("Password: ")
        check_new_password(password)
        repeated = getpass.getpass("Again: ")
    except UnicodeDecodeError:
        raise CommandFailed("the password is not UTF-8") from None
    if repeated != password:
        raise CommandFailed("the two passwords differ; nothing was changed")
    return {"password": password}


def _line_of_stdin(what: str) -> str:
    # What is longer than any password can be is not read to its end.
    content = sys.stdin.buffer.read(MAX_PASSWORD_BYTES + 3)
    line, _, rest = content.partition(b"\n")
    if rest:
        raise CommandFailed(f"standard input must hold the {what} alone, on one line")
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise CommandFailed(f"the {what} on standard input is not UTF-8") from None
