"""What the tests of logins that are sent again look at."""

from __future__ import annotations

from typing import Any

from tests.running_server import RunningServer
from wxauth_server.store.interface import Transaction

PASSWORD = "correct horse battery"


def exchanges_of(server: RunningServer, user: str) -> int:
    """How often WeChat was asked about a code of this user."""
    return len(server.sandbox.calls(path="/sns/jscode2session", user=user))


def errcodes(server: RunningServer, user: str) -> list[int]:
    """What WeChat answered each time."""
    return [call["errcode"] for call in server.sandbox.calls(user=user)]


def sessions(server: RunningServer) -> int:
    [(count,)] = server.rows("SELECT COUNT(*) FROM sessions")
    return int(count)


def replays(*servers: RunningServer) -> list[tuple[Any, ...]]:
    """The openid of each replay that these servers of one store have noticed."""
    for server in servers:
        server.flush_refusals()
    counted = servers[0].rows(
        "SELECT openid, count FROM audit_events WHERE event = 'CODE_REPLAYED'"
    )
    return [(openid,) for openid, count in counted for _ in range(count)]


def bound(server: RunningServer, *, account: str = "zhangsan") -> str:
    """A WeChat user bound to a new account, without any trace of how it came to that."""
    user = server.bound(account, PASSWORD)
    server.store.write(forget)
    return user


def forget(tx: Transaction) -> None:
    for table in ("sessions", "audit_events", "exchanges"):
        tx.execute(f"DELETE FROM {table}")
