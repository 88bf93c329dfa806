"""`wxauth copy`: users stay logged in, and an interrupted copy leaves nothing."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import psycopg
import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP, PASSWORD
from tests.e2e.test_docs import DOCS, Stack, commands_of, run_in_one_shell, same
from tests.pgserver import OWNER_PASSWORD, PostgresProcess
from tests.running_server import refused as refusal
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import (
    PATIENCE_S,
    done_well,
    ready,
    refused,
    running,
    wxauth,
)
from wxauth.v1.auth_service_pb2 import LoginRequest, LogoutRequest, ValidateSessionRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.config import DEMO_APP_ID

TO_POSTGRESQL = ("copy", "--from", "sqlite", "--to", "postgresql")
TO_SQLITE = ("copy", "--from", "postgresql", "--to", "sqlite")
#: Enough for a copy to be met in the middle.
SESSIONS = 20_000


@pytest.fixture
def work(data: Path, store_postgres: PostgresProcess) -> Path:
    """A grown installation, and a configuration that names an empty PostgreSQL too."""
    return prepared(data, store_postgres)


def prepared(work: Path, server: PostgresProcess) -> Path:
    CANARY.keep(OWNER_PASSWORD)
    name_postgresql(work, server.new_url(migrated=False))
    assert "schema 5 now" in done_well(wxauth("migrate", cwd=work))
    return work


def name_postgresql(work: Path, url: str | None) -> None:
    """Have the configuration name a PostgreSQL, or none."""
    file = work / "database.url"
    file.write_text(url or "")
    file.chmod(0o600)
    (work / "wxauth.toml").write_text(
        "[grpc]\nlame_duck_s = 0\n[store]\n" + ("url_file = 'database.url'\n" if url else "")
    )


def url_of(work: Path) -> str:
    return (work / "database.url").read_text()


@contextmanager
def serving(work: Path, sandbox: RunningSandbox) -> Iterator[AuthServiceStub]:
    variables = CHEAP | {"WXAUTH_WECHAT__BASE_URL": sandbox.base_url}
    with running("serve", "--grpc", ANY_PORT, cwd=work, variables=variables) as server:
        with grpc.insecure_channel(ready(server)) as channel:
            yield AuthServiceStub(channel)
        assert server.stop() == 0
        assert "Traceback" not in server.said()


def test_users_stay_logged_in_there_and_back(work: Path, sandbox: RunningSandbox) -> None:
    url = url_of(work)

    def log_in(server: AuthServiceStub, username: str = "", password: str = "") -> str:
        code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "a user who moves"))
        asked = LoginRequest(app_id=DEMO_APP_ID, code=code, username=username, password=password)
        return CANARY.keep(server.Login(asked, timeout=10).session_id)

    def account_of(server: AuthServiceStub, session_id: str) -> str:
        asked = ValidateSessionRequest(session_id=session_id)
        return server.ValidateSession(asked, timeout=10).account.username

    def cause(server: AuthServiceStub, session_id: str) -> str:
        asked = ValidateSessionRequest(session_id=session_id)
        return refusal(server.ValidateSession, asked, timeout=10).metadata["cause"]

    name_postgresql(work, None)
    with serving(work, sandbox) as server:
        first = log_in(server, "zhangsan", PASSWORD)
        second = log_in(server)
        server.Logout(LogoutRequest(session_id=second), timeout=10)
        name_postgresql(work, url)
        refused(wxauth(*TO_POSTGRESQL, cwd=work), "another wxauth serve", ".wxauth")

    said = done_well(wxauth(*TO_POSTGRESQL, cwd=work))
    assert "DIFFERS" not in said
    assert ".wxauth/wxauth.db stays as it was; put it away" in said
    assert "Both hold the same" in done_well(wxauth(*TO_POSTGRESQL, "--check", cwd=work))
    for file in (work / ".wxauth").glob("wxauth.db*"):
        file.rename(work / file.name)
    with serving(work, sandbox) as server:
        assert account_of(server, first) == "zhangsan"
        assert cause(server, second) == "LOGOUT"
        third = log_in(server)
        server.Logout(LogoutRequest(session_id=first), timeout=10)
        # As a machine would that has a data directory of its own.
        (work / "other").mkdir()
        refused(wxauth(*TO_SQLITE, "--data", "other", cwd=work), "on every machine")

    done_well(wxauth(*TO_SQLITE, cwd=work))
    name_postgresql(work, None)
    with serving(work, sandbox) as server:
        assert cause(server, first) == "LOGOUT"
        assert account_of(server, third) == "zhangsan"
        log_in(server)


def grow(work: Path) -> None:
    """Give the account many sessions."""
    with closing(sqlite3.connect(work / ".wxauth" / "wxauth.db")) as database, database:
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO sessions (digest, handle, app_id, openid, account_source, account_id,"
            " login_at, last_seen_at) SELECT randomblob(32), i, 'wx1', 'o' || i, 'local', '1', i, i"
            " FROM n",
            [SESSIONS],
        )


def count(url: str) -> int:
    with psycopg.connect(url) as database:
        found = database.execute("SELECT COUNT(*) FROM sessions").fetchone()
    assert found is not None
    return int(found[0])


def wait_until_sessions_are_written(url: str) -> None:
    """Until the copy has sent some of them, and not all."""
    with psycopg.connect(url, autocommit=True) as database:
        written = 0
        end = time.monotonic() + PATIENCE_S
        while not written:
            assert time.monotonic() < end
            [[written]] = database.execute(
                "SELECT COALESCE(SUM(tuples_processed), 0) FROM pg_stat_progress_copy"
                " WHERE relid = 'sessions'::regclass AND datname = current_database()"
            )
        assert written < SESSIONS


def wait_until_it_has_gone(url: str) -> None:
    """Until PostgreSQL has noticed the end of the copy."""
    with psycopg.connect(url, autocommit=True) as database:
        there = True
        end = time.monotonic() + PATIENCE_S
        while there:
            assert time.monotonic() < end
            [[there]] = database.execute(
                "SELECT COUNT(*) > 0 FROM pg_stat_activity WHERE application_name = 'wxauth copy'"
            )


def test_an_interrupted_copy_leaves_nothing(work: Path) -> None:
    url = url_of(work)
    grow(work)
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with running(*TO_POSTGRESQL, cwd=work) as command:
            wait_until_sessions_are_written(url)
            command.send(number)
            assert command.wait() == status
        assert "Traceback" not in command.said()
        wait_until_it_has_gone(url)
        assert count(url) == 0
    assert "nothing was copied, unless" in command.said()

    assert "Copied 20,00" in done_well(wxauth(*TO_POSTGRESQL, cwd=work))
    assert count(url) == SESSIONS


def test_what_has_changed_since_is_told(work: Path) -> None:
    done_well(wxauth(*TO_POSTGRESQL, cwd=work))
    with psycopg.connect(url_of(work)) as database:
        database.execute("UPDATE accounts SET created_at = created_at + 1")
    done = wxauth(*TO_POSTGRESQL, "--check", cwd=work)
    assert (done.returncode, done.stderr) == (1, "wxauth: the two databases differ in accounts\n")
    [line] = [line for line in done.stdout.splitlines() if "DIFFERS" in line]
    assert line.startswith("accounts ")


def test_the_page_shows_what_the_commands_print(
    data: Path, store_postgres: PostgresProcess
) -> None:
    for name in ("database.url", "owner.url"):
        (data / name).write_text(store_postgres.new_url(migrated=False))
        (data / name).chmod(0o600)
    (data / "wxauth.toml").write_text(
        f"[store]\ndirectory = '{data}/.wxauth'\nurl_file = '{data}/database.url'\n"
    )
    steps = commands_of(DOCS / "moving-to-postgresql.md", "move")
    assert len(steps) == 2
    nowhere = Stack(sandbox="", grpc="", gateway="", database=data)
    printed = run_in_one_shell(
        [commands.replace("/etc/wxauth", str(data)) for commands, _ in steps], nowhere, data
    )
    for (commands, shown), actual in zip(steps, printed, strict=True):
        expected = shown.replace("/var/lib/wxauth", str(data / ".wxauth"))
        assert same(expected, actual), f"after {commands}it was\n{actual}"


def test_what_it_needs(work: Path) -> None:
    same = wxauth("copy", "--from", "sqlite", "--to", "sqlite", cwd=work)
    assert same.returncode == 2
    assert "--from and --to are the same" in same.stderr
    refused(wxauth(*TO_POSTGRESQL, "--data", "elsewhere", cwd=work), "elsewhere", "--data")
    assert not (work / "elsewhere").exists()
    (work / "wxauth.toml").write_text("")
    refused(wxauth(*TO_POSTGRESQL, cwd=work), "store.url_file")
