"""`wxauth sessions`: who is logged in, and who was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.text import Text

from wxauth.v1.admin_service_pb2 import AdminServiceListSessionsRequest, SessionDetails
from wxauth_server.cli import session_ends
from wxauth_server.cli.account_options import (
    OfAccount,
    OfAccountId,
    OfSource,
    account_filter,
    time_ms,
)
from wxauth_server.cli.admin_connection import ServerAddress, TokenFile, connect_admin
from wxauth_server.cli.options import AsJson, ConfigFile, DataDirectory, Limit, not_empty
from wxauth_server.cli.output import print_json, print_table, readable, say_more
from wxauth_server.cli.pages import first_rows
from wxauth_server.clock import iso

app = typer.Typer(help="Who is logged in, and who was.", no_args_is_help=True)

_STATES: Mapping[SessionDetails.State.ValueType, str] = {
    SessionDetails.STATE_LIVE: "live",
    SessionDetails.STATE_EXPIRED: "expired",
    SessionDetails.STATE_ENDED: "ended",
    SessionDetails.STATE_UNSERVED: "unserved",
}


@app.command("list", epilog="For example: wxauth sessions list --account zhangsan --live")
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
    live: Annotated[bool, typer.Option("--live", help="Live ones only.")] = False,
    as_json: AsJson = False,
    limit: Limit = 100,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """List sessions, live and dead, the newest login first. Times are in UTC.

    A handle is a session's public name: it opens nothing. Last seen is written
    every few minutes at most.
    """
    key = account_filter(account, account_id, source)
    with connect_admin(config, data, server, token_file) as admin:

        def page(size: int, token: str) -> tuple[list[SessionDetails], str]:
            answer = admin.ListSessions(
                AdminServiceListSessionsRequest(
                    account=key, app_id=app_id or "", live=live, page_size=size, page_token=token
                )
            )
            return list(answer.sessions), answer.next_page_token

        shown, more = first_rows(limit, page)
    if as_json:
        print_json(map(_fields, shown))
    else:
        print_table(
            (
                *("HANDLE", "STATE", "ACCOUNT", "USERNAME", "LOGIN", "LAST SEEN"),
                *("DEVICE", "ADDRESS", "APP", "OPENID"),
            ),
            (
                (
                    session.session_handle,
                    _styled_state(session),
                    f"{session.account_source} {session.account_id}",
                    session.username,
                    readable(time_ms(session, "login_time")),
                    readable(time_ms(session, "last_seen_time")),
                    session.client_device,
                    session.client_address,
                    session.app_id,
                    session.openid,
                )
                for session in shown
            ),
        )
    if more:
        say_more(limit, as_json=as_json)


def _fields(session: SessionDetails) -> dict[str, object]:
    return {
        "handle": session.session_handle,
        "state": _STATES[session.state],
        "detail": _detail(session) or None,
        "account": {
            "source": session.account_source,
            "id": session.account_id,
            "username": session.username or None,
        },
        "app_id": session.app_id,
        "openid": session.openid,
        "login_at": iso(time_ms(session, "login_time")),
        "last_seen_at": iso(time_ms(session, "last_seen_time")),
        "ended_at": iso(time_ms(session, "end_time")),
        "client_address": session.client_address or None,
        "client_device": session.client_device or None,
    }


def _styled_state(session: SessionDetails) -> Text:
    state, detail = _STATES[session.state], _detail(session)
    text = f"{state} ({detail})" if detail else state
    return Text(text, style="green" if state == "live" else "dim")


def _detail(session: SessionDetails) -> str:
    if session.state == SessionDetails.STATE_UNSERVED:
        return "mini-program not configured"
    return session.detail


app.command()(session_ends.end)
