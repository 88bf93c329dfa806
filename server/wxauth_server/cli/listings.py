"""`wxauth bindings list` and `wxauth sessions list`."""

from __future__ import annotations

from typing import NamedTuple

import typer
from rich.text import Text

from wxauth_server.apps import Apps
from wxauth_server.auth.validate_session import check_live
from wxauth_server.cli.options import (
    AsJson,
    ConfigFile,
    DataDirectory,
    Limit,
    existing_store,
    load,
)
from wxauth_server.cli.output import iso, print_json, print_table, readable, say_more
from wxauth_server.clock import SystemClock
from wxauth_server.errors import SessionExpired, SessionRevoked
from wxauth_server.store.bindings import list_bindings
from wxauth_server.store.sessions import SessionRecord, list_sessions

bindings = typer.Typer(help="Which WeChat user is which account.", no_args_is_help=True)
sessions = typer.Typer(help="Who is logged in, and who was.", no_args_is_help=True)


class State(NamedTuple):
    """What a session is now: "live", "expired", "ended" or "unserved", and why."""

    name: str
    #: The limit that it reached, or the cause for which it was ended.
    detail: str = ""

    def styled(self) -> Text:
        text = f"{self.name} ({self.detail})" if self.detail else self.name
        return Text(text, style="green" if self.name == "live" else "dim")


def state_of(record: SessionRecord, apps: Apps, now_ms: int) -> State:
    """What a validation at `now_ms` would find."""
    app = apps.get(record.app_id)
    if app is None:
        return State("unserved", "mini-program not configured")
    try:
        check_live(record, app, now_ms)
    except SessionRevoked as dead:
        return State("ended", dead.metadata["cause"])
    except SessionExpired as dead:
        return State("expired", dead.metadata["limit"])
    return State("live")


# Typer wants a callback to keep a group of one command a group.
@bindings.callback()
def _bindings() -> None: ...


@sessions.callback()
def _sessions() -> None: ...


@bindings.command("list")
def list_all_bindings(
    config: ConfigFile = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """List bindings, the newest first. Times are in UTC."""
    with existing_store(load(config, data)) as store:
        found = store.read(lambda tx: list_bindings(tx, limit=limit + 1))
    shown = found[:limit]
    if as_json:
        print_json(
            {
                "app_id": binding.app_id,
                "openid": binding.openid,
                "unionid": binding.unionid,
                "account": {"source": binding.account_source, "id": binding.account_id},
                "bound_at": iso(binding.bound_at),
            }
            for binding in shown
        )
    else:
        print_table(
            ("APP", "OPENID", "ACCOUNT", "BOUND"),
            (
                (b.app_id, b.openid, f"{b.account_source} {b.account_id}", readable(b.bound_at))
                for b in shown
            ),
        )
    if len(found) > limit:
        say_more(limit, as_json=as_json)


@sessions.command("list")
def list_all_sessions(
    config: ConfigFile = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """List sessions, live and dead, the newest login first. Times are in UTC.

    A handle is a session's public name: it opens nothing. Last seen is written
    every few minutes at most.
    """
    configuration = load(config, data)
    apps = Apps(configuration.served_apps())
    with existing_store(configuration) as store:
        found = store.read(lambda tx: list_sessions(tx, limit=limit + 1))
    now_ms = SystemClock().now_ms()
    shown = [(record, state_of(record, apps, now_ms)) for record in found[:limit]]
    if as_json:
        print_json(_session_fields(record, state) for record, state in shown)
    else:
        print_table(
            ("HANDLE", "STATE", "ACCOUNT", "USERNAME", "LOGIN", "LAST SEEN", "APP", "OPENID"),
            (
                (
                    record.handle,
                    state.styled(),
                    f"{record.account_source} {record.account_id}",
                    record.username or "",
                    readable(record.login_at),
                    readable(record.last_seen_at),
                    record.app_id,
                    record.openid,
                )
                for record, state in shown
            ),
        )
    if len(found) > limit:
        say_more(limit, as_json=as_json)


def _session_fields(record: SessionRecord, state: State) -> dict[str, object]:
    return {
        "handle": record.handle,
        "state": state.name,
        "detail": state.detail or None,
        "account": {
            "source": record.account_source,
            "id": record.account_id,
            "username": record.username,
        },
        "app_id": record.app_id,
        "openid": record.openid,
        "login_at": iso(record.login_at),
        "last_seen_at": iso(record.last_seen_at),
        "ended_at": iso(record.ended_at),
    }
