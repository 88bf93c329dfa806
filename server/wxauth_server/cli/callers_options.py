"""What the commands of `wxauth callers` share: options, and what they say beside a result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from wxauth_server.callers.caller import Role
from wxauth_server.config import Configuration

#: The end of the help of commands that take roles.
ROLES_HELP = (
    "Roles: gateway forwards what mini-programs send; service asks whose session it is; "
    "admin manages accounts, bindings and sessions."
)

Roles = Annotated[
    list[Role],
    typer.Option(
        "--role",
        metavar="ROLE",
        help="What it may do: gateway, service or admin. May be repeated.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write the token to this new file, mode 0600, and print none.",
        show_default=False,
    ),
]


def where(token: str, output: Path | None) -> str:
    if not token:
        return ""
    if output is not None:
        return f"Its token is in {output}, mode 0600. Where it runs, WXAUTH_TOKEN_FILE names it."
    return (
        "Its token is shown only now. Where it runs, WXAUTH_TOKEN holds it, or WXAUTH_TOKEN_FILE "
        "names a file that does, mode 0600."
    )


def what_next(configuration: Configuration) -> str:
    return (
        f"Servers that read {configuration.callers_file} follow within a second; copy it to "
        "every other machine with a server."
    )


def say(*sentences: str) -> None:
    """What is no result: beside it, so that a token is alone on standard output."""
    for sentence in filter(None, sentences):
        print(sentence, file=sys.stderr)
