"""`wxauth accounts disable`, `enable` and `unlock`."""

from __future__ import annotations

from typing import Annotated

import typer

from wxauth.v1.admin_service_pb2 import (
    DisableAccountRequest,
    EnableAccountRequest,
    UnlockAccountRequest,
)
from wxauth_server.cli.account_options import (
    AccountId,
    Source,
    Username,
    account_fields,
    account_key,
    named_account,
    naming,
    say,
    sessions_ended,
)
from wxauth_server.cli.admin_connection import ServerAddress, TokenFile, connect_admin
from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject, not_empty
from wxauth_server.cli.output import print_json_object


def disable(
    username: Username = None,
    account_id: AccountId = None,
    source: Source = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Let an account log in no more, and end all its sessions.

    An account of another source that wxauth has not heard of is remembered as
    disabled. For example: wxauth accounts disable --source crm --id 10001
    """
    key = account_key(username, account_id, source)
    with connect_admin(config, data, server, token_file) as admin, naming(admin, key):
        answer = admin.DisableAccount(DisableAccountRequest(account=key))
    if as_json:
        fields = {"account": account_fields(answer.account), "changed": answer.changed}
        print_json_object(fields | {"sessions_ended": answer.sessions_ended})
    elif answer.changed:
        ended = sessions_ended(answer.sessions_ended)
        say(f"Disabled {named_account(answer.account)}; {ended}.")
    else:
        say(f"{named_account(answer.account)} is disabled already.")


def enable(
    username: Username = None,
    account_id: AccountId = None,
    source: Source = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Let a disabled account log in again. Sessions that ended stay so."""
    key = account_key(username, account_id, source)
    with connect_admin(config, data, server, token_file) as admin, naming(admin, key):
        answer = admin.EnableAccount(EnableAccountRequest(account=key))
    if as_json:
        fields = {"account": account_fields(answer.account)}
        print_json_object(fields | {"changed": answer.changed})
    elif answer.changed:
        say(f"Enabled {named_account(answer.account)}.")
    else:
        say(f"{named_account(answer.account)} is enabled already.")


def unlock(
    username: Annotated[
        str,
        typer.Argument(metavar="USERNAME", help="The name that was tried.", show_default=False),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="SOURCE",
            help="The account source. Default: local, our own store.",
            show_default=False,
            callback=not_empty,
        ),
    ] = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Forget the failed attempts on a username.

    No WeChat user waits for it any more, and a password that was put out of use by
    too many wrong ones can be used again.
    """
    with connect_admin(config, data, server, token_file) as admin:
        answer = admin.UnlockAccount(UnlockAccountRequest(source=source or "", username=username))
    if as_json:
        print_json_object({"changed": answer.changed})
    elif answer.changed:
        say(f"Forgot the failed attempts on {username}.")
    else:
        say(f"nothing was held against {username}.")
