"""`wxauth accounts set-password`, `set-phone` and `set-username`."""

from __future__ import annotations

from typing import Annotated

import typer

from wxauth.v1.admin_service_pb2 import (
    GetAccountRequest,
    SetPasswordRequest,
    SetPhoneRequest,
    SetUsernameRequest,
)
from wxauth_server.cli.account_options import (
    AccountId,
    Username,
    account_fields,
    account_key,
    named_account,
    naming,
    phone_text,
    require_user,
    say,
    sessions_ended,
)
from wxauth_server.cli.admin_connection import AdminRefused, ServerAddress, TokenFile, connect_admin
from wxauth_server.cli.new_password import HashStdin, PasswordStdin, read_secret
from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject
from wxauth_server.cli.output import CommandFailed, print_json_object


def set_password(
    username: Username = None,
    account_id: AccountId = None,
    password_stdin: PasswordStdin = False,
    hash_stdin: HashStdin = False,
    keep_session: Annotated[
        str | None,
        typer.Option(
            "--keep-session",
            metavar="HANDLE",
            help="The session that goes on, such as the one in which the user changed it.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Set another password and end all sessions of the account.

    Failed attempts on its username are forgotten, as unlock does.
    """
    key = account_key(username, account_id)
    if password_stdin and hash_stdin:
        raise typer.BadParameter("give one of --password-stdin and --hash-stdin")
    with connect_admin(config, data, server, token_file) as admin, naming(admin, key):
        # Before anything is typed.
        require_user(admin.GetAccount(GetAccountRequest(account=key)).account)
        answer = admin.SetPassword(
            SetPasswordRequest(
                account=key,
                keep_session_handle=keep_session or "",
                **read_secret(password_stdin, hash_stdin),
            )
        )
    if as_json:
        fields = {"account": account_fields(answer.account)}
        print_json_object(fields | {"sessions_ended": answer.sessions_ended})
        return
    ended = sessions_ended(answer.sessions_ended)
    say(f"Set the password of {named_account(answer.account)}; {ended}.")
    if not answer.account.username:
        say("nobody can log in with it: the account has no username.")


def set_phone(
    username: Username = None,
    account_id: AccountId = None,
    phone: Annotated[
        str | None,
        typer.Option(
            "--phone", metavar="E.164", help="Such as +8613800138000.", show_default=False
        ),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Remove the number.")] = False,
    verified: Annotated[
        bool,
        typer.Option(
            "--verified", help="The number is known, as of now, to be this user's: see above."
        ),
    ] = False,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Set, correct or remove an account's phone number.

    In mini-programs with bind_by_phone a verified number stands for the password:
    a WeChat user who has that number is bound to the account. Without --verified
    the number is not, or no longer, a verified one. Bindings and sessions stay.
    """
    key = account_key(username, account_id)
    if (phone is None) != none:
        raise typer.BadParameter("give one of --phone and --none")
    if none and verified:
        raise typer.BadParameter("--verified needs --phone")
    if phone == "":
        raise CommandFailed("the phone number is empty: --none removes one")
    with connect_admin(config, data, server, token_file) as admin, naming(admin, key):
        answer = admin.SetPhone(SetPhoneRequest(account=key, phone=phone or "", verified=verified))
    if as_json:
        fields = {"account": account_fields(answer.account)}
        print_json_object(fields | {"changed": answer.changed})
        return
    state = f"the phone number {phone_text(answer.account)}" if phone else "no phone number"
    say(f"{named_account(answer.account)} has {state}{'' if answer.changed else ' already'}.")


def set_username(
    new_username: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="NEW_USERNAME",
            help="The name to log in with from now on; at most 256 bytes.",
            show_default=False,
        ),
    ],
    username: Username = None,
    account_id: AccountId = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Give an account another username, or one if it has none. Its sessions stay.

    For example: wxauth accounts set-username zhangsan --to zhang.san
    """
    key = account_key(username, account_id)
    with connect_admin(config, data, server, token_file) as admin, naming(admin, key):
        try:
            answer = admin.SetUsername(SetUsernameRequest(account=key, username=new_username))
        except AdminRefused as error:
            if error.reason != "ACCOUNT_EXISTS":
                raise
            raise CommandFailed(
                f"there is an account with the username {new_username!r} already"
            ) from None
    if as_json:
        fields = {"account": account_fields(answer.account)}
        print_json_object(fields | {"changed": answer.changed})
        return
    already = "" if answer.changed else " already"
    say(f"the account {answer.account.id} has the username {answer.account.username}{already}.")
