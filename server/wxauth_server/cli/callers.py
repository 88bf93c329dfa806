"""`wxauth callers`: the services that may call, their roles, and what proves who they are.

Everything here is about the file of callers: no server, database or key ring is needed.
"""

from __future__ import annotations

from typing import Annotated

import typer

from wxauth_server.callers.caller import (
    Caller,
    CallerToken,
    check_certificate_name,
    check_name,
)
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token
from wxauth_server.cli.callers_changes import revoke, rotate, set_roles
from wxauth_server.cli.callers_list import list_all
from wxauth_server.cli.callers_options import ROLES_HELP, Output, Roles, say, what_next, where
from wxauth_server.cli.callers_token import hand_over
from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject, load
from wxauth_server.cli.output import CommandFailed
from wxauth_server.clock import SystemClock
from wxauth_server.config import Configuration

app = typer.Typer(
    help="The services and operators that may call, and their roles.",
    epilog=ROLES_HELP,
    no_args_is_help=True,
)


@app.command(epilog=ROLES_HELP)
def add(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="What logs and the audit log call it, such as orders.",
            show_default=False,
        ),
    ],
    roles: Roles,
    certificate_names: Annotated[
        list[str] | None,
        typer.Option(
            "--certificate-name",
            metavar="NAME",
            help="A DNS name or URI that its certificate has as a subject alternative name, "
            "exactly. Then it has no token. May be repeated.",
            show_default=False,
        ),
    ] = None,
    output: Output = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Let a service or an operator call, and print its token, once.

    wxauth keeps a digest of it only. The token alone is on standard output. For
    example:

    wxauth callers add orders --role service --output orders.token
    """
    names = tuple(dict.fromkeys(certificate_names or ()))
    _check(name, names)
    if names and output is not None:
        raise typer.BadParameter("--output is for a token, and --certificate-name makes none")
    configuration = load(config, data)
    _make_directory(configuration, named=data is not None)
    now_ms = SystemClock().now_ms()
    token = "" if names else new_token(CALLER_PREFIX)
    tokens = (CallerToken(digest_of(token), now_ms),) if token else ()
    caller = Caller(name, frozenset(roles), now_ms, tokens, names)
    with changing_callers(configuration.callers_file) as file:
        if file.book.named(name) is not None:
            raise CommandFailed(
                f"there is a caller {name} already: for a new token, run wxauth callers rotate "
                f"{name}; for other roles, wxauth callers set-roles {name}; to exchange a token "
                "for a certificate, or other names of one, add a second caller of another name "
                f"with --certificate-name, and revoke {name} once nobody uses it"
            )
        try:
            book = file.book.with_caller(caller).without_ended_tokens(now_ms)
        except ValueError as problem:  # ours: names only
            raise CommandFailed(f"{problem}; nothing was changed") from None
        hand_over(token, caller, file, book, output=output, as_json=as_json)
    proof = f"a certificate with the name {' or '.join(names)}" if names else "its token"
    say(
        f"{name} may call as {' and '.join(sorted(caller.roles))}, with {proof}.",
        where(token, output),
        what_next(configuration),
    )


app.command("list")(list_all)
app.command()(rotate)
app.command("set-roles", epilog=ROLES_HELP)(set_roles)
app.command()(revoke)


def _check(name: str, certificate_names: tuple[str, ...]) -> None:
    try:
        check_name(name)
        for certificate_name in certificate_names:
            check_certificate_name(certificate_name)
    except ValueError as problem:
        raise typer.BadParameter(str(problem)) from None


def _make_directory(configuration: Configuration, *, named: bool) -> None:
    """The data directory, on a machine without one; a directory that was named must be there."""
    directory = configuration.callers_file.parent
    if named or configuration.callers.file is not None:
        if not directory.is_dir():
            raise CommandFailed(
                f"there is no directory {directory}: make it, if it is the right one"
            )
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(
            f"the data directory {directory} cannot be made: {error.strerror}"
        ) from None
