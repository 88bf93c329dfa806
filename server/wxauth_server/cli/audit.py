"""`wxauth audit`: what was decided about whom. Reads only; works while a server runs."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from wxauth.v1.admin_service_pb2 import AuditEvent, ListAuditEventsRequest
from wxauth_server.cli.admin_connection import AdminRefused, ServerAddress, TokenFile, connect_admin
from wxauth_server.cli.audit_lines import json_line, table_head, table_line
from wxauth_server.cli.audit_options import (
    Account,
    AccountId,
    App,
    CallerName,
    Events,
    Openid,
    Source,
    events_wanted,
)
from wxauth_server.cli.audit_progress import export_progress
from wxauth_server.cli.moments import parse_moment
from wxauth_server.cli.options import ConfigFile, DataDirectory
from wxauth_server.cli.output import CommandFailed, console, print_error
from wxauth_server.cli.private_output import private_output
from wxauth_server.clock import SystemClock
from wxauth_server.rpc.admin_calls import AdminCalls

app = typer.Typer(help="Who did what when: the log of decisions.", no_args_is_help=True)

#: Seconds between two looks of --follow.
FOLLOW_INTERVAL_S = 0.5
#: The largest page: what an export holds in memory at a time.
PAGE = 500
#: So many ids back is looked for events that come late: on PostgreSQL an event has its id
#: before its transaction ends, and others with larger ids may be seen before it.
LATE_IDS = 500
#: So long after the newest event, seconds; more than a transaction takes.
LATE_S = 10.0


@app.command()
def tail(
    number: Annotated[
        int,
        typer.Option("-n", metavar="N", help="Begin with the last N events.", min=0, max=10_000),
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")
    ] = False,
    events: Events = None,
    account: Account = None,
    account_id: AccountId = None,
    source: Source = None,
    app_id: App = None,
    openid: Openid = None,
    caller: CallerName = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line instead of a table.")
    ] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Show the last events, the newest at the end. Times are in UTC.

    A WeChat user is shown as a digest: the same user has the same one. Events that
    are counted show the count they had when they were first written.
    """
    wanted = events_wanted(events, account, account_id, source, app_id, openid, caller)
    out = console()

    def show(event: AuditEvent) -> None:
        if as_json:
            print(json_line(event))
        else:
            out.print(table_line(event), soft_wrap=True)

    with connect_admin(config, data, server, token_file) as admin:
        seen_to = _newest_id(admin)
        newest = list(itertools.islice(_events(admin, wanted, number), number))
        if not as_json:
            out.print(table_head(), soft_wrap=True)
        for event in reversed(newest):
            show(event)
        sys.stdout.flush()
        if follow:
            with contextlib.suppress(KeyboardInterrupt):
                _follow(admin, wanted, max([seen_to, *(event.id for event in newest)]), show)


@app.command()
def export(
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Events from this time on: 2026-03-01, 2026-03-01T08:00+08:00 (UTC without an "
            "offset), or 30m, 12h, 7d for so long ago.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="Events before this time.", show_default=False
        ),
    ] = None,
    after_id: Annotated[
        int,
        typer.Option(
            "--after-id",
            metavar="ID",
            help="Events with a larger id only: what came since the last event of an export.",
            min=0,
            show_default=False,
        ),
    ] = 0,
    events: Events = None,
    account: Account = None,
    account_id: AccountId = None,
    source: Source = None,
    app_id: App = None,
    openid: Openid = None,
    caller: CallerName = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to FILE, mode 0600, which is replaced whole or not at all. "
            "Default: standard output.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Write events as JSON, one object a line, the oldest first. Times are in UTC.

    For example, all refused logins of the last week:

    wxauth audit export --since 7d --event LOGIN_REFUSED --output refused.jsonl
    """
    wanted = events_wanted(events, account, account_id, source, app_id, openid, caller)
    wanted.after_id = after_id
    wanted.oldest_first = True
    now_ms = end_ms = SystemClock().now_ms()
    if since is not None:
        wanted.since.CopyFrom(parse_moment(since, now_ms=now_ms))
    if until is not None:
        wanted.until.CopyFrom(parse_moment(until, now_ms=now_ms))
        end_ms = min(end_ms, wanted.until.ToMilliseconds())
    # On a terminal that shows the events themselves a bar would be in their way.
    bar = output is not None or not sys.stdout.isatty()
    count = 0
    with (
        connect_admin(config, data, server, token_file) as admin,
        private_output(output) if output else contextlib.nullcontext(sys.stdout) as file,
        export_progress(end_ms, shown=bar) as progress,
    ):
        for event in _events(admin, wanted, PAGE):
            file.write(json_line(event) + "\n")
            count += 1
            if count % PAGE == 0:
                progress(event, count)
    where = f" to {output}" if output else ""
    print(f"Exported {count} event{'' if count == 1 else 's'}{where}.", file=sys.stderr)


def _events(
    admin: AdminCalls, wanted: ListAuditEventsRequest, page_size: int
) -> Iterator[AuditEvent]:
    """All that is wanted, a page at a time."""
    request = ListAuditEventsRequest()
    request.CopyFrom(wanted)
    request.page_size = max(1, min(page_size, PAGE))
    while True:
        answer = admin.ListAuditEvents(request)
        yield from answer.events
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _newest_id(admin: AdminCalls) -> int:
    """Of all events; 0 without any."""
    answer = admin.ListAuditEvents(ListAuditEventsRequest(page_size=1))
    return max((event.id for event in answer.events), default=0)


def _follow(
    admin: AdminCalls,
    wanted: ListAuditEventsRequest,
    seen_to: int,
    show: Callable[[AuditEvent], None],
) -> None:
    """Show what is wanted of the events that come, for ever."""
    request = ListAuditEventsRequest()
    request.CopyFrom(wanted)
    request.oldest_first = True
    request.after_id = max(0, seen_to - LATE_IDS)
    seen = {event.id for event in _events(admin, request, PAGE) if event.id <= seen_to}
    until_s = 0.0
    failing = False
    while True:
        pause_s = FOLLOW_INTERVAL_S
        try:
            # Asked for first, so that nothing that is not wanted is read again and again.
            newest = _newest_id(admin)
            if newest > seen_to:
                until_s = time.monotonic() + LATE_S
            if time.monotonic() < until_s:
                request.after_id = max(0, seen_to - LATE_IDS)
                for event in _events(admin, request, PAGE):
                    if event.id not in seen:
                        show(event)
                        seen.add(event.id)
                        seen_to = max(seen_to, event.id)
                seen_to = max(seen_to, newest)
                seen = {number for number in seen if number > seen_to - LATE_IDS}
                sys.stdout.flush()
            failing = False
        except CommandFailed as error:  # such as a server that restarts
            if isinstance(error, AdminRefused):
                if error.retry_after_s is None:
                    raise
                pause_s = max(pause_s, error.retry_after_s)
            if not failing:
                print_error(f"{error} (waiting)")
            failing = True
        time.sleep(pause_s)
