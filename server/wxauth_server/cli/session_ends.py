"""`wxauth sessions end`: one session, all of an account, or all of a mini-program."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from wxauth.v1.admin_service_pb2 import EndSessionsRequest
from wxauth_server.cli.account_options import (
    OfAccount,
    OfAccountId,
    OfSource,
    account_filter,
    naming,
    say,
    sessions_ended,
)
from wxauth_server.cli.admin_connection import AdminRefused, ServerAddress, TokenFile, connect_admin
from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject, not_empty
from wxauth_server.cli.output import CommandFailed, print_json_object

if TYPE_CHECKING:
    from wxauth_server.rpc.admin_calls import AdminCalls


def end(
    handle: Annotated[
        str | None,
        typer.Argument(
            metavar="[HANDLE]",
            help="The session, as sessions list shows it. One that begins with a dash "
            "comes behind --.",
            show_default=False,
        ),
    ] = None,
    account: OfAccount = None,
    account_id: OfAccountId = None,
    source: OfSource = None,
    app_id: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="APPID",
            help="All sessions of this mini-program; asks first.",
            show_default=False,
            callback=not_empty,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --app: do not ask. Needed without a terminal.")
    ] = False,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """End sessions: one, all of an account, or all of a mini-program.

    Their users log in again, silently where the WeChat user is bound. To keep a user
    out, use wxauth accounts disable. For example:

    wxauth sessions end --account zhangsan
    """
    key = account_filter(account, account_id, source)
    if sum(scope is not None for scope in (handle, key, app_id)) != 1:
        raise typer.BadParameter("give one of HANDLE, --account, --account-id and --app")
    if yes and app_id is None:
        raise typer.BadParameter("--yes needs --app")
    if app_id is not None and not yes:
        _confirm(app_id)
    with connect_admin(config, data, server, token_file) as admin:
        if key is not None:
            with naming(admin, key):
                ended = admin.EndSessions(EndSessionsRequest(account=key)).sessions_ended
        elif app_id is not None:
            ended = _end_all_of_app(admin, app_id)
        else:
            ended = _end_one(admin, handle or "")
    if as_json:
        print_json_object({"sessions_ended": ended})
    else:
        say(f"{sessions_ended(ended)}.")


def _confirm(app_id: str) -> None:
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask whether you are sure: use --yes")
    typer.confirm(f"End all sessions of {app_id}?", abort=True, err=True)


def _end_one(admin: AdminCalls, handle: str) -> int:
    try:
        return admin.EndSessions(EndSessionsRequest(session_handle=handle)).sessions_ended
    except AdminRefused as error:
        if error.reason != "NOT_FOUND":
            raise
        raise CommandFailed(f"there is no session with the handle {handle!r}") from None


def _end_all_of_app(admin: AdminCalls, app_id: str) -> int:
    """A little at a time, so that logins go on meanwhile; what ended stays so after Ctrl-C."""
    ended = 0
    request = EndSessionsRequest(app_id=app_id)
    with _progress() as tell:
        while True:
            begun = time.monotonic()
            answer = admin.EndSessions(request)
            ended += answer.sessions_ended
            tell(ended)
            if not answer.more:
                return ended
            request.continue_token = answer.continue_token
            # Else a server on the same database might wait its 2 s for a turn in vain:
            # SQLite does not queue writers.
            time.sleep((time.monotonic() - begun) / 2)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """What is told how many have ended; shows it on a terminal."""
    err = Console(stderr=True)
    if not err.is_terminal:
        yield lambda _ended: None
        return
    # 0.05 s of imports that no other command needs.
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.completed:,} sessions ended")
    columns = (SpinnerColumn(), text, TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda ended: bar.update(task, completed=ended)
