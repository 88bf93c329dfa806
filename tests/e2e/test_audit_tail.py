"""`wxauth audit tail`: real processes on a real database."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.audit_log import APP, NOON, Log, audit_log
from tests.wxauth_command import (
    PATIENCE_S,
    WXAUTH,
    RunningCommand,
    done_well,
    environment,
    refused,
    running,
    wxauth,
)
from wxauth_server.digests import OpenidDigests
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sqlite import DATABASE_NAME


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with audit_log(tmp_path) as opened:
        yield opened


def tailed(log: Log, *arguments: str) -> list[int]:
    said = done_well(wxauth("audit", "tail", "--json", *arguments, cwd=log.cwd))
    return [json.loads(line)["id"] for line in said.splitlines()]


def test_the_last_events_the_newest_at_the_end(log: Log) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(700):
            event = Event.LOGOUT if number % 7 == 0 else Event.LOGIN
            record_event(tx, event, now_ms=NOON + number)

    log.store.write(fill)
    assert tailed(log) == list(range(681, 701))
    assert tailed(log, "-n", "600") == list(range(101, 701))
    assert tailed(log, "-n", "0") == []
    assert tailed(log, "-n", "3", "--event", "LOGOUT") == [680, 687, 694]


def test_the_table(log: Log) -> None:
    log.fill()
    digest = OpenidDigests(log.keyring).of(APP, "oOne")
    head, login, refusal, imported, other = done_well(
        wxauth("audit", "tail", cwd=log.cwd)
    ).splitlines()
    assert re.split("  +", head) == [
        *("TIME", "EVENT", "REASON", "COUNT", "BY", "APP", "ACCOUNT"),
        *("WECHAT USER", "SESSION", "FROM"),
    ]
    assert login.split() == [
        *("2026-09-21T14:14:00.000Z", "LOGIN", "1", "user", APP, "local/10001"),
        *(digest[:12], "h" * 22, "192.0.2.1"),
    ]
    for line, word, header in (
        (refusal, "CREDENTIALS_INVALID", "REASON"),
        (imported, "250", "COUNT"),
        (imported, "admin/ops-laptop", "BY"),
        (other, "crm/10001", "ACCOUNT"),
    ):
        assert line.index(word) == head.index(header)


def test_an_empty_log(log: Log) -> None:
    assert tailed(log) == []
    [head] = done_well(wxauth("audit", "tail", cwd=log.cwd)).splitlines()
    assert head.startswith("TIME")


def test_a_narrow_terminal_breaks_no_line(log: Log) -> None:
    """What it cannot show it wraps itself; a fold of ours would be a second line."""
    log.fill()
    primary, secondary = pty.openpty()
    with closing(os.fdopen(primary, "rb", buffering=0)) as terminal:
        done = subprocess.run(
            [*WXAUTH, "audit", "tail"],
            cwd=log.cwd,
            env=environment({"COLUMNS": "40", "TERM": "xterm"}),
            stdin=subprocess.DEVNULL,
            stdout=secondary,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_S,
        )
        said = terminal.read(65_536).decode()
        os.close(secondary)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(said.splitlines()) == 5


def test_wrong_usage_is_explained(tmp_path: Path) -> None:
    for arguments in (("-n", "-1"), ("-n", "10001"), ("--openid", "oOne"), ("--since", "1d")):
        done = wxauth("audit", "tail", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert arguments[0] in done.stderr


# --- Follow -------------------------------------------------------------------


def wait_for_event(command: RunningCommand, event_id: int) -> None:
    command.wait_for(f'{{"id": {event_id},')


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_follow_shows_what_comes(log: Log, end: signal.Signals) -> None:
    log.fill()
    with running("audit", "tail", "-n", "1", "--follow", "--json", cwd=log.cwd) as command:
        wait_for_event(command, 4)
        log.record(Event.LOGOUT)
        wait_for_event(command, 5)
        for _ in range(600):  # more than a page
            log.record(Event.LOGIN)
        wait_for_event(command, 605)
        status = command.stop(end)
    assert [json.loads(line)["id"] for line in command.out] == list(range(4, 606))
    assert command.err == []
    assert status == (0 if end is signal.SIGINT else -signal.SIGTERM)


def test_follow_shows_what_was_asked_for_only(log: Log) -> None:
    arguments = ("--event", "LOGOUT", "--app", APP)
    with running("audit", "tail", "-f", "--json", *arguments, cwd=log.cwd) as command:
        log.record(Event.LOGOUT, app_id=APP)
        wait_for_event(command, 1)
        log.record(Event.LOGIN, app_id=APP)
        log.record(Event.LOGOUT, app_id="wxother")
        log.record(Event.LOGOUT, app_id=APP)
        wait_for_event(command, 4)
        assert command.stop() == 0
    assert [json.loads(line)["id"] for line in command.out] == [1, 4]


def test_follow_in_a_table(log: Log) -> None:
    with running("audit", "tail", "-f", cwd=log.cwd) as command:
        head = command.wait_for("TIME ")
        for reason in ("THROTTLED", "ACCOUNT_SOURCE_UNAVAILABLE"):
            log.record(Event.LOGIN_REFUSED, reason=reason, app_id=APP)
            line = command.wait_for(reason)
            assert line.index(reason) == head.index("REASON")
            assert line.index(APP) == head.index("APP")
        assert command.stop() == 0


def test_follow_waits_for_a_store_that_fails(log: Log) -> None:
    """And says so once."""
    log.record(Event.LOGIN)
    with running("audit", "tail", "-f", "--json", cwd=log.cwd) as command:
        wait_for_event(command, 1)
        with closing(sqlite3.connect(log.cwd / ".wxauth" / DATABASE_NAME)) as other:
            other.execute("ALTER TABLE audit_events RENAME TO elsewhere")
            command.wait_for("(waiting)")
            other.execute("ALTER TABLE elsewhere RENAME TO audit_events")
        log.record(Event.LOGOUT)
        wait_for_event(command, 2)
        assert command.stop() == 0
    assert len([line for line in command.err if "(waiting)" in line]) == 1


# --- Through a server ---------------------------------------------------------


def test_a_server_says_the_same(log: Log) -> None:
    """Reading the directory itself, and through AdminService with its token."""
    log.fill()
    listen = {"WXAUTH_GRPC__LISTEN": "127.0.0.1:0", "WXAUTH_AUDIT__KEEP_DAYS": "0"}
    with running("serve", cwd=log.cwd, variables=listen) as server:
        ready = re.search(r'"address": "([^"]+)"', server.wait_for('"event": "ready"'))
        assert ready
        through = ("--server", ready[1])
        for command in (
            ("tail",),
            ("tail", "--json", "-n", "2"),
            ("export", "--account", "zhangsan"),
            ("export", "--since", "2026-09-22", "--event", "LOGIN_REFUSED"),
            ("export", "--app", APP, "--openid", "oOne"),
        ):
            direct = wxauth("audit", *command, cwd=log.cwd)
            asked = wxauth("audit", *command, *through, cwd=log.cwd)
            assert direct.returncode == 0
            assert direct.stdout
            assert (asked.returncode, asked.stdout, asked.stderr) == (
                direct.returncode,
                direct.stdout,
                direct.stderr,
            )
        wrong = log.cwd / "wrong.token"
        wrong.write_text("wxa_" + "A" * 43)
        wrong.chmod(0o600)
        refused(wxauth("audit", "tail", *through, "--token-file", wrong, cwd=log.cwd), "token")
        nobody = ("--account", "nobody")
        direct = wxauth("audit", "export", *nobody, cwd=log.cwd)
        asked = wxauth("audit", "export", *nobody, *through, cwd=log.cwd)
        assert refused(direct, "no account has this username") == refused(asked)
