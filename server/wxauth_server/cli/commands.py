"""The commands put together, and what becomes of their errors."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from wxauth_client.file_watch import FileUnusable
from wxauth_server.accounts.passwords import PasswordRefused
from wxauth_server.accounts.sources.source_settings import SourceSettingsRefused
from wxauth_server.admin_token import AdminTokenUnusable
from wxauth_server.cli import (
    accounts,
    audit,
    bindings,
    callers,
    copy,
    dev,
    dev_ca,
    doctor,
    keys,
    migrate,
    sandbox,
    serve,
    sessions,
)
from wxauth_server.cli.output import CommandFailed, print_error
from wxauth_server.cli.secret_arguments import secret_refusal
from wxauth_server.errors import AuthError
from wxauth_server.keyring import KeyRingUnusable
from wxauth_server.logs import set_up_logs
from wxauth_server.server_lock import ServerLockFailed
from wxauth_server.settings import ConfigurationError
from wxauth_server.store.interface import StoreTooNew, StoreUnusable
from wxauth_server.transport_security import UnsafeToServe

#: What an operator can do something about. Their texts hold no secret.
_EXPECTED = (
    AdminTokenUnusable,
    AuthError,  # StoreUnavailable
    CommandFailed,
    ConfigurationError,
    FileUnusable,
    KeyRingUnusable,
    PasswordRefused,
    ServerLockFailed,
    SourceSettingsRefused,
    StoreTooNew,
    StoreUnusable,
    UnsafeToServe,
)

app = typer.Typer(
    name="wxauth",
    help="The authentication service for companies that open a WeChat mini-program.",
    epilog="New here? Run [bold]wxauth dev[/bold] and do what it prints.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # they would print local variables' lines: secrets
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        version = importlib.metadata.version("wxauth")
    except importlib.metadata.PackageNotFoundError:
        version = "(run from its source, not installed)"
    print(f"wxauth {version}")
    raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=_print_version,
            is_eager=True,
            show_default=False,
        ),
    ] = False,
) -> None:
    # Until a command that serves sets it up as configured.
    set_up_logs("text", "warning")


app.command(rich_help_panel="Run")(dev.dev)
app.command(rich_help_panel="Run")(serve.serve)
app.command(rich_help_panel="Run")(serve.gateway)
app.command(rich_help_panel="Run")(sandbox.sandbox)
app.command(rich_help_panel="Run")(dev_ca.dev_ca)
app.add_typer(accounts.app, name="accounts", rich_help_panel="Manage")
app.add_typer(bindings.app, name="bindings", rich_help_panel="Manage")
app.add_typer(sessions.app, name="sessions", rich_help_panel="Manage")
app.add_typer(audit.app, name="audit", rich_help_panel="Manage")
app.add_typer(callers.app, name="callers", rich_help_panel="Manage")
app.add_typer(keys.app, name="keys", rich_help_panel="Manage")
app.command(rich_help_panel="Manage")(migrate.migrate)
app.command(rich_help_panel="Manage")(copy.copy)
app.command(rich_help_panel="Manage")(doctor.doctor)


def run() -> int:
    """Run the command of the arguments; the exit status. May also raise SystemExit."""
    if refusal := secret_refusal(sys.argv[1:]):
        print_error(refusal)
        return 2
    try:
        app(prog_name="wxauth")
    except _EXPECTED as error:
        print_error(str(error))
        return 1
    return 0
