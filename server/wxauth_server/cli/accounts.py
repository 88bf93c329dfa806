"""`wxauth accounts`: the company's accounts. Works while a server runs on the data directory."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from wxauth.v1.admin_service_pb2 import (
    AccountDetails,
    CreateAccountRequest,
    GetAccountRequest,
    ListAccountsRequest,
)
from wxauth_server.cli import account_access, account_changes
from wxauth_server.cli.account_options import (
    AccountId,
    Source,
    Username,
    account_fields,
    account_key,
    naming,
    phone_text,
    say,
    time_ms,
)
from wxauth_server.cli.admin_connection import AdminRefused, ServerAddress, TokenFile, connect_admin
from wxauth_server.cli.import_accounts import import_accounts
from wxauth_server.cli.new_password import HashStdin, PasswordStdin, Secret, read_secret
from wxauth_server.cli.options import (
    AsJson,
    ConfigFile,
    DataDirectory,
    JsonObject,
    Limit,
    not_empty,
)
from wxauth_server.cli.output import (
    CommandFailed,
    print_json,
    print_json_object,
    print_pairs,
    print_table,
    readable,
    say_more,
)
from wxauth_server.cli.pages import first_rows

app = typer.Typer(help="The company's accounts.", no_args_is_help=True)
app.command("import")(import_accounts)


@app.command(
    epilog="For example: wxauth accounts add zhangsan --id 10001 --name 张三, or in a script: "
    "… | wxauth accounts add zhangsan --id 10001 --password-stdin"
)
def add(
    username: Annotated[
        str,
        typer.Argument(
            metavar="USERNAME",
            help="The name to log in with; at most 256 bytes.",
            show_default=False,
        ),
    ],
    account_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="The company's own user id; at most 128 bytes. Default: a random one.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The name to show.", show_default=False),
    ] = None,
    phone: Annotated[
        str | None,
        typer.Option(
            "--phone", metavar="E.164", help="Such as +8613800138000.", show_default=False
        ),
    ] = None,
    phone_verified: Annotated[
        bool,
        typer.Option(
            "--phone-verified",
            help="The phone number is known to be this user's: it may stand for the password "
            "in mini-programs with bind_by_phone.",
        ),
    ] = False,
    password_stdin: PasswordStdin = False,
    hash_stdin: HashStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="No password: it cannot be used to log in yet.")
    ] = False,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Add an account. Asks for its password, twice, unless told where it comes from."""
    if sum((password_stdin, hash_stdin, no_password)) > 1:
        raise typer.BadParameter("give one of --password-stdin, --hash-stdin and --no-password")
    if account_id == "":
        raise CommandFailed("the id is empty")
    with connect_admin(config, data, server, token_file, may_create=True) as admin:
        secret: Secret = {} if no_password else read_secret(password_stdin, hash_stdin)
        try:
            added = admin.CreateAccount(
                CreateAccountRequest(
                    id=account_id or "",
                    username=username,
                    display_name=name or "",
                    phone=phone or "",
                    phone_verified=phone_verified,
                    **secret,
                )
            ).account
        except AdminRefused as error:
            if error.reason != "ACCOUNT_EXISTS":
                raise
            taken = account_id if error.field == "id" else username
            raise CommandFailed(
                f"there is an account with the {error.field} {taken!r} already"
            ) from None
    if as_json:
        print_json_object({"account": account_fields(added)})
    else:
        say(f"Added the account {username} with the id {added.id}.")


@app.command("list", epilog="For example: wxauth accounts list --limit 20")
def list_all(
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
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those whose users have left, in place of the others.")
    ] = False,
    as_json: AsJson = False,
    limit: Limit = 100,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """List accounts in the order of their ids. Times are in UTC.

    Of another source than our own store those are listed that wxauth has heard of.
    """
    with connect_admin(config, data, server, token_file) as admin:

        def page(size: int, token: str) -> tuple[list[AccountDetails], str]:
            answer = admin.ListAccounts(
                ListAccountsRequest(
                    source=source or "", deleted=deleted, page_size=size, page_token=token
                )
            )
            return list(answer.accounts), answer.next_page_token

        shown, more = first_rows(limit, page)
    if as_json:
        print_json(map(account_fields, shown))
    else:
        print_table(
            ("ID", "USERNAME", "NAME", "PHONE", "PASSWORD", "STATE", "ADDED"),
            (
                (
                    account.id,
                    account.username,
                    account.display_name,
                    phone_text(account),
                    _password(account),
                    _state(account),
                    readable(time_ms(account, "create_time")),
                )
                for account in shown
            ),
        )
    if more:
        say_more(limit, as_json=as_json)


@app.command(epilog="For example: wxauth accounts show zhangsan")
def show(
    username: Username = None,
    account_id: AccountId = None,
    source: Source = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Show an account, also one whose user has left. Times are in UTC."""
    key = account_key(username, account_id, source)
    with connect_admin(config, data, server, token_file) as admin, naming(admin, key):
        account = admin.GetAccount(GetAccountRequest(account=key)).account
    if as_json:
        print_json_object(account_fields(account))
        return
    print_pairs(
        (
            ("Source", account.source),
            ("Id", account.id),
            ("Username", account.username),
            ("Name", account.display_name),
            ("Phone", phone_text(account)),
            ("Password", _password(account)),
            ("State", _state(account)),
            ("Added", readable(time_ms(account, "create_time"))),
        )
    )


def _password(account: AccountDetails) -> str | Text:
    if account.password_locked:
        return Text("locked", "red")
    return "yes" if account.has_password else "no"


def _state(account: AccountDetails) -> Text:
    if account.HasField("delete_time"):
        return Text(f"left {readable(time_ms(account, 'delete_time'))}", "dim")
    if account.HasField("disable_time"):
        return Text(f"disabled {readable(time_ms(account, 'disable_time'))}", "yellow")
    return Text("enabled", "green")


app.command()(account_changes.set_password)
app.command()(account_changes.set_phone)
app.command()(account_changes.set_username)
app.command()(account_access.disable)
app.command()(account_access.enable)
app.command()(account_access.unlock)
