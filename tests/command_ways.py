"""Commands on a data directory itself and through the server that runs on it."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.command_data import CHEAP
from tests.wxauth_command import wxauth
from wxauth_server.config import DEMO_APP_ID

NOW_MS = int(time.time() * 1000) - 60_000

WAYS = ("--data", "--server")

#: Runs a command; its first argument is not "wxauth".
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def add_rows(data: Path) -> None:
    """Accounts 1 to 3 with a binding and two sessions each, and 4, whose user has left."""
    with closing(sqlite3.connect(data / ".wxauth" / "wxauth.db")) as database:
        database.execute(
            "INSERT INTO accounts (source, id, password_version, created_at, deleted_at)"
            " VALUES ('local', '4', 1, 1, 1)"
        )
        for number in (2, 3):
            database.execute(
                "INSERT INTO accounts (source, id, username, username_key, password_version,"
                " created_at) VALUES ('local', ?, ?, ?, 1, 1)",
                (f"{number}", f"user{number}", f"user{number}"),
            )
        for number in (1, 2, 3):
            database.execute(
                "INSERT INTO bindings (app_id, openid, account_source, account_id, exclusive,"
                " bound_at) VALUES (?, ?, 'local', ?, 1, 1)",
                (DEMO_APP_ID, f"o{number}", f"{number}"),
            )
            for device in ("a", "b"):
                handle = f"{number}{device}".ljust(22, "_")
                database.execute(
                    "INSERT INTO sessions (digest, handle, app_id, openid, account_source,"
                    " account_id, username, login_at, last_seen_at, client_address,"
                    " client_device) VALUES (?, ?, ?, ?, 'local', ?, 'x', ?, ?,"
                    " '192.0.2.7', 'a phone')",
                    (
                        handle.encode(),
                        handle,
                        DEMO_APP_ID,
                        f"o{number}",
                        f"{number}",
                        NOW_MS + number,
                        NOW_MS,
                    ),
                )
        database.commit()


def run_on(served: tuple[Path, str], way: str) -> Run:
    """Runs a command one of the two ways, while a server runs, on rows made anew."""
    directory, address = served
    with closing(sqlite3.connect(directory / ".wxauth" / "wxauth.db")) as database:
        for table in ("audit_events", "sessions", "sessions_valid_after", "bindings", "throttles"):
            database.execute(f"DELETE FROM {table}")
        database.execute("DELETE FROM accounts WHERE id <> '1'")
        database.execute(
            "UPDATE accounts SET username = 'zhangsan', username_key = 'zhangsan',"
            " disabled_at = NULL, phone = NULL, phone_verified_at = NULL, created_at = 1"
        )
        database.commit()
    add_rows(directory)
    how = ("--server", address) if way == "--server" else ("--data", ".wxauth")

    def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return wxauth(*arguments, *how, cwd=directory, variables=CHEAP, **options)

    return command
