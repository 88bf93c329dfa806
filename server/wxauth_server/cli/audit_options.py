"""Which events of the audit log a command is about."""

from __future__ import annotations

from typing import Annotated

import typer

from wxauth.v1.admin_service_pb2 import AccountKey, ListAuditEventsRequest
from wxauth_server.callers.caller import SERVER_ADMIN_NAME
from wxauth_server.cli.options import not_empty
from wxauth_server.store.audit import Event

Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help="Events of this name only, such as LOGIN_REFUSED; may be given several times. "
        "docs/audit-log.md lists them.",
        show_default=False,
    ),
]
Account = Annotated[
    str | None,
    typer.Option(
        "--account",
        metavar="USERNAME",
        help="Events about this account of our own store only.",
        show_default=False,
        callback=not_empty,
    ),
]
AccountId = Annotated[
    str | None,
    typer.Option(
        "--account-id",
        metavar="ID",
        help="Events about the account with this id only.",
        show_default=False,
        callback=not_empty,
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="The account source of --account-id. Default: local, our own store.",
        show_default=False,
        callback=not_empty,
    ),
]
App = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="APPID",
        help="Events of this mini-program only.",
        show_default=False,
        callback=not_empty,
    ),
]
Openid = Annotated[
    str | None,
    typer.Option(
        "--openid",
        metavar="OPENID",
        help="Events about this WeChat user only; needs --app.",
        show_default=False,
        callback=not_empty,
    ),
]
CallerName = Annotated[
    str | None,
    typer.Option(
        "--caller",
        metavar="NAME",
        help=f"What this caller of AdminService did only, such as ops-laptop; {SERVER_ADMIN_NAME} "
        "for the token of the server's data directory.",
        show_default=False,
        callback=not_empty,
    ),
]


def events_wanted(
    events: list[str] | None,
    account: str | None,
    account_id: str | None,
    source: str | None,
    app_id: str | None,
    openid: str | None,
    caller: str | None,
) -> ListAuditEventsRequest:
    """The request for what these options leave; the caller adds order and pages.

    Raises: typer.BadParameter for options that do not go together, and an unknown event.
    """
    names = list(dict.fromkeys(name.upper() for name in events or ()))
    for name in names:
        if name not in set(Event):
            raise typer.BadParameter(f"there is no event {name!r}: they are {', '.join(Event)}")
    if account is not None and account_id is not None:
        raise typer.BadParameter("give one of --account and --account-id")
    if source is not None and account_id is None:
        raise typer.BadParameter("--source needs --account-id")
    if openid is not None and app_id is None:
        raise typer.BadParameter("--openid needs --app")
    key = None
    if account is not None:
        key = AccountKey(username=account)
    elif account_id is not None:
        key = AccountKey(source=source or "", id=account_id)
    return ListAuditEventsRequest(
        events=names,
        account=key,
        app_id=app_id or "",
        openid=openid or "",
        caller=caller or "",
    )
