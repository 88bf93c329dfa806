"""An audit log on the disk, for the tests of the commands that read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.wxauth_command import wxauth
from wxauth_server.keyring import create_keyring
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.audit import Actor, Event, record_event
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sqlite import SQLiteStore

APP = "wx0123456789abcdef"
#: 2026-09-21T14:14:00Z
NOON = 1_790_000_040_000
DAY_MS = 86_400_000


class Log:
    """A working directory whose .wxauth has a key ring, the account zhangsan, and a log."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.keyring = create_keyring(cwd / ".wxauth" / "keyring.json")
        self.store = SQLiteStore(cwd / ".wxauth")
        self.store.write(self._add_account)

    def record(self, event: Event, *, at: int = NOON, **fields: Any) -> None:
        self.store.write(lambda tx: record_event(tx, event, now_ms=at, **fields))

    def export(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """What an export to standard output has."""
        done = wxauth("audit", "export", *arguments, cwd=self.cwd)
        assert done.returncode == 0, done
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.stderr.startswith(f"Exported {len(events)} event")
        return events

    def fill(self) -> None:
        """A day apart: zhangsan's login, a refusal, an operator's import, one of another source."""
        user: dict[str, Any] = {"app_id": APP, "openid": "oOne", "client_address": "192.0.2.1"}
        self.record(Event.LOGIN, account=("local", "10001"), session_handle="h" * 22, **user)
        self.record(Event.LOGIN_REFUSED, at=NOON + DAY_MS, reason="CREDENTIALS_INVALID", **user)
        operator: dict[str, Any] = {"actor": Actor.ADMIN, "caller": "ops-laptop"}
        self.record(Event.ACCOUNTS_IMPORTED, at=NOON + 2 * DAY_MS, count=250, **operator)
        self.record(Event.LOGIN, at=NOON + 3 * DAY_MS, account=("crm", "10001"), app_id="wxother")

    @staticmethod
    def _add_account(tx: Transaction) -> None:
        insert_account(
            tx,
            source="local",
            account_id="10001",
            username="zhangsan",
            username_key="zhangsan",
            display_name=None,
            phone=None,
            password=None,
            now_ms=1,
        )


@contextmanager
def audit_log(cwd: Path) -> Iterator[Log]:
    log = Log(cwd)
    try:
        yield log
    finally:
        log.store.close()
