"""`wxauth bindings`: which WeChat user is which account."""

from __future__ import annotations

from typing import Annotated

import typer

from wxauth.v1.admin_service_pb2 import Binding, EndBindingRequest, ListBindingsRequest
from wxauth_server.cli.account_options import (
    OfAccount,
    OfAccountId,
    OfSource,
    account_filter,
    say,
    sessions_ended,
    time_ms,
)
from wxauth_server.cli.admin_connection import AdminRefused, ServerAddress, TokenFile, connect_admin
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
    print_table,
    readable,
    say_more,
)
from wxauth_server.cli.pages import first_rows
from wxauth_server.clock import iso

app = typer.Typer(help="Which WeChat user is which account.", no_args_is_help=True)


@app.command("list", epilog="For example: wxauth bindings list --account zhangsan")
def list_all(
    account: OfAccount = None,
    account_id: OfAccountId = None,
    source: OfSource = None,
    app_id: Annotated[
        str | None,
        typer.Option(
            "--app",
            metavar="APPID",
            help="Of this mini-program only.",
            show_default=False,
            callback=not_empty,
        ),
    ] = None,
    openid: Annotated[
        str | None,
        typer.Option(
            "--openid",
            metavar="OPENID",
            help="Of this WeChat user only; needs --app.",
            show_default=False,
            callback=not_empty,
        ),
    ] = None,
    as_json: AsJson = False,
    limit: Limit = 100,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """List bindings in the order of AppId and openid. Times are in UTC."""
    if openid is not None and app_id is None:
        raise typer.BadParameter("--openid needs --app")
    key = account_filter(account, account_id, source)
    with connect_admin(config, data, server, token_file) as admin:

        def page(size: int, token: str) -> tuple[list[Binding], str]:
            answer = admin.ListBindings(
                ListBindingsRequest(
                    account=key,
                    app_id=app_id or "",
                    openid=openid or "",
                    page_size=size,
                    page_token=token,
                )
            )
            return list(answer.bindings), answer.next_page_token

        shown, more = first_rows(limit, page)
    if as_json:
        print_json(map(_fields, shown))
    else:
        print_table(
            ("APP", "OPENID", "ACCOUNT", "BOUND"),
            (
                (
                    binding.app_id,
                    binding.openid,
                    f"{binding.account_source} {binding.account_id}",
                    readable(time_ms(binding, "bind_time")),
                )
                for binding in shown
            ),
        )
    if more:
        say_more(limit, as_json=as_json)


@app.command(epilog="For example: wxauth bindings end wx0123456789abcdef oABCDEFGHIJKLMNOP")
def end(
    app_id: Annotated[
        str, typer.Argument(metavar="APPID", help="The mini-program.", show_default=False)
    ],
    openid: Annotated[
        str, typer.Argument(metavar="OPENID", help="The WeChat user.", show_default=False)
    ],
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """End a binding and all sessions of the WeChat user in that mini-program.

    Such as for a user who has lost their WeChat account. Whoever comes with that
    WeChat again needs username and password.
    """
    with connect_admin(config, data, server, token_file) as admin:
        try:
            answer = admin.EndBinding(EndBindingRequest(app_id=app_id, openid=openid))
        except AdminRefused as error:
            if error.reason != "NOT_FOUND":
                raise
            raise CommandFailed(f"{openid} has no binding in {app_id}") from None
    if as_json:
        fields: dict[str, object] = {"binding": _fields(answer.binding)}
        print_json_object(fields | {"sessions_ended": answer.sessions_ended})
        return
    account = f"{answer.binding.account_source} {answer.binding.account_id}"
    say(f"Ended the binding to the account {account}; {sessions_ended(answer.sessions_ended)}.")


def _fields(binding: Binding) -> dict[str, object]:
    return {
        "app_id": binding.app_id,
        "openid": binding.openid,
        "unionid": binding.unionid or None,
        "account": {"source": binding.account_source, "id": binding.account_id},
        "bound_at": iso(time_ms(binding, "bind_time")),
    }
